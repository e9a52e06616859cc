"""Write the API's description, or check that the committed one is still true."""

from __future__ import annotations

from argparse import ArgumentParser
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

_SHOWN_LINES = 60


class Command(BaseCommand):
    help = "Write docs/openapi.yaml; with --check fail when it is not what the code says."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing, compare")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "openapi.yaml"
        text = _description()
        if options["check"]:
            _compare(path, text)
            self.stdout.write("docs/openapi.yaml is what the code says.")
        else:
            path.write_text(text)
            self.stdout.write("docs/openapi.yaml is written.")


def _description() -> str:
    """The description; what drf-spectacular had to guess (and said on standard error) fails it."""
    GENERATOR_STATS.reset()
    generator: Any = SchemaGenerator  # drf-spectacular's methods have no types
    renderer: Any = OpenApiYamlRenderer
    schema = generator().get_schema(request=None, public=True)
    if GENERATOR_STATS:
        raise CommandError("The description has guesses; see the warnings above.")
    text: bytes = renderer().render(schema, renderer_context={})
    return text.decode()


def _compare(path: Path, text: str) -> None:
    committed = path.read_text() if path.exists() else ""
    if committed == text:
        return
    lines = unified_diff(
        committed.splitlines(), text.splitlines(), "committed", "code", lineterm="", n=2
    )
    shown = "\n".join(islice(lines, _SHOWN_LINES))
    raise CommandError(f"docs/openapi.yaml is out of date; run `manage.py openapi`.\n{shown}")
