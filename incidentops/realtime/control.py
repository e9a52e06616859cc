"""Orders to the sockets of every web process."""

from __future__ import annotations

from django.db import transaction

from incidentops.realtime import channel

GROUP = "control"


def revoke(subject: str) -> None:
    """Close the sockets of a subject ("user:7", "token:3"), once the caller's transaction commits.

    They see `revoked` and a close with 4403; who may still read connects anew. A process that
    misses the order finds out at its next check of rights.
    """
    transaction.on_commit(
        lambda: channel.group_send(GROUP, {"type": "revoke", "subject": subject}), robust=True
    )
