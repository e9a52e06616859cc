"""Check the audit's hash chain."""

from __future__ import annotations

from incidentops.access.models import AuditEntry
from incidentops.access.verification import VerifyChain


class Command(VerifyChain):
    help = "Check the hash chain of the audit; exits 1 naming the first row that is wrong."
    links = AuditEntry
