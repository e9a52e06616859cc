"""Browser libraries as they are served."""

from __future__ import annotations

from pathlib import Path

from incidentops.management.commands import assets


def test_bare_imports_become_relative_ones() -> None:
    source = 'import{a as b}from"@lit/reactive-element";export*from"lit-html";import"./x.js";'
    assert assets.relative_imports(source, at="lit-element/lit-element.js") == (
        'import{a as b}from"../reactive-element/reactive-element.js";'
        'export * from"../lit-html/lit-html.js";import"./x.js";'
    )


def test_source_maps_that_are_not_served_are_not_named() -> None:
    assert assets.relative_imports("x;\n//# sourceMappingURL=x.js.map\n", at="lit/index.js") == (
        "x;\n\n"
    )


def test_without_the_registry_every_file_is_there_and_pages_know(tmp_path: Path) -> None:
    vendor = tmp_path / "vendor"
    assets.mark_absent(vendor)
    assert all((vendor / name).exists() for name in assets.FILES)
    assert not (vendor / "libraries.json").exists()
    assert (vendor / ".stamp").exists()
