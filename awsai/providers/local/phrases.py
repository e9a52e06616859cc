"""Key phrases by RAKE: runs of words between stop words and marks, scored by how words co-occur.

Source: Rose, Engel, Cramer & Cowley, Automatic Keyword Extraction from Individual Documents (2010):
a word's score is its degree over its frequency, a phrase's the sum of its words'. Scores are
relative to the text's best phrase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import re2

from awsai.ports import Span
from awsai.providers.local.words import encodable, listed

KIND = "PHRASE"
LONGEST = 4
_TOKEN = re2.compile(r"[\pL\pN]+(?:[-_./:'\x{2019}][\pL\pN]+)*|[^\s\pL\pN]|\n")
_STOP = listed(
    """
    a about above after again against all also am an and any are aren't as at be became because
    become becomes been before began begin being below between both but by came can can't cannot
    come comes could couldn't did didn't do does doesn't doing don't done down due during each
    either else even ever every few for found from further gave get gets getting give given go goes
    gone got had hadn't has hasn't have haven't having he her here hers herself him himself his how
    however i if in into is isn't it it's its itself just keep keeps kept know known last least less
    let like made make makes many may me might mine more most much must my myself near need needs
    never next no none nor not now of off often on once one only onto or other others ought our ours
    ourselves out over own per please put quite rather really said same saw say says see seem seemed
    seems seen several shall she should shouldn't show showed shows since so some soon still such
    take taken takes than that that's the their theirs them themselves then there these they this
    those though through thus to together too took toward towards under until up upon us use used
    uses using very via want wants was wasn't we went were weren't what when where whether which
    while who whole whom whose why will with within without won't would wouldn't yes yet you your
    yours yourself yourselves
    """
)


def phrases(text: str) -> tuple[Span, ...]:
    """The phrases in the order of the text, each time they occur."""
    runs = list(_runs(encodable(text)))
    frequency: Counter[str] = Counter()
    degree: Counter[str] = Counter()
    for run in runs:
        for word, _, _ in run:
            frequency[word] += 1
            degree[word] += len(run)
    scores = [sum(degree[word] / frequency[word] for word, _, _ in run) for run in runs]
    top = max(scores, default=1.0)
    return tuple(
        Span(
            begin=run[0][1],
            end=run[-1][2],
            kind=KIND,
            text=text[run[0][1] : run[-1][2]],
            score=score / top,
        )
        for run, score in zip(runs, scores, strict=True)
    )


# (word in lower case, begin, end)
_Word = tuple[str, int, int]


def _runs(text: str) -> Iterator[list[_Word]]:
    run: list[_Word] = []
    for match in _TOKEN.finditer(text):
        word = match.group().lower()
        is_break = word in _STOP or not word[0].isalnum()
        if run and (is_break or len(run) == LONGEST):
            yield run
            run = []
        if not is_break and (run or not word.isdigit()):
            run.append((word, match.start(), match.end()))
    if run:
        yield run
