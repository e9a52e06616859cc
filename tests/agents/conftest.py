from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents.fakes import script


@pytest.fixture
def fakes(settings) -> Iterator[script.Script]:
    """Specialists whose behaviour the test decides, in place of the real ones."""
    settings.SPECIALISTS = "tests.agents.fakes"
    script.reset()
    yield script.SCRIPT
    script.reset()
