from __future__ import annotations

import json
import stat
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client

from incidentops.access.models import AuditEntry
from incidentops.incidents import sources
from incidentops.incidents.models import Delivery, Source
from incidentops.incidents.payloads import Malformed
from tests.factories import make_source, make_user
from tests.incidentops.incidents.test_intake import body, firing

pytestmark = pytest.mark.django_db


def test_a_source_is_known_by_its_id_and_secret_alone() -> None:
    source, secret = sources.create(kind="generic", name="one", by="ann")
    assert sources.authenticate(source.pk, secret) == source
    for source_id, wrong in [
        (source.pk, ""),
        (source.pk, secret + "x"),
        ("0" * 12, secret),
        ("", secret),
        ("\0", secret),
        (source.pk, "\ud800"),
    ]:
        assert sources.authenticate(source_id, wrong) is None
    assert secret not in str(vars(source))


def test_a_new_secret_ends_the_old_one() -> None:
    source, old = sources.create(kind="generic", name="one", by="ann")
    source, new = sources.rotate(source, by="ann")
    assert sources.authenticate(source.pk, old) is None
    assert sources.authenticate(source.pk, new) == source


def test_every_change_of_a_source_is_audited_without_its_secret() -> None:
    source, secret = sources.create(kind="generic", name="one", by="ann")
    sources.change(source, by="ann", config={"service_label": "team"}, is_enabled=False)
    _, other = sources.rotate(source, by="ann")
    sources.delete(source, by="ann")
    entries = list(AuditEntry.objects.filter(target=f"source:{source.pk}").order_by("sequence"))
    assert [entry.action for entry in entries] == [
        "source.create",
        "source.change",
        "source.rotate",
        "source.delete",
    ]
    told = str([entry.detail for entry in entries])
    assert secret not in told
    assert other not in told


def test_the_audit_does_not_keep_a_password_in_the_url_of_a_server() -> None:
    config = {"prometheus_url": "https://ann:hunter2@prometheus.example:9090/p"}
    source, _ = sources.create(kind="prometheus", name="one", by="ann", config=config)
    assert sources.change(source, by="ann", config=config).config == config
    for entry in AuditEntry.objects.all():
        url = entry.detail["config"]["prometheus_url"]
        assert url == "https://ann:***@prometheus.example:9090/p"


def test_a_configuration_nested_too_deeply_is_refused() -> None:
    config: dict[str, Any] = {}
    for _ in range(800):
        config = {"a": config}
    with pytest.raises(Malformed) as refusal:
        sources.create(kind="generic", name="one", by="ann", config=config)
    assert refusal.value.field == "config"


SECRET_URL = "https://ann:hunter2@prometheus.example:9090/p"
SHOWN_URL = "https://ann:***@prometheus.example:9090/p"


def test_who_may_see_a_source_does_not_see_the_passwords_in_its_urls(client: Client) -> None:
    config = {"prometheus_url": SECRET_URL, "notes": ["see http://t0ken@example.org/x"]}
    source = make_source("prometheus", config=config)
    viewer = make_user("auditor")
    viewer.is_staff = True
    viewer.save()
    client.force_login(viewer)
    for path in (
        "/api/v1/sources/",
        f"/api/v1/sources/{source.pk}/",
        f"/admin/incidents/source/{source.pk}/change/",
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert SHOWN_URL in answer.content.decode()
        assert "http://***@example.org/x" in answer.content.decode()
        assert "hunter2" not in answer.content.decode()
        assert "t0ken" not in answer.content.decode()


def test_a_masked_url_that_is_written_back_keeps_its_password(client: Client) -> None:
    client.force_login(make_user("admin"))
    asked = {"kind": "prometheus", "name": "one", "config": {"prometheus_url": SECRET_URL}}
    shown = client.post("/api/v1/sources/", asked, "application/json").json()
    assert shown["config"] == {"prometheus_url": SHOWN_URL}
    url = f"/api/v1/sources/{shown['id']}/"
    wanted = {"config": {**shown["config"], "service_label": "team"}}
    answer = client.patch(url, wanted, "application/json")
    assert answer.json()["config"] == wanted["config"]
    stored = Source.objects.get(pk=shown["id"]).config
    assert stored == {"prometheus_url": SECRET_URL, "service_label": "team"}
    other = {"config": {"prometheus_url": "https://bob:new@prometheus.example/"}}
    assert client.patch(url, other, "application/json").status_code == 200
    assert Source.objects.get(pk=shown["id"]).config == other["config"]


@pytest.mark.parametrize("url", ["https://ann:***@elsewhere.example/p", "https://***@a.example"])
def test_a_mask_never_takes_a_stored_password_to_another_place(client: Client, url: str) -> None:
    client.force_login(make_user("admin"))
    source = make_source("prometheus", config={"prometheus_url": SECRET_URL})
    wanted = {"config": {"prometheus_url": url}}
    answer = client.patch(f"/api/v1/sources/{source.pk}/", wanted, "application/json")
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"config.prometheus_url"}
    asked = {"kind": "prometheus", "name": "new", **wanted}
    assert client.post("/api/v1/sources/", asked, "application/json").status_code == 400
    source.refresh_from_db()
    assert source.config == {"prometheus_url": SECRET_URL}


