"""How many tokens a text is, where no model's own counter can be asked."""

from __future__ import annotations

BYTES_A_TOKEN = 4


def estimate(text: str) -> int:
    """About how many tokens a text is: one for every four bytes of UTF-8, begun ones included.

    English prose comes to about four characters a token. Bytes instead of characters keep the
    estimate from falling far short for scripts whose characters cost a token or more each. It never
    shrinks when text is added, so the estimate of a prefix is never above that of the whole.
    """
    return -(-_size(text) // BYTES_A_TOKEN)


def rounded(count: int) -> int:
    """The count to two figures, upwards: an estimate says no more, and like questions count alike."""
    step: int = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // step) * step


def cut(text: str, limit: int) -> str:
    """The longest beginning of the text that is at most `limit` tokens by the estimate."""
    if estimate(text) <= limit:
        return text
    raw = text.encode(errors="replace")[: max(limit, 0) * BYTES_A_TOKEN]
    return raw.decode(errors="ignore")


def _size(text: str) -> int:
    # JSON can carry half of a surrogate pair, which no encoding takes as it is.
    return len(text.encode(errors="replace"))
