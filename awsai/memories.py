"""What the local assistant keeps of its sessions is kept for a while, as Bedrock keeps it."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils.timezone import now

from awsai.models import MemoryEntry


def forget_expired() -> int:
    """Delete sessions in which nothing was said for so long; how many there were."""
    ends = now() - timedelta(days=settings.AWSAI_MEMORY_DAYS)
    deleted, _ = MemoryEntry.objects.filter(at__lt=ends).delete()
    return deleted
