"""Undo a request's Content-Encoding, never beyond a limit."""

from __future__ import annotations

import zlib

from incidentops.incidents.payloads import NotJson

ENCODINGS = ("identity", "gzip", "deflate")

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


class TooLarge(Exception):
    """There is more than the limit."""


def decode(data: bytes, encoding: str, *, limit: int) -> bytes:
    """The plain body.

    Raises:
        TooLarge: it is over `limit` bytes; it was not decompressed further.
        NotJson: it is not in this encoding.
    """
    if encoding == "gzip":
        return _inflate(data, _GZIP, limit=limit)
    if encoding == "deflate":
        # RFC 9110 means the zlib format; some senders leave its header out.
        try:
            return _inflate(data, _ZLIB, limit=limit)
        except NotJson:
            return _inflate(data, _RAW, limit=limit)
    if len(data) > limit:
        raise TooLarge
    return data


def _inflate(data: bytes, window_bits: int, *, limit: int) -> bytes:
    """Decompress, one gzip member after the other."""
    plain = bytearray()
    while True:
        inflater = zlib.decompressobj(window_bits)
        try:
            plain += inflater.decompress(data, limit + 1 - len(plain))
        except zlib.error:
            raise NotJson("body", "cannot be decompressed as its Content-Encoding says") from None
        if len(plain) > limit:
            raise TooLarge
        if not inflater.eof:
            raise NotJson("body", "ends before its compressed data does")
        if not inflater.unused_data:
            return bytes(plain)
        data = inflater.unused_data
