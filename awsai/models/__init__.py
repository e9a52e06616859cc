from __future__ import annotations

from awsai.models.budgets import Budget, BudgetUse
from awsai.models.catalogue import CatalogueModel
from awsai.models.knowledge import (
    Conversation,
    Knowledge,
    KnowledgeEdition,
    KnowledgeKind,
    MemoryEntry,
)
from awsai.models.ledger import (
    AwsCall,
    AwsCallIntent,
    AwsCallPayload,
    AwsCallQuerySet,
    LedgerHead,
    Outcome,
)
from awsai.models.prices import PriceRate, PriceVersion
from awsai.models.routes import Considered, RouteDecision, RouteOutcome, RouteWeights

__all__ = [
    "AwsCall",
    "AwsCallIntent",
    "AwsCallPayload",
    "AwsCallQuerySet",
    "Budget",
    "BudgetUse",
    "CatalogueModel",
    "Considered",
    "Conversation",
    "Knowledge",
    "KnowledgeEdition",
    "KnowledgeKind",
    "LedgerHead",
    "MemoryEntry",
    "Outcome",
    "PriceRate",
    "PriceVersion",
    "RouteDecision",
    "RouteOutcome",
    "RouteWeights",
]
