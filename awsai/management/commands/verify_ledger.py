"""Check the ledger's hash chain."""

from __future__ import annotations

from awsai.models import AwsCall
from incidentops.access.verification import VerifyChain


class Command(VerifyChain):
    help = "Check the hash chain of the ledger; exits 1 naming the first row that is wrong."
    links = AwsCall
