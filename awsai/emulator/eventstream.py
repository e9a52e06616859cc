"""Frames of application/vnd.amazon.eventstream.

A frame is: total length, length of the headers, CRC-32 of those two, headers, payload, CRC-32 of all
before it; numbers are big-endian.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Mapping
from typing import Any

from awsai.emulator import shapes
from awsai.emulator.shapes import Shape

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = b"\x07"
_BESIDE_CONTENT = 16


def event(shape: Shape, name: str, value: Mapping[str, Any]) -> bytes:
    """An event of the stream `shape`."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(shapes.encode(shape.members[name], value)).encode())


def exception(shape: Shape, code: str, message: str) -> bytes:
    """An error that ends the stream: as modelled, else by the frame for errors nobody modelled."""
    name = member_of(code)
    if name not in shape.members:
        headers = {":message-type": "error", ":error-code": code, ":error-message": message}
        return frame(headers, b"")
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return frame(headers, json.dumps({"message": message}).encode())


def member_of(code: str) -> str:
    """The name in a stream of what is ThrottlingException elsewhere: throttlingException."""
    return code[:1].lower() + code[1:]


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    block = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", _BESIDE_CONTENT + len(block) + len(payload), len(block))
    message = prelude + _crc(prelude) + block + payload
    return message + _crc(message)


def corrupted(message: bytes) -> bytes:
    """The same frame with another checksum than its content has."""
    checksum = int.from_bytes(message[-4:], "big")
    return message[:-4] + (checksum ^ 0xFFFF).to_bytes(4, "big")


def _header(name: str, value: str) -> bytes:
    raw_name, raw = name.encode(), value.encode()
    return bytes([len(raw_name)]) + raw_name + _STRING + struct.pack("!H", len(raw)) + raw


def _crc(content: bytes) -> bytes:
    return struct.pack("!I", binascii.crc32(content))
