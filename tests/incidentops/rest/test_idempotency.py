from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client
from django.urls import path
from django.utils.timezone import now
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidentops.access.permissions import writing
from incidentops.rest import idempotency
from incidentops.rest.idempotency import IdempotentPosts
from incidentops.rest.models import StoredAnswer
from incidentops.rest.problems import Conflict
from tests.factories import make_token

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class MakeGroup(IdempotentPosts, APIView):
    """A POST with an effect that can be counted."""

    access = writing("incident.open")
    secret_fields = ("secret",)

    def post(self, request: Request) -> Response:
        assert isinstance(request.data, dict)
        group = Group.objects.create(name=f"g{Group.objects.count()}")
        if request.data.get("fail") == "invalid":
            raise ValidationError({"fail": "as asked"})
        if request.data.get("fail") == "conflict":
            raise Conflict("as asked")
        if request.data.get("fail") == "crash":
            raise RuntimeError("as asked")
        data = {"name": group.name, "at": now(), "secret": "s3cret"}
        return Response(data, status=201, headers={"Location": f"/groups/{group.pk}/"})


urlpatterns = [path("api/groups/", MakeGroup.as_view())]


def post(key: str | None = "k", *, token: str = "", client: Client | None = None, **body: object):
    headers = {"Authorization": f"Bearer {token or make_token()}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    client = client or Client(raise_request_exception=False)
    return client.post("/api/groups/", body, "application/json", headers=headers)


def groups() -> int:
    return Group.objects.filter(name__startswith="g").count()


def test_a_repeated_post_has_one_effect_and_one_answer():
    token = make_token()
    first, second = post(token=token, a=1), post(token=token, a=1)
    assert groups() == 1
    assert first.status_code == second.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["Location"] == first.headers["Location"]
    assert second.json() == {**first.json(), "secret": None}
    assert "s3cret" not in StoredAnswer.objects.get().body


def test_another_request_under_the_same_key_is_refused():
    token = make_token()
    post(token=token, a=1)
    answer = post(token=token, a=2)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert groups() == 1


def test_a_key_belongs_to_its_caller():
    post(a=1)
    assert "Idempotency-Replayed" not in post(a=1).headers
    assert groups() == 2


def test_without_a_key_every_post_counts():
    token = make_token()
    post(None, token=token)
    post(None, token=token)
    assert groups() == 2


@pytest.mark.parametrize(
    ("failure", "status"), [("invalid", 400), ("conflict", 409), ("crash", 500)]
)
def test_a_failure_undoes_everything_and_leaves_the_key_free(failure, status):
    token = make_token()
    assert post(token=token, fail=failure).status_code == status
    assert groups() == 0
    assert post(token=token, fail=failure).status_code == status
    assert post(token=token).status_code == 201


def test_a_repetition_after_a_day_is_a_new_request():
    token = make_token()
    post(token=token)
    StoredAnswer.objects.update(created_at=now() - timedelta(hours=25))
    assert "Idempotency-Replayed" not in post(token=token, other=1).headers
    StoredAnswer.objects.update(created_at=now() - timedelta(hours=25))
    assert idempotency.prune() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ümlaut"])
def test_an_unusable_key_is_refused(key):
    answer = post(key)
    assert answer.status_code == 400
    assert groups() == 0


def test_who_may_not_post_learns_nothing_of_keys():
    assert post(token=make_token("viewer")).status_code == 403
    assert post(token="iop_x").status_code == 401
    assert StoredAnswer.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_of_many_sent_at_once_one_has_the_effect():
    token = make_token()
    barrier = threading.Barrier(6)

    def send(_: int) -> tuple[int, str]:
        try:
            barrier.wait()
            answer = post(token=token, a=1)
            return answer.status_code, answer.json()["name"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert len(set(answers)) == 1
    assert answers[0][0] == 201
    assert groups() == 1
