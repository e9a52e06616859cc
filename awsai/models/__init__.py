from __future__ import annotations

from awsai.models.ledger import (
    AwsCall,
    AwsCallIntent,
    AwsCallPayload,
    AwsCallQuerySet,
    LedgerHead,
    Outcome,
)

__all__ = [
    "AwsCall",
    "AwsCallIntent",
    "AwsCallPayload",
    "AwsCallQuerySet",
    "LedgerHead",
    "Outcome",
]
