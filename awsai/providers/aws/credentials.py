"""As whom AWS is asked: one role a plane, in a session named after the incident being served."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    DeferredRefreshableCredentials,
    ReadOnlyCredentials,
)
from botocore.session import Session

from awsai import purpose

KEPT_SESSIONS = 64


class RoleCredentials(Credentials):  # type: ignore[misc]  # botocore ships no types
    """Credentials of a role that are chosen when a request is signed.

    Clients are shared by everyone who calls, so the session of the incident cannot be the client's.
    `sts` gives the client that assumes the role.
    """

    def __init__(self, role_arn: str, *, plane: str, sts: Callable[[], Any]) -> None:
        super().__init__(access_key="", secret_key="", method="assume-role")
        self._role_arn, self._plane, self._sts = role_arn, plane, sts
        self._sessions: OrderedDict[str, DeferredRefreshableCredentials] = OrderedDict()
        self._lock = threading.Lock()

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return self._session(self._session_name()).get_frozen_credentials()

    def _session_name(self) -> str:
        incident = purpose.current().incident
        return f"iop-{self._plane}" if incident is None else f"inc-{incident}"

    def _session(self, name: str) -> DeferredRefreshableCredentials:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = DeferredRefreshableCredentials(
                    lambda: self._assume(name), "assume-role"
                )
            self._sessions.move_to_end(name)
            if len(self._sessions) > KEPT_SESSIONS:
                self._sessions.popitem(last=False)
            return self._sessions[name]

    def _assume(self, name: str) -> dict[str, str]:
        answer = self._sts().assume_role(RoleArn=self._role_arn, RoleSessionName=name)
        told = answer["Credentials"]
        return {
            "access_key": told["AccessKeyId"],
            "secret_key": told["SecretAccessKey"],
            "token": told["SessionToken"],
            "expiry_time": told["Expiration"].isoformat(),
        }


class _Given(CredentialProvider):  # type: ignore[misc]  # as above
    METHOD = "assume-role"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def load(self) -> Credentials:
        return self._credentials


def signing_with(credentials: Credentials) -> Session:
    """A session of botocore whose clients sign with these credentials and no others."""
    session = Session()
    session.register_component("credential_provider", CredentialResolver([_Given(credentials)]))
    return session
