"""Log lines grouped by the statement that wrote them, and which groups appeared or burst."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scipy import special

WILDCARD = "<*>"
SIMILARITY = 0.7
MOST_CHILDREN = 100
MOST_TOKENS = 200
PREFIX_TOKENS = 2

_MASKS = re.compile(
    r"""
      \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b   # UUID
    | \b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*(?:Z|[+-]\d\d:?\d\d)?    # timestamp
    | /?\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b                             # IPv4 and port
    | \b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b                                 # MAC address
    | \b0x[0-9a-f]+\b                                                    # hexadecimal
    | \bblk_-?\d+\b                                                      # numbered block
    | (?<![A-Za-z])-?\d+(?:[.,:]\d+)*(?:[kmgt]?i?b|ms|us|ns|s|%)?(?![A-Za-z])   # number, unit
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DIGIT = re.compile(r"\S*(?:\d|<\*>)\S*")
_SPLIT = re.compile(r"([\s=:,;|\[\](){}\"']+)")


@dataclass
class _Group:
    tokens: list[str]
    lines: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Template:
    """`text` has WILDCARD where lines differ; `lines` are indices of the messages it covers."""

    text: str
    lines: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Emergence:
    """A template that grew after an instant. `p_value` is for its rate not having risen."""

    template: Template
    before: int
    after: int
    p_value: float

    @property
    def is_new(self) -> bool:
        return self.before == 0


class Miner:
    """A streaming Drain: fixed-depth tree by token count and first tokens, then the most similar.

    One configuration for everybody; no per-system expressions. Similarity counts equal constant
    tokens among the constant ones of the group; a line joins the most similar group at
    SIMILARITY or above, earliest group on ties, and the group's differing tokens become wildcards.

    Source: He et al., "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017.
    """

    def __init__(self) -> None:
        self._leaves: dict[tuple[str, ...], list[_Group]] = {}
        self._children: dict[tuple[str, ...], set[str]] = {}
        self._groups: list[_Group] = []
        self._count = 0

    def add(self, message: str) -> None:
        tokens = tokenise(message)
        leaf = self._leaves.setdefault(self._path(tokens), [])
        group = self._closest(leaf, tokens)
        if group is None:
            group = _Group(list(tokens))
            leaf.append(group)
            self._groups.append(group)
        else:
            group.tokens = [
                mine if mine == other else WILDCARD
                for mine, other in zip(group.tokens, tokens, strict=True)
            ]
        group.lines.append(self._count)
        self._count += 1

    def templates(self) -> tuple[Template, ...]:
        return tuple(
            Template(text=" ".join(group.tokens), lines=tuple(group.lines))
            for group in self._groups
        )

    def _path(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """Where in the tree a line belongs: its length, then its first words that are constant."""
        path: tuple[str, ...] = (str(len(tokens)),)
        for token in tokens[:PREFIX_TOKENS]:
            known = self._children.setdefault(path, set())
            step = WILDCARD if any(c.isdigit() for c in token) else token
            if step not in known and len(known) >= MOST_CHILDREN:
                step = WILDCARD
            known.add(step)
            path = (*path, step)
        return path

    @staticmethod
    def _closest(leaf: Iterable[_Group], tokens: Sequence[str]) -> _Group | None:
        best, best_similarity = None, SIMILARITY
        for group in leaf:
            similarity = _similarity(group.tokens, tokens)
            if similarity > best_similarity or (best is None and similarity >= best_similarity):
                best, best_similarity = group, similarity
        return best


def mine(messages: Iterable[str]) -> tuple[Template, ...]:
    """Group `messages` in order; every index is in exactly one template."""
    miner = Miner()
    for message in messages:
        miner.add(message)
    return miner.templates()


def tokenise(message: str) -> list[str]:
    """Words of a message with what surely varies masked; at most MOST_TOKENS of them."""
    words = _SPLIT.sub(r" \1 ", _MASKS.sub(WILDCARD, message)).split()
    return [_DIGIT.sub(WILDCARD, word) for word in words[:MOST_TOKENS]]


def emerged(
    templates: Iterable[Template],
    at: Sequence[float],
    *,
    since: float,
    level: float = 0.01,
) -> tuple[Emergence, ...]:
    """Templates whose rate rose at `since`, the most surprising first.

    `at` are the epoch seconds of the messages, by index. Given its total, a template of steady rate
    falls after `since` in proportion to the time observed there (binomial); the one-sided p-value is
    Bonferroni-corrected over the templates and must be below `level`.

    Source: conditional test of two Poisson rates, Przyborowski & Wilenski, Biometrika 31 (1940).
    """
    templates = tuple(templates)
    if not templates or not at:
        return ()
    first, last = min(at), max(at)
    share = (last - since) / (last - first) if last > first else 0.0
    if not 0.0 < share < 1.0:
        return ()
    found = []
    for template in templates:
        after = sum(1 for line in template.lines if at[line] >= since)
        total = len(template.lines)
        p_value = float(special.bdtrc(after - 1, total, share)) * len(templates)
        if p_value < level:
            found.append(
                Emergence(
                    template=template, before=total - after, after=after, p_value=min(p_value, 1.0)
                )
            )
    return tuple(sorted(found, key=lambda e: (e.p_value, -e.after, e.template.text)))


def _similarity(group: Sequence[str], tokens: Sequence[str]) -> float:
    if not tokens:
        return 1.0
    constant = [
        (mine, other) for mine, other in zip(group, tokens, strict=True) if mine != WILDCARD
    ]
    if not constant:
        return SIMILARITY
    return sum(mine == other for mine, other in constant) / len(constant)
