"""The pages of what the swarm did: responses step by step, and plans that wait for people."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import IntegerField
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now

from agents import approvals
from agents.models import Approval
from agents.record import approval_row
from awsai.models import AwsCall
from awsai.topics import sums
from incidentops.access.permissions import requires, writing
from incidentops.realtime import topics


@requires("dashboard.view")
def transparency(request: HttpRequest) -> HttpResponse:
    snapshot = topics.snapshot("transparency")
    number = _chosen(request, snapshot["responses"])
    context: dict[str, Any] = {"responses": snapshot["responses"], "agents": snapshot["agents"]}
    if number is not None:
        try:
            context["snapshot"] = topics.snapshot(f"incident:{number}")
        except LookupError as error:
            raise Http404(str(error)) from None
        context["number"] = number
    # The whole ledger is added up once a page, not with each of its events.
    context |= {"services": sums(AwsCall.objects.all(), "service", "provider"), "at": now()}
    return render(request, "agents/transparency.html", context)


def _chosen(request: HttpRequest, responses: list[dict[str, Any]]) -> int | None:
    """The incident the URL names, else that of the newest response."""
    if "incident" not in request.GET:
        return responses[0]["incident"] if responses else None
    try:
        number: int = IntegerField(min_value=1, max_value=2**62).clean(request.GET["incident"])
    except ValidationError as error:
        raise Http404("There is no such incident.") from error
    return number


@requires("approval.view")
def pending(request: HttpRequest) -> HttpResponse:
    rows = (
        Approval.objects.filter(state=Approval.State.PENDING)
        .select_related("response__incident")
        .prefetch_related("voices")
        .order_by("expires_at")[:100]
    )
    shown = [{**approval_row(row), "title": row.response.incident.title} for row in rows]
    return render(request, "agents/approvals.html", {"approvals": shown})


@requires(writing("approval.decide"))
def decide(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Take a person's word on the plan that was shown to them."""
    approval = get_object_or_404(Approval, pk=pk)
    speak = {"approve": approvals.approve, "reject": approvals.reject}[verb]
    try:
        speak(
            approval,
            by=request.user,
            plan_digest=request.POST.get("plan_digest", ""),
            reason=request.POST.get("reason", "")[:1000],
        )
    except approvals.Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, "Your word on the plan is recorded.")
    return redirect("approvals")
