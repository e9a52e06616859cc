"""The provider that this installation is itself: algorithms that say what they are, no models."""

from __future__ import annotations

from awsai.providers.local.provider import PROVIDER, LocalProvider

__all__ = ["PROVIDER", "LocalProvider"]
