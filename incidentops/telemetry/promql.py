"""Read PromQL alert expressions well enough to know which series they watch.

Source: https://prometheus.io/docs/prometheus/latest/querying/operators/ (precedence: set operators
bind weakest, then comparisons, then arithmetic).
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_FLIPPED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|\#[^\n]*)
    | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<comparison>[=!<>]=|<|>)
    | (?P<word>[A-Za-z_:][\w:]*)
    | (?P<other>[0-9][\w.]*|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SET_OPERATORS = frozenset({"and", "or", "unless"})
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_LONGEST = 10_000
_DEEPEST = 20
_ARITHMETIC = re.compile(r"[\s0-9.eE+\-*/%^()]{1,200}")

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: math.fmod,
    ast.Pow: math.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    depth: int  # how many brackets are open around it


def split_comparison(expression: str) -> tuple[str, str, float | None]:
    """The series an alert expression watches, its comparison and its threshold.

    `rate(x[5m]) > 0.5` gives `("rate(x[5m])", ">", 0.5)`; a constant on the left is turned round.
    Where neither side is constant the threshold is None and the left side is the series. Where the
    condition is not one comparison at the top level (`absent(x)`, `x > 1 and y > 2`), or cannot be
    read at all, the whole expression comes back with "" and None. Comparisons are PromQL's, so
    `==` and `!=` are among them.
    """
    whole = expression.strip()
    split = _at_comparison(whole)
    if split is None:
        return whole, "", None
    left, comparison, right = split
    bound, threshold = constant(left), constant(right)
    if not left or not right or (bound is not None and threshold is not None):
        return whole, "", None
    if bound is not None:
        return right, _FLIPPED[comparison], bound
    return left, comparison, threshold


def _at_comparison(text: str) -> tuple[str, str, str] | None:
    """The sides of the only comparison outside brackets, quotes and comments."""
    tokens, level = _tokens(text), 0
    while level < _DEEPEST and _is_wrapped(tokens, level):
        tokens, level = tokens[1:-1], level + 1
    outside = [(place, token) for place, token in enumerate(tokens) if token.depth == level]
    if any(token.kind == "word" and token.text.lower() in _SET_OPERATORS for _, token in outside):
        return None
    comparisons = [(place, token) for place, token in outside if token.kind == "comparison"]
    if len(comparisons) != 1:
        return None
    place, sign = comparisons[0]
    after = tokens[place + 1 :]
    if after and after[0].text.lower() == "bool":
        after = after[1:]
    return _span(text, tokens[:place]), sign.text, _span(text, after)


def _span(text: str, tokens: list[_Token]) -> str:
    return text[tokens[0].start : tokens[-1].end] if tokens else ""


def _tokens(text: str) -> list[_Token]:
    """Everything but blanks and comments; nothing where brackets do not match."""
    if len(text) > _LONGEST:
        return []
    tokens: list[_Token] = []
    expected: list[str] = []
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "skip":
            continue
        if kind == "close" and (not expected or expected.pop() != match.group()):
            return []
        tokens.append(
            _Token(
                kind=kind,
                text=match.group(),
                start=match.start(),
                end=match.end(),
                depth=len(expected),
            )
        )
        if kind == "open":
            expected.append(_CLOSING[match.group()])
    return [] if expected else tokens


def _is_wrapped(tokens: list[_Token], level: int) -> bool:
    """Whether one pair of round brackets encloses everything."""
    if len(tokens) < 3 or tokens[0].text != "(":
        return False
    return all(token.depth > level for token in tokens[1:-1]) and tokens[-1].depth == level


def constant(text: str) -> float | None:
    """The value of a number or of arithmetic on numbers (`10 * 1024 ^ 2`); None for the rest."""
    if not _ARITHMETIC.fullmatch(text):
        return None
    try:
        # Both languages bind ^/** tightest, right to left, and above the sign.
        value = _value(ast.parse(text.strip().replace("^", "**"), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if math.isfinite(value) else None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left), _value(right))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand))
    raise ValueError("not arithmetic")
