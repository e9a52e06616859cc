"""The words of calls, for installations that ask to keep them: sealed, for a while, read on record.

Without `IOP_AWSAI_KEEP_WORDS_DAYS` nothing is kept but a keyed digest. The key is derived from the
secret key: whoever has only the database cannot read what was asked.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.timezone import now

from awsai.models import AwsCall, AwsCallPayload
from incidentops.access import audit


class NotKept(LookupError):
    """The words of this call were never kept, have expired, or were sealed under another key."""


def keep(intent: UUID, words: str) -> None:
    """Seal what is asked, if this installation keeps words, with the caller's transaction."""
    days = settings.AWSAI_KEEP_WORDS_DAYS
    if not days or not words:
        return
    AwsCallPayload.objects.create(
        intent=intent,
        sealed=_seal().encrypt(words.encode("utf-8", "replace")),
        expires_at=now() + timedelta(days=days),
    )


def read(call: AwsCall, *, by: object) -> str:
    """The words of a call; that they were read is audited first.

    Raises:
        NotKept: there are none to read.
    """
    row = AwsCallPayload.objects.filter(intent=call.intent, expires_at__gt=now()).first()
    if row is None:
        raise NotKept("The words of this call were not kept, or have expired.")
    audit.record("ledger.words_read", actor=by, target=f"call:{call.sequence}", detail={})
    try:
        return _seal().decrypt(bytes(row.sealed)).decode()
    except InvalidToken:
        raise NotKept("The words of this call were sealed under another secret key.") from None


def forget_expired() -> int:
    """Delete what has expired; the number of calls whose words are gone."""
    deleted, _ = AwsCallPayload.objects.filter(expires_at__lte=now()).delete()
    return deleted


def _seal() -> Fernet:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"incidentops awsai words")
    return Fernet(base64.urlsafe_b64encode(derivation.derive(settings.SECRET_KEY.encode())))