def test_a_deleted_source_keeps_its_deliveries_and_frees_its_name(client: Client) -> None:
    source, secret = sources.create(kind="alertmanager", name="one", by="ann")
    with pytest.raises(sources.NameTaken):
        sources.create(kind="generic", name="one", by="ann")
    client.post(f"/intake/{source.pk}/{secret}/", body(firing()), content_type="application/json")
    sources.delete(source, by="ann")
    assert Delivery.objects.count() == 1
    assert sources.authenticate(source.pk, secret) is None
    sources.create(kind="generic", name="one", by="ann")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"kind": "nagios"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "a\0"}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"config": {"x": "\0"}}, "config"),
        ({"config": {"x": "\ud800"}}, "config"),
        ({"config": {"x": float("nan")}}, "config"),
        ({"config": {"x": "x" * 70_000}}, "config"),
        ({"config": {"mapping": {"title": "a["}}}, "config.mapping.title"),
        ({"config": {"limits": {"alerts_per_10s": 0}}}, "config.limits.alerts_per_10s"),
        ({"config": {"limits": {"alerts": 5}}}, "config.limits.alerts"),
        ({"config": {"limits": 5}}, "config.limits"),
    ],
)
def test_a_source_that_could_not_work_is_refused(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(Malformed) as refusal:
        sources.create(**{"kind": "generic", "name": "one", "by": "ann", **fields})
    assert refusal.value.field == wrong
    assert Source.objects.count() == 0


def test_a_new_instance_has_one_source_of_each_kind_and_can_show_it_again() -> None:
    path = settings.VAR / "default_sources.json"
    path.unlink(missing_ok=True)
    made = sources.ensure_defaults()
    assert [source.name for source, _ in made] == ["alertmanager", "prometheus", "generic"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sources.ensure_defaults() == made
    for source, secret in made:
        assert sources.authenticate(source.pk, secret) == source
        assert sources.url_of(source, secret).endswith(f"/intake/{source.pk}/{secret}/")
    rotated, deleted, left = (source for source, _ in made)
    sources.rotate(rotated, by="ann")
    sources.delete(deleted, by="ann")
    assert [source for source, _ in sources.ensure_defaults()] == [left]
    assert Source.objects.count() == 3


def test_an_instance_that_has_sources_gets_no_others() -> None:
    make_source()
    (settings.VAR / "default_sources.json").unlink(missing_ok=True)
    assert sources.ensure_defaults() == []


# --- The command


def run(*arguments: str) -> Any:
    out = StringIO()
    call_command("source", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_the_command_creates_and_lists_sources(client: Client) -> None:
    config = '{"mapping": {"title": "headline"}}'
    made = run("create", "--kind", "generic", "--name", "one", "--config", config, "--json")
    assert set(made) == {"id", "kind", "name", "url", "secret"}
    path = made["url"].removeprefix(settings.PUBLIC_URL)
    answer = client.post(path, b'{"headline": "x"}', content_type="application/json")
    assert answer.status_code == 202
    (listed,) = run("list", "--json")
    assert (listed["id"], listed["kind"], listed["name"]) == (made["id"], "generic", "one")
    assert made["secret"] not in str(listed)


@pytest.mark.parametrize(
    "config", ["[]", "{", '{"mapping": {"title": "a["}}', '{"x": NaN}', '{"x": "\\u0000"}']
)
def test_the_command_refuses_a_wrong_configuration(config: str) -> None:
    with pytest.raises(CommandError):
        run("create", "--kind", "generic", "--name", "one", "--config", config)


# --- REST


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(make_user("admin"))
    return client


def send(client: Client, method: str, url: str, data: Any = None, **headers: str) -> Any:
    return getattr(client, method)(
        url, json.dumps(data), content_type="application/json", headers=headers
    )


def test_a_source_is_created_changed_rotated_and_deleted_over_rest(admin: Client) -> None:
    asked = {"kind": "generic", "name": "one"}
    made = send(admin, "post", "/api/v1/sources/", asked)
    assert made.status_code == 201
    source = made.json()
    assert sources.authenticate(source["id"], source["secret"])
    assert source["secret"] in source["url"]
    url = f"/api/v1/sources/{source['id']}/"

    assert send(admin, "post", "/api/v1/sources/", asked).status_code == 409
    config = {"mapping": {"title": "headline"}}
    changed = send(admin, "patch", url, {"config": config, "name": "two"})
    assert (changed.json()["config"], changed.json()["name"]) == (config, "two")
    wrong = send(admin, "patch", url, {"config": {"mapping": {"titel": "x"}}})
    assert wrong.status_code == 400
    assert "config.mapping.titel" in wrong.json()["errors"]

    rotated = send(admin, "post", f"{url}rotate/").json()
    assert sources.authenticate(source["id"], source["secret"]) is None
    assert sources.authenticate(source["id"], rotated["secret"])

    (listed,) = admin.get("/api/v1/sources/?kind=generic").json()["results"]
    assert "secret" not in listed
    assert rotated["secret"] not in str(listed)
    assert admin.get(url).json()["name"] == "two"
    assert admin.delete(url).status_code == 204
    assert admin.get(url).status_code == 404
    assert admin.get("/api/v1/sources/").json()["results"] == []


def test_a_repeated_creation_does_not_show_the_secret_again(admin: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    asked = {"kind": "generic", "name": "one"}
    first = send(admin, "post", "/api/v1/sources/", asked, **headers).json()
    again = send(admin, "post", "/api/v1/sources/", asked, **headers).json()
    assert again["id"] == first["id"]
    assert first["secret"] not in str(again)


def test_a_mapping_is_previewed_without_storing_anything(admin: Client) -> None:
    source = make_source("generic")
    url = f"/api/v1/sources/{source.pk}/preview/"
    asked = {
        "document": {"headline": "Disk full", "state": "OK"},
        "config": {"mapping": {"title": "headline", "status": "state"}},
    }
    (alert,) = send(admin, "post", url, asked).json()["alerts"]
    assert (alert["title"], alert["status"]) == ("Disk full", "resolved")
    refused = send(admin, "post", url, {"document": asked["document"]})
    assert refused.status_code == 400
    assert "title" in refused.json()["errors"]
    assert Delivery.objects.count() == 0


@pytest.mark.parametrize("role", ["viewer", "responder", "approver", "auditor"])
def test_only_admins_change_sources(client: Client, role: str) -> None:
    source = make_source()
    client.force_login(make_user(role))
    url = f"/api/v1/sources/{source.pk}/"
    for method, where in [
        ("post", "/api/v1/sources/"),
        ("patch", url),
        ("delete", url),
        ("post", f"{url}rotate/"),
    ]:
        assert send(client, method, where, {}).status_code == 403
    assert client.get(url).status_code == (200 if role == "auditor" else 403)
