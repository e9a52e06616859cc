from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidentops.incidents.masking import masked, unmasked

WORDS = st.text(st.sampled_from("abc:@*%-_. \\"), min_size=1, max_size=12)
URLS = st.builds(lambda word, path: f"https://{word}@host.example/{path}", WORDS, WORDS)
VALUES = st.recursive(
    st.one_of(URLS, WORDS, st.integers(), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ann:pa:ss@w@host/x@y", "http://ann:***@host/x@y"),
        ("http://:secret@host", "http://:***@host"),
        ("http://token@host", "http://***@host"),
        ("http://host/a@b?c=d@e", "http://host/a@b?c=d@e"),
        ("http://[::1]:9090/", "http://[::1]:9090/"),
        ("ann@example.org", "ann@example.org"),
    ],
)
def test_only_what_is_secret_is_masked(url, shown):
    assert masked(url) == shown


@given(URLS)
def test_what_readers_of_urls_take_for_a_password_is_never_shown(url):
    shown, real = urlsplit(masked(url)), urlsplit(url)
    assert shown.hostname == real.hostname
    assert shown.password == (None if real.password is None else "***")
    assert shown.username == (real.username if real.password is not None else "***")


@given(VALUES)
def test_whatever_is_shown_can_be_written_back(value):
    assert unmasked(masked(value), value, "config") == value
