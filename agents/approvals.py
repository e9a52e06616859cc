"""People's word on a plan, bound to the digest that was shown to them."""

from __future__ import annotations

from django.db import transaction
from django.utils.timezone import now

from agents import streams
from agents.models import Approval, ApprovalVoice
from incidentops.access import audit
from incidentops.incidents import timeline


class Refused(Exception):
    """The word cannot be taken; the message says why. Nothing has changed."""


def approve(approval: Approval, *, by: object, plan_digest: str, reason: str = "") -> Approval:
    """Count this person's consent; the plan is approved once enough different people gave it.

    Raises:
        Refused: another plan was shown, it expired, was decided, or this person has spoken.
    """
    return _speak(approval, by=by, plan_digest=plan_digest, reason=reason, is_approving=True)


def reject(approval: Approval, *, by: object, plan_digest: str, reason: str = "") -> Approval:
    """Turn the plan down: one person is enough.

    Raises:
        Refused: as for `approve`.
    """
    return _speak(approval, by=by, plan_digest=plan_digest, reason=reason, is_approving=False)


def _speak(
    approval: Approval, *, by: object, plan_digest: str, reason: str, is_approving: bool
) -> Approval:
    person = str(by)[:120]
    with transaction.atomic():
        approval = (
            Approval.objects.select_for_update(of=("self",))
            .select_related("response__incident")
            .get(pk=approval.pk)
        )
        _demand_open(approval, plan_digest)
        if approval.voices.filter(person=person).exists():
            raise Refused(f"{person} has already spoken on this plan.")
        ApprovalVoice.objects.create(
            approval=approval, person=person, is_approving=is_approving, reason=reason
        )
        if not is_approving:
            approval.state = Approval.State.REJECTED
        elif approval.voices.filter(is_approving=True).count() >= approval.required:
            approval.state = Approval.State.APPROVED
        if approval.state != Approval.State.PENDING:
            approval.decided_at = now()
        approval.save(update_fields=["state", "decided_at"])
        verb = "approved" if is_approving else "rejected"
        timeline.tell(
            approval.response.incident,
            f"approval.{verb}",
            f"{person} {verb} the plan." + (f" {reason}" if reason else ""),
            actor=by,
        )
        streams.approval_decided(approval, person=person)
        audit.record(
            f"approval.{'approve' if is_approving else 'reject'}",
            actor=by,
            target=f"approval:{approval.pk}",
            detail={"plan_digest": plan_digest, "state": approval.state},
        )
    return approval


def _demand_open(approval: Approval, plan_digest: str) -> None:
    if approval.state != Approval.State.PENDING:
        raise Refused(f"The plan is already {approval.state}.")
    if approval.expires_at <= now():
        raise Refused("The plan has expired.")
    if approval.plan_digest != plan_digest:
        raise Refused("The plan has changed since it was shown; read it again.")
