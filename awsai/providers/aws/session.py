"""Clients of AWS, for the adapters here and for whoever asks other AWS services.

A client is made when it is first asked for and shared by all threads of the process; a forked child
makes its own. Every client writes the ledger.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any, Literal

import boto3
import botocore
from botocore.config import Config
from django.conf import settings

from awsai.ports import CallFailed, ProviderName, Trouble
from awsai.providers.aws import credentials
from awsai.providers.aws.hooks import LedgerHooks

# One role each: asking models, looking, acting, reading prices. "" signs as the process itself.
Plane = Literal["invoke", "observe", "act", "price_sync", ""]
# The emulator takes the keys of AWS's own examples: known to everyone, good for nothing else.
EMULATOR_ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
EMULATOR_SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105  # see above
EMULATOR_REGION = "us-east-1"

_CONFIG = Config(
    # What else would be the default drifts from one version of botocore to the next.
    retries={"mode": "standard", "total_max_attempts": 3},
    connect_timeout=3,
    read_timeout=10,  # `hooks` gives models longer
    tcp_keepalive=True,
    max_pool_connections=20,
    # Told once. Else botocore puts together at every call, and again before it signs, what it is.
    user_agent=f"IncidentOps Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
)
# Else a bearer token in the environment (AWS_BEARER_TOKEN_BEDROCK) would go before these keys.
_SIGNED = _CONFIG.merge(Config(auth_scheme_preference="sigv4"))


def client(
    service: str,
    *,
    plane: Plane = "invoke",
    region: str | None = None,
    provider: ProviderName | None = None,
) -> Any:
    """The process's client of an AWS service, by its name in boto3.

    While the installation is set to the emulator, no client reaches AWS, whatever `provider` says.

    Raises:
        CallFailed: UNAVAILABLE, it is not known where the emulator listens.
    """
    emulated = "emulator" in (provider, settings.AWSAI_PROVIDER)
    return _clients.get(
        _Key(
            service=service,
            region=region or settings.AWS_REGION or (EMULATOR_REGION if emulated else ""),
            plane=plane,
            endpoint=emulator_url() if emulated else "",
            role=settings.AWS_ROLES.get(plane, ""),
        )
    )


def emulator_url() -> str:
    """Where the emulator listens: as configured, else as `manage.py up` noted.

    Raises:
        CallFailed: UNAVAILABLE, neither tells.
    """
    if settings.AWS_EMULATOR_URL:
        return str(settings.AWS_EMULATOR_URL)
    try:
        return settings.AWS_EMULATOR_ADDRESS.read_text().strip()
    except FileNotFoundError:
        raise CallFailed(
            Trouble.UNAVAILABLE, "The emulator does not run, and IOP_AWS_EMULATOR_URL is not set."
        ) from None


@dataclass(frozen=True, kw_only=True)
class _Key:
    """`endpoint` is that of the emulator, "" for AWS. Emulators that start anew move."""

    service: str
    region: str
    plane: Plane
    endpoint: str
    role: str

    @property
    def identity(self) -> tuple[str, ...]:
        """As whom it signs: clients of one identity share a session, which is slow to make."""
        if self.role:
            return (self.endpoint, self.role, self.plane, self.region)
        return ("emulator" if self.endpoint else "aws",)


class _Clients:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._made: dict[_Key, Any] = {}
        self._sessions: dict[tuple[str, ...], boto3.session.Session] = {}
        # Making a client asks for another one when a role is assumed with it.
        self._lock = threading.RLock()

    def get(self, key: _Key) -> Any:
        made = self._made.get(key)
        if made is not None:
            return made
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(key)
            return self._made[key]

    def _make(self, key: _Key) -> Any:
        made = self._session(key).client(
            key.service,
            region_name=key.region or None,
            endpoint_url=key.endpoint or None,
            config=_SIGNED if key.endpoint or key.role else _CONFIG,
        )
        LedgerHooks(made, provider="emulator" if key.endpoint else "aws").register()
        return made

    def _session(self, key: _Key) -> boto3.session.Session:
        if key.identity not in self._sessions:
            self._sessions[key.identity] = _session(key)
        return self._sessions[key.identity]


def _session(key: _Key) -> boto3.session.Session:
    if key.role:

        def sts() -> Any:
            return _clients.get(
                _Key(service="sts", region=key.region, plane="", endpoint=key.endpoint, role="")
            )

        role = credentials.RoleCredentials(key.role, plane=key.plane, sts=sts)
        return boto3.session.Session(botocore_session=credentials.signing_with(role))
    if key.endpoint:
        return boto3.session.Session(
            aws_access_key_id=EMULATOR_ACCESS_KEY_ID,
            aws_secret_access_key=EMULATOR_SECRET_ACCESS_KEY,
        )
    return boto3.session.Session()


_clients = _Clients()
# The lock may be held and the sockets in use by a thread that the child does not have.
os.register_at_fork(after_in_child=_clients.forget)
