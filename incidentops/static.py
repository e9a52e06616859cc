"""How static files get their names."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # WhiteNoise ships no types
    """Content-hashed names, also inside `import` statements of ES modules."""

    support_js_module_import_aggregation = True
