"""Bodies that were not in their source's format: kept, shown, and given another chance."""

from __future__ import annotations

import hashlib

from django.db import transaction
from django.db.models import F
from django.utils.timezone import now

from incidentops.access import audit
from incidentops.incidents import intake
from incidentops.incidents.models import DeadLetter, Source
from incidentops.incidents.payloads import Malformed, text_of

# A sender that never learns must not fill the disk; the newest bodies are kept.
KEPT_PER_SOURCE = 500


def bury(source: Source, body: bytes, error: Malformed) -> DeadLetter:
    """Keep a body with the reason why it was refused. The same body again is only counted."""
    text = text_of(body)
    digest = hashlib.sha256(text.encode()).hexdigest()
    same = DeadLetter.objects.filter(source=source, body_digest=digest, state=DeadLetter.State.DEAD)
    with transaction.atomic():
        DeadLetter.objects.bulk_create(
            [
                DeadLetter(
                    source=source,
                    body=text,
                    body_digest=digest,
                    field=error.field,
                    reason=error.reason,
                    count=0,
                )
            ],
            ignore_conflicts=True,
        )
        same.update(
            count=F("count") + 1,
            last_received_at=now(),
            field=error.field,
            reason=error.reason,
        )
        _forget_oldest(source)
        return same.get()


def requeue(letter: DeadLetter, *, by: object) -> DeadLetter:
    """Take the body in after all, as the source's format is read today. Twice is as good as once.

    Raises:
        Malformed: it is still not in that format; the letter stays, with the reason of today.
    """
    try:
        with transaction.atomic():
            letter = DeadLetter.objects.select_for_update().get(pk=letter.pk)
            if letter.state == DeadLetter.State.REQUEUED:
                return letter
            receipt = intake.receive(letter.source, letter.body.encode())
            letter.state = DeadLetter.State.REQUEUED
            letter.delivery_id = receipt.delivery
            letter.save(update_fields=["state", "delivery"])
            audit.record(
                "dead_letter.requeue",
                actor=by,
                target=f"dead_letter:{letter.pk}",
                detail={"source": letter.source_id, "delivery": receipt.delivery},
            )
    except Malformed as error:
        DeadLetter.objects.filter(pk=letter.pk, state=DeadLetter.State.DEAD).update(
            field=error.field, reason=error.reason
        )
        raise
    return letter


def _forget_oldest(source: Source) -> None:
    dead = DeadLetter.objects.filter(source=source, state=DeadLetter.State.DEAD)
    oldest_kept = dead.order_by("-id").values_list("id", flat=True)[KEPT_PER_SOURCE - 1 :][:1]
    for first in oldest_kept:
        dead.filter(id__lt=first).delete()
