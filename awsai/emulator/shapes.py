"""Values of botocore's shapes: read from JSON, written to JSON, and checked.

In Python a blob is bytes, a timestamp an aware datetime; the rest is as JSON has it.
"""

# botocore ships no types.

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, TypeAlias

from botocore.utils import parse_timestamp

from awsai.emulator.errors import AwsError

# botocore.model.Shape, which has no types.
Shape: TypeAlias = Any

_NUMBERS = ("integer", "long", "float", "double")
_PYTHON: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
    "string": (str,),
    "blob": (bytes,),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}
_JSON: Mapping[str, tuple[type, ...]] = {
    **_PYTHON,
    "list": (list,),
    "blob": (str,),
    "timestamp": (str, int, float),
}


# --- JSON and text -----------------------------------------------------------------------------


def decode(shape: Shape, value: Any) -> Any:
    """The value of a JSON document. Null is as if absent; members the shape lacks are dropped.

    Raises:
        AwsError: SerializationException, the document has another form than the shape.
    """
    if _is_document(shape):
        return value
    if not _is_a(value, _JSON[shape.type_name]):
        raise _malformed(shape, value)
    match shape.type_name:
        case "structure":
            return {
                name: decode(member, value[wire_name(name, member)])
                for name, member in shape.members.items()
                if value.get(wire_name(name, member)) is not None
            }
        case "list":
            return [decode(shape.member, item) for item in value]
        case "map":
            return {key: decode(shape.value, item) for key, item in value.items()}
        case "blob":
            return _bytes(shape, value)
        case "timestamp":
            return _time(shape, value)
        case _:
            return value


def decode_text(shape: Shape, text: str) -> Any:
    """The value of a scalar in a path, a query string, a header or a form.

    Raises:
        AwsError: SerializationException.
    """
    match shape.type_name:
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "integer" | "long" if re.fullmatch(r"[+-]?\d{1,19}", text):
            return int(text)
        case "timestamp":
            return _time(shape, text)
        case "blob":
            return _bytes(shape, text)
        case "string":
            return text
        case _:
            raise _malformed(shape, text)


def encode(shape: Shape, value: Any) -> Any:
    """The JSON form of a value that `problems` found nothing wrong with."""
    if _is_document(shape):
        return value
    match shape.type_name:
        case "structure":
            return {
                wire_name(name, shape.members[name]): encode(shape.members[name], item)
                for name, item in value.items()
                if item is not None
            }
        case "list":
            return [encode(shape.member, item) for item in value]
        case "map":
            return {key: encode(shape.value, item) for key, item in value.items()}
        case "blob":
            return base64.b64encode(value).decode()
        case "timestamp":
            return format_time(value, shape.serialization.get("timestampFormat", "unixTimestamp"))
        case _:
            return value


def encode_text(shape: Shape, value: Any, *, times: str) -> str:
    """A scalar as it stands in a header or in XML; `times` is the form of its timestamps."""
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return str(format_time(value, shape.serialization.get("timestampFormat", times)))
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def format_time(at: datetime, form: str) -> str | float:
    match form:
        case "iso8601":
            return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        case "rfc822":
            return format_datetime(at.astimezone(UTC), usegmt=True)
        case _:
            return round(at.timestamp(), 3)


def wire_name(name: str, member: Shape) -> str:
    return str(member.serialization.get("name", name))


def _bytes(shape: Shape, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(shape, text) from None


def _time(shape: Shape, value: str | float) -> datetime:
    try:
        at: datetime = parse_timestamp(value)
    except (ValueError, OverflowError):
        raise _malformed(shape, value) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _malformed(shape: Shape, value: Any) -> AwsError:
    found = type(value).__name__
    return AwsError("SerializationException", f"{shape.name} is a {shape.type_name}, not {found}.")


# --- Checks ------------------------------------------------------------------------------------


def problems(shape: Shape, value: Any) -> list[str]:
    """What the model forbids about a value, in AWS's words; empty when there is nothing."""
    return list(_problems(shape, value, ""))


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if _is_document(shape):
        return
    if not _is_a(value, _PYTHON[shape.type_name]):
        yield f"Value at '{path}' is {type(value).__name__}: Member must be a {shape.type_name}"
        return
    yield from _out_of_bounds(shape, value, path)
    match shape.type_name:
        case "structure":
            yield from _structure(shape, value, path)
        case "list":
            for place, item in enumerate(value, start=1):
                yield from _problems(shape.member, item, _join(path, f"{place}.member"))
        case "map":
            for key, item in value.items():
                yield from _problems(shape.key, key, _join(path, str(key)))
                yield from _problems(shape.value, item, _join(path, str(key)))
        case "string":
            yield from _string(shape, value, path)
        case _:
            pass


def _structure(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    present = {name: item for name, item in value.items() if item is not None}
    for name in shape.required_members:
        if name not in present:
            yield f"Value null at '{_join(path, name)}': Member must not be null"
    if shape.is_tagged_union and len(present) != 1:
        tags = ", ".join(shape.members)
        yield f"Value at '{path}': Exactly one member must be set of: [{tags}]"
    for name, item in present.items():
        if name not in shape.members:
            yield f"Value at '{_join(path, name)}': Member is unknown"
        else:
            yield from _problems(shape.members[name], item, _join(path, name))


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        allowed = ", ".join(shape.enum)
        yield f"Value '{value}' at '{path}': Member must satisfy enum value set: [{allowed}]"
    pattern = _pattern(shape.metadata.get("pattern", ""))
    if pattern and not pattern.fullmatch(value):
        yield f"Value at '{path}': Member must satisfy regular expression pattern: {pattern.pattern}"


def _out_of_bounds(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """`min` and `max` bound a number itself, and the length of everything else."""
    is_number = shape.type_name in _NUMBERS
    if not is_number and not hasattr(value, "__len__"):
        return
    size, word = (value, "value") if is_number else (len(value), "length")
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield f"Value at '{path}': Member must have {word} greater than or equal to {low}"
    if high is not None and size > high:
        yield f"Value at '{path}': Member must have {word} less than or equal to {high}"


@functools.cache
def _pattern(text: str) -> re.Pattern[str] | None:
    """None where there is no pattern, or one in the dialect of Java that Python cannot read."""
    try:
        return re.compile(text) if text else None
    except re.error:
        return None


def _is_document(shape: Shape) -> bool:
    return bool(getattr(shape, "is_document_type", False))


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    # In Python, though not in JSON, true and false are numbers.
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
