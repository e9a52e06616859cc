from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from incidentops import environment

ROOT = Path(__file__).parent.parent


def test_the_example_file_lists_exactly_the_registered_variables():
    assert (ROOT / ".env.example").read_text() == environment.example()


def test_a_misspelt_variable_is_named():
    assert environment.unknown({"IOP_PROT": "1", "IOP_PORT": "1", "HOME": "/"}) == ["IOP_PROT"]


def test_a_port_that_is_no_number_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("IOP_PORT", "eighty")
    with pytest.raises(ImproperlyConfigured, match="IOP_PORT must be an integer"):
        environment.read_int("IOP_PORT")
