"""Create, authenticate and change the sources of alerts."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from incidentops.access import audit
from incidentops.incidents import payloads, rates
from incidentops.incidents.masking import MASK, StillMasked, masked, unmasked
from incidentops.incidents.models import Source
from incidentops.incidents.payloads import Malformed
from incidentops.rest.nesting import TOO_DEEP, is_too_deep
from incidentops.statements import select

_MAX_CONFIG = 64 * 1024
_NOBODY = hashlib.sha256(b"").hexdigest()


class NameTaken(Exception):
    """Another source has this name."""


def create(
    *, kind: str, name: str, by: object, config: dict[str, Any] | None = None
) -> tuple[Source, str]:
    """Create a source; its secret is told this once.

    Raises:
        Malformed: the kind, the name or the configuration is not one.
        NameTaken: another source has this name.
    """
    if kind not in Source.Kind.values:
        raise Malformed("kind", f"must be one of {', '.join(Source.Kind.values)}")
    config = _given(config or {}, stored={})
    check_config(kind, config)
    secret = new_secret()
    source = Source(
        kind=kind, name=_checked_name(name), config=config, secret_digest=digest_of(secret)
    )
    with transaction.atomic():
        _save(source, force_insert=True)
        audit.record(
            "source.create",
            actor=by,
            target=f"source:{source.pk}",
            detail={"kind": source.kind, "name": source.name, "config": source.shown_config},
        )
    return source, secret


def change(
    source: Source,
    *,
    by: object,
    name: str | None = None,
    config: dict[str, Any] | None = None,
    is_enabled: bool | None = None,
) -> Source:
    """Change what is given; None leaves it.

    Raises:
        Malformed: the name or the configuration is not one.
        NameTaken: another source has this name.
    """
    with transaction.atomic():
        source = _locked(source)
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = _checked_name(name)
        if config is not None:
            config = _given(config, stored=source.config)
            check_config(source.kind, config)
            changes["config"] = config
        if is_enabled is not None:
            changes["is_enabled"] = is_enabled
        for field, value in changes.items():
            setattr(source, field, value)
        if changes:
            _save(source, update_fields=list(changes))
            told = {name: masked(value) for name, value in changes.items()}
            audit.record("source.change", actor=by, target=f"source:{source.pk}", detail=told)
    return source


def rotate(source: Source, *, by: object) -> tuple[Source, str]:
    """Give the source a new secret; the old one ends at once."""
    secret = new_secret()
    with transaction.atomic():
        source = _locked(source)
        source.secret_digest = digest_of(secret)
        source.save(update_fields=["secret_digest"])
        audit.record("source.rotate", actor=by, target=f"source:{source.pk}")
    return source, secret


def delete(source: Source, *, by: object) -> None:
    """Take nothing from the source any more, and free its name; what it delivered stays."""
    with transaction.atomic():
        source = _locked(source)
        source.is_enabled, source.deleted_at = False, now()
        source.save(update_fields=["is_enabled", "deleted_at"])
        audit.record("source.delete", actor=by, target=f"source:{source.pk}")


# In plain SQL, since every delivery asks: to be built by the ORM takes ten times as long.
_PRESENT = "SELECT * FROM incidents_source WHERE id = %s AND deleted_at IS NULL"


def authenticate(source_id: str, secret: str) -> Source | None:
    """The source with this id and secret. That either is wrong cannot be told from the answer."""
    source = None
    if source_id.isascii() and source_id.isalnum():
        source = next(iter(select(Source, _PRESENT, [source_id])), None)
    expected = source.secret_digest if source else _NOBODY
    is_right = hmac.compare_digest(digest_of(secret), expected)
    return source if is_right and secret else None


def url_of(source: Source, secret: str = "") -> str:
    """Where the source posts to. With the secret in it the URL works without any header."""
    path = f"/intake/{source.pk}/{secret}/" if secret else f"/intake/{source.pk}/"
    return f"{settings.PUBLIC_URL}{path}"


def ensure_defaults() -> list[tuple[Source, str]]:
    """The sources a new instance starts with, one of each kind, and their secrets.

    They are created once. Their secrets stay in a file that its owner alone may read, so that the
    URLs can be shown at every start; one that was rotated or deleted since is left out.
    """
    if not Source.objects.exists():
        with transaction.atomic():
            created = [
                create(kind=kind, name=kind, by="system:first-start") for kind in Source.Kind.values
            ]
            _remember({source.pk: secret for source, secret in created})
        return created
    known = [authenticate(source_id, secret) for source_id, secret in _remembered().items()]
    return [(source, _remembered()[source.pk]) for source in known if source]


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def check_config(kind: str, config: Any) -> None:
    """Refuse a configuration that intake could not use.

    Raises:
        Malformed: it names the member of the configuration.
    """
    _check_storable(config)
    payloads.check_config(kind, config)
    rates.check_limits(config.get("limits"))


def _given(config: dict[str, Any], *, stored: dict[str, Any]) -> dict[str, Any]:
    """The configuration that is meant, where credentials came back as they are shown."""
    if is_too_deep(config):
        raise Malformed("config", TOO_DEEP)
    try:
        meant: dict[str, Any] = unmasked(config, stored, "config")
    except StillMasked as error:
        raise Malformed(
            error.path, f"holds {MASK} for a password that is not the stored one; give it in full"
        ) from None
    return meant


def _check_storable(config: Any) -> None:
    try:
        text = json.dumps(config, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except ValueError:
        raise Malformed("config", "is not JSON that can be stored") from None
    if "\\u0000" in text:
        raise Malformed("config", "holds a NUL character")
    if size > _MAX_CONFIG:
        raise Malformed("config", f"is over {_MAX_CONFIG} bytes")


def _checked_name(name: str) -> str:
    if not name or len(name) > 80 or not name.isprintable():
        raise Malformed("name", "must be 1 to 80 printable characters")
    return name


def _locked(source: Source) -> Source:
    return Source.objects.select_for_update().get(pk=source.pk)


def _save(source: Source, **how: Any) -> None:
    try:
        with transaction.atomic():
            source.save(**how)
    except IntegrityError:
        raise NameTaken(f"There is a source named {source.name!r} already.") from None


def _remember(secrets_by_id: dict[str, str]) -> None:
    path = settings.VAR / "default_sources.json"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps(secrets_by_id))


def _remembered() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((settings.VAR / "default_sources.json").read_text())
    except FileNotFoundError:
        return {}
    return found
