from __future__ import annotations

from tests.agents.fakes.writing import is_writer, worded

__all__ = ["is_writer", "worded"]
