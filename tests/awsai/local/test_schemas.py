from __future__ import annotations

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awsai import schemas

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0])
    | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3)
    ),
    max_leaves=8,
)
BOUNDS = st.integers(0, 3)


def _nested(inner):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(schemas.TYPES)
            | st.lists(st.sampled_from(schemas.TYPES), min_size=1, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "properties": st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
            "required": st.lists(st.sampled_from("pqr"), unique=True),
            "additionalProperties": st.booleans(),
            "items": inner,
            "minItems": BOUNDS,
            "maxItems": BOUNDS,
            "minLength": BOUNDS,
            "maxLength": BOUNDS,
            "minimum": BOUNDS,
            "maximum": BOUNDS,
        },
    )


SCHEMAS = st.recursive(_nested(st.just({})), _nested, max_leaves=4)


@settings(deadline=None)
@given(SCHEMAS, VALUES)
def test_a_value_is_valid_where_another_implementation_says_so(schema, value):
    is_valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (schemas.errors(value, schema) == []) is is_valid


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^a$"},
        {"type": "text"},
        {"properties": {"a": {"anyOf": []}}},
        {"items": {"$ref": "#"}},
        {"additionalProperties": {"type": "string"}},
        {"items": [{}]},
    ],
)
def test_a_keyword_that_nothing_enforces_is_refused(schema):
    with pytest.raises(schemas.UnsupportedSchema):
        schemas.errors({}, schema)


def test_an_error_names_its_place():
    schema = {"properties": {"claims": {"items": {"properties": {"text": {"maxLength": 2}}}}}}
    (error,) = schemas.errors({"claims": [{"text": "ab"}, {"text": "abc"}]}, schema)
    assert error.startswith("$.claims[1].text:")
