"""Whether a text sounds good or bad, by a lexicon. Pure.

Words carry a valence of 1 to 3; a negation before a word turns it round and weakens it, an
intensifier strengthens or weakens it, and a problem whose remedy stands in the same sentence counts
a quarter. With P and N the sums of what is positive and negative and one
unit for neutrality, the shares of P, N, what they have in common and that unit are the scores. So
a score is a share of the words found, no probability, and irony is lost on it.

Sources: the method follows Taboada et al., Lexicon-Based Methods for Sentiment Analysis
(Computational Linguistics 37, 2011) and Hutto & Gilbert, VADER (ICWSM 2014); the lexicon is our own.
"""

from __future__ import annotations

from collections.abc import Mapping

import re2

from awsai.ports import Sentiment
from awsai.providers.local.words import encodable, listed

NEGATED = -0.75
REMEDIED = 0.25
REACH = 3  # words a negation or an intensifier is looked for before a word

_WORD = re2.compile(r"[\pL\pN]+(?:['-][\pL\pN]+)*")
_END = re2.compile(r"[.!?;]+(?:\s|$)|\n")

_VALENCES: tuple[tuple[float, frozenset[str]], ...] = (
    (
        3.0,
        listed(
            """
            amazing awesome brilliant delighted excellent exceptional extraordinary fabulous
            fantastic flawless incredible love loved loves magnificent marvellous marvelous
            outstanding perfect perfectly phenomenal stellar splendid superb terrific thrilled
            wonderful
            """
        ),
    ),
    (
        2.0,
        listed(
            """
            accomplished appreciate appreciated beautiful beneficial best better celebrate clean
            confident cured delivers effective efficient enjoy enjoyed fast fixed friendly glad good
            grateful great happy healed healthy helpful impressed impressive improve improved
            improvement improves improving mitigated nice pleased pleasant praise prevented prompt
            proud recommend recovered recovery reliable remediated repaired resolved resolves
            responsive restored robust safe safely satisfied secure smooth smoothly solid solved
            stable succeed succeeded success successful successfully superior thank thankful thanks
            trust trusted valuable well win won
            """
        ),
    ),
    (
        1.0,
        listed(
            """
            able accept accepted achieved acknowledged agree agreed available calm clear comfortable
            complete completed correct easy enough fair faster fine gain gained green hope hopeful
            liked normal okay online operational passed passing positive quick
            quickly ready relief responding resumed right simple stabilised stabilized steady
            sufficient support supported useful warm welcome within working works
            """
        ),
    ),
    (
        -1.0,
        listed(
            """
            alarming alert anomaly backlog blocked busy complex concern concerned confused confusing
            degradation degraded degrading delay delayed delays difficult disappointed doubt drop
            dropped dropping duplicate elevated exceeded exceeds expired flapping hard high
            inconsistent incomplete incorrect increase inflated intermittent invalid issue issues
            lack lacking lag lagging late latency leak limited missed missing noisy overdue partial
            pending retries retry retrying rejected saturated skipped slow slower slowly
            spike spiked spikes stale stalled stuck suspicious throttled throttling timed tired
            unable unclear uncertain unexpected unknown unusual wait waiting warn warning warnings
            weak worried worry
            """
        ),
    ),
    (
        -2.0,
        listed(
            """
            abandon abandoned abort aborted annoyed annoying attack angry bad breach broke broken
            bug bugs complain complained complaint complaints crash crashed crashes crashing damage
            damaged danger dangerous dead defect defective denied died disconnected down
            error errors evicted exception exceptions exhausted exhaustion fail failed failing fails
            failure failures fault faults faulty frustrated frustrating harm harmful hate hung
            impacted inaccessible insecure interrupted killed lose loses losing loss lost mistake
            negative outage outages overload overloaded oom pain painful panic poor poorly
            problem problems refused regression risk rollback sad severe sorry suffer suffered
            suffering terminated timeout timeouts timing-out trouble ugly unacceptable unavailable
            unhappy unhealthy unreachable unreliable unresponsive unsafe unstable unusable upset
            violated violation vulnerable worse wrong
            """
        ),
    ),
    (
        -3.0,
        listed(
            """
            abysmal appalling atrocious awful catastrophe catastrophic collapse collapsed corrupt
            corrupted corruption critical crisis deadlock deadlocked devastating disaster disastrous
            dreadful emergency fatal furious hacked hated horrendous horrible horrific nightmare
            ransomware ruined terrible unrecoverable useless worst
            """
        ),
    ),
)
LEXICON: Mapping[str, float] = {word: value for value, group in _VALENCES for word in group}
NEGATIONS = listed(
    """
    no not never none nobody nothing neither nor without cannot can't cant don't dont doesn't doesnt
    didn't didnt isn't isnt aren't arent wasn't wasnt weren't werent won't wont wouldn't couldn't
    shouldn't hasn't haven't hadn't hardly barely scarcely
    """
)
REMEDIES = listed(
    """
    cured fixed healed mitigated recovered recovery remediated repaired resolved restored reverted
    solved
    """
)
INTENSIFIERS: Mapping[str, float] = {
    "absolutely": 1.5,
    "completely": 1.5,
    "entirely": 1.5,
    "extremely": 1.5,
    "totally": 1.5,
    "fully": 1.3,
    "highly": 1.3,
    "really": 1.3,
    "so": 1.2,
    "too": 1.2,
    "very": 1.4,
    "fairly": 0.8,
    "mostly": 0.8,
    "partially": 0.6,
    "partly": 0.6,
    "quite": 0.9,
    "slightly": 0.5,
    "somewhat": 0.6,
}


def sentiment(text: str) -> Sentiment:
    values = [
        value
        for sentence in _END.split(encodable(text).lower().replace("\u2019", "'"))
        for value in _values(_WORD.findall(sentence))
    ]
    positive = sum(value for value in values if value > 0)
    negative = -sum(value for value in values if value < 0)
    common = min(positive, negative)
    total = positive + negative + 1.0
    scores = {
        "positive": (positive - common) / total,
        "negative": (negative - common) / total,
        "neutral": 1.0 / total,
        "mixed": 2 * common / total,
    }
    return Sentiment(label=max(scores, key=lambda name: scores[name]), scores=scores)


def _values(words: list[str]) -> list[float]:
    """What each word of the lexicon is worth where it stands in its sentence."""
    weighed = [
        (word, _weighed(LEXICON[word], words[max(0, place - REACH) : place]))
        for place, word in enumerate(words)
        if word in LEXICON
    ]
    is_remedied = any(word in REMEDIES and value > 0 for word, value in weighed)
    return [value * REMEDIED if is_remedied and value < 0 else value for _, value in weighed]


def _weighed(value: float, before: list[str]) -> float:
    for word in before:
        value *= INTENSIFIERS.get(word, 1.0)
        value *= NEGATED if word in NEGATIONS else 1.0
    return value
