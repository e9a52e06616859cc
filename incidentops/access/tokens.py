"""Bearer tokens: made, recognised, revoked.

A token is `iop_`, 30 random characters and six of checksum. The checksum lets a typing error, or a
secret scanner, be answered without a look at the database.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.timezone import now

from incidentops.access import audit
from incidentops.access.models import ApiToken
from incidentops.access.roles import Role
from incidentops.realtime import control

PREFIX = "iop_"
LIFETIME = timedelta(days=365)

_ALPHABET = string.digits + string.ascii_letters
_RANDOM, _CHECKSUM = 30, 6
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


class NameTaken(ValueError):
    """A token of this name is in use."""


class TokenUser:
    """Who calls with a token: signed in, but no row of the user table."""

    pk = id = None
    is_authenticated = True
    is_active = True
    is_anonymous = is_staff = is_superuser = False

    def __init__(self, token: ApiToken) -> None:
        self.token = token

    def __str__(self) -> str:
        return f"token:{self.token.name}"

    def get_username(self) -> str:
        return str(self)


def create(
    name: str, role: Role, expires_in: timedelta | None = LIFETIME, *, by: object = "command line"
) -> tuple[ApiToken, str]:
    """A new token and its text, which is nowhere kept.

    Raises:
        NameTaken: a token of this name has not been revoked.
    """
    text = _new_text()
    token = ApiToken(
        name=name,
        role=Role(role).value,
        prefix=text[: len(PREFIX) + 6],
        digest=_digest(text),
        expires_at=now() + expires_in if expires_in else None,
    )
    try:
        with transaction.atomic():
            token.save(force_insert=True)
            audit.record(
                "token.create",
                actor=by,
                target=f"token:{name}",
                detail={"id": token.pk, "role": token.role},
            )
    except IntegrityError:
        if ApiToken.objects.filter(name=name, revoked_at=None).exists():
            raise NameTaken(f"A token named {name!r} is in use; revoke it first.") from None
        raise
    return token, text


def authenticate(text: str) -> ApiToken | None:
    """The valid token with this text; None when there is none."""
    if not _is_well_formed(text):
        return None
    digest = _digest(text)
    token = ApiToken.objects.filter(digest=digest).first()
    if token is None or not secrets.compare_digest(token.digest, digest) or not token.is_valid:
        return None
    _note_use(token)
    return token


def revoke(token: ApiToken, by: object) -> ApiToken:
    """End a token and close the sockets that were opened with it. A second call changes nothing."""
    with transaction.atomic():
        token = ApiToken.objects.select_for_update().get(pk=token.pk)
        if token.revoked_at is not None:
            return token
        token.revoked_at = now()
        token.save(update_fields=["revoked_at"])
        control.revoke(token.subject)
        audit.record(
            "token.revoke", actor=by, target=f"token:{token.name}", detail={"id": token.pk}
        )
    return token


def bearer(header: str) -> str | None:
    """The text after "Bearer" in an Authorization header; None when it is of another scheme."""
    scheme, _, text = header.strip().partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def _note_use(token: ApiToken) -> None:
    """At most once a minute: a busy client must not turn every read into a write."""
    seen, at = token.last_used_at, now()
    if seen is not None and at - seen < _USE_IS_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=at - _USE_IS_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=at)


def _new_text() -> str:
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return PREFIX + body + _checksum(body)


def _is_well_formed(text: str) -> bool:
    body, checksum = text[len(PREFIX) : -_CHECKSUM], text[-_CHECKSUM:]
    return (
        len(text) == len(PREFIX) + _RANDOM + _CHECKSUM
        and text.startswith(PREFIX)
        and text.isascii()
        and checksum == _checksum(body)
    )


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
