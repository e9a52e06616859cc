"""Keep secrets out of the log."""

from __future__ import annotations

import logging
import re

# /intake/SOURCE/SECRET/…; `api` after the source is a path, its secret is in a header.
_INTAKE = re.compile(r"(/intake/[^/\s'\"]+/)(?!api/v)[^/\s?#'\"]+")


class HideIntakeSecrets(logging.Filter):
    """Replaces the secret in every intake URL that a log line quotes."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "/intake/" in text:
            record.msg, record.args = _INTAKE.sub(r"\1[secret]", text), None
        return True
