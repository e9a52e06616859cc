"""The part of JSON Schema that answers are asked in, and the check against it.

A schema is checked before it is used: a keyword that nothing here enforces would make every value
look valid.

Source: JSON Schema 2020-12, Validation; the keywords in `KEYWORDS` mean what they mean there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$schema"})
KEYWORDS = frozenset(
    {
        "type",
        "enum",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
    }
)


class UnsupportedSchema(ValueError):
    """The schema says something that is not checked here."""


def check(schema: Mapping[str, Any], path: str = "$") -> None:
    """Raises: UnsupportedSchema."""
    if not isinstance(schema, Mapping):
        raise UnsupportedSchema(f"{path}: a schema must be an object")
    if unknown := set(schema) - KEYWORDS - ANNOTATIONS:
        raise UnsupportedSchema(f"{path}: {', '.join(sorted(unknown))}")
    if unknown := set(types(schema)) - set(TYPES):
        raise UnsupportedSchema(f"{path}: type {', '.join(sorted(map(str, unknown)))}")
    if not isinstance(schema.get("additionalProperties", True), bool):
        raise UnsupportedSchema(f"{path}: additionalProperties is neither true nor false")
    for name, part in schema.get("properties", {}).items():
        check(part, f"{path}.{name}")
    if "items" in schema:
        check(schema["items"], f"{path}[]")


def types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types a value may have; all of them when the schema names none."""
    given = schema.get("type", TYPES)
    return (given,) if isinstance(given, str) else tuple(given)


def errors(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with `value`, each with the place it is wrong at; empty when it is valid.

    Raises:
        UnsupportedSchema: the schema has a keyword that is not checked.
    """
    check(schema)
    return list(_errors(value, schema, "$"))


def parsed(text: str) -> Any:
    """The JSON of an answer, None when it is none. Some models put it between fences."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare.strip("`").removeprefix("json")
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return None


def _errors(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    allowed = types(schema)
    if not any(_is(value, name) for name in allowed):
        yield f"{path}: is not of type {' or '.join(allowed)}"
        return
    if "enum" in schema and not any(_same(value, member) for member in schema["enum"]):
        yield f"{path}: is none of the allowed values"
    if isinstance(value, str):
        yield from _bounds(len(value), schema, "Length", path)
    elif isinstance(value, Mapping):
        yield from _object_errors(value, schema, path)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, "Items", path)
        for index, item in enumerate(value):
            yield from _errors(item, schema.get("items", {}), f"{path}[{index}]")
    elif _is(value, "number"):
        if value < schema.get("minimum", value):
            yield f"{path}: is below {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{path}: is above {schema['maximum']}"


def _object_errors(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}: lacks {name}"
    for name, part in value.items():
        if name in properties:
            yield from _errors(part, properties[name], f"{path}.{name}")
        elif schema.get("additionalProperties", True) is False:
            yield f"{path}: must not have {name}"


def _bounds(size: int, schema: Mapping[str, Any], noun: str, path: str) -> Iterator[str]:
    if size < schema.get(f"min{noun}", 0):
        yield f"{path}: has {size}, fewer than min{noun} {schema[f'min{noun}']}"
    if size > schema.get(f"max{noun}", size):
        yield f"{path}: has {size}, more than max{noun} {schema[f'max{noun}']}"


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    match name:
        case "null":
            return value is None
        case "string":
            return isinstance(value, str)
        case "object":
            return isinstance(value, Mapping)
        case "array":
            return isinstance(value, list)
        case "integer":
            return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        case "number":
            return isinstance(value, int | float)
    return False


def _same(one: Any, two: Any) -> bool:
    """Equality in JSON: there 1 is 1.0, but true is not 1 as it is in Python."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    return bool(one == two)
