from __future__ import annotations

from functools import partial

from tests.agents.fakes import script

investigate = partial(script.investigate, "diagnosis")
assess = partial(script.assess, "diagnosis")
