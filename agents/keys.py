"""The voters' signing keys.

Every voter has an Ed25519 key per epoch, derived from the instance's secret key by HKDF-SHA256, so
nothing needs to be stored and a restart changes nothing. All agents run with the same secret: the
signatures prove that ballots are intact and were cast by this instance for this voter and question;
they do not isolate one agent's process from another's.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings


def private_key(voter: str, epoch: int) -> Ed25519PrivateKey:
    derivation = HKDF(
        algorithm=SHA256(),
        length=32,
        salt=b"incidentops ballots",
        info=f"{voter}:{epoch}".encode(),
    )
    return Ed25519PrivateKey.from_private_bytes(derivation.derive(settings.SECRET_KEY.encode()))


def public_key(voter: str, epoch: int) -> str:
    """The raw public key in hexadecimal."""
    raw = private_key(voter, epoch).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return raw.hex()
