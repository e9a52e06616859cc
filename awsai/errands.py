"""Work on a row outside of every request: claimed, counted, put off, at last given up.

The claim in the database counts attempts and decides the next one; messages only wake a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from django.conf import settings

from awsai.knowledge import storable
from awsai.ports import CallFailed
from incidentops.incidents import claims
from incidentops.incidents.models import Claimable
from incidentops.leases import Heartbeat

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 5
FIRST_WAIT = timedelta(seconds=15)
SWEEP_SIZE = 20

R = TypeVar("R", bound=Claimable)


@dataclass(frozen=True, kw_only=True)
class Errand(Generic[R]):
    """`claim` takes a row for a lease; `run` does the work and keeps what came of it, or fails.

    The lease is renewed while it runs, so that what a lost worker held is taken up by the next sweep.
    After a failure that may pass the row is put off, each time for longer; after another, or too
    many, it is given up with the reason. `worker` is who is lost when a claim was the last that was
    heard of.
    """

    worker: str
    claim: Callable[[int, timedelta], R | None]
    run: Callable[[R], None]
    put_off: Callable[[R, str, timedelta], None]
    give_up: Callable[[R, str], object]

    def attempt(self, pk: int) -> bool:
        """Work on a row that is due, unless another worker has it; True when this call did."""
        claimed = self.claim(pk, settings.LEASE)
        if claimed is None:
            return False
        if claimed.attempts > MOST_ATTEMPTS:
            reason = f"Given up: {self.worker} was lost in each of {MOST_ATTEMPTS} attempts."
            self.give_up(claimed, reason)
            return True
        try:
            with Heartbeat(partial(_renew, claimed), of=f"{type(claimed).__name__} {claimed.pk}"):
                self.run(claimed)
        except CallFailed as failed:
            self._fail(claimed, failed)
        return True

    def _fail(self, claimed: R, failed: CallFailed) -> None:
        what = type(claimed).__name__
        log.warning("%s %s failed in attempt %s: %s", what, claimed.pk, claimed.attempts, failed)
        reason = storable(str(failed))
        if failed.may_pass and claimed.attempts < MOST_ATTEMPTS:
            self.put_off(claimed, reason, FIRST_WAIT * 2 ** (claimed.attempts - 1))
        else:
            self.give_up(claimed, reason)


def _renew(claimed: Claimable) -> None:
    claims.renew(type(claimed)._default_manager.all(), claimed, lease=settings.LEASE)
