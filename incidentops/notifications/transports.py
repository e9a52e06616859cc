"""Ways to reach people. A transport knows its recipients and how to hand one message over."""

from __future__ import annotations

import hashlib
import smtplib
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings
from django.core.mail import EmailMessage, get_connection


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message to one recipient. `key` is the same however often it is handed over."""

    key: str
    recipient: str
    subject: str
    body: str


class DeliveryFailed(Exception):
    """The transport did not take the message; the text says why, for people."""


class Transport(Protocol):
    """`name` is stored with every message, so that a later attempt goes the same way."""

    name: str

    def recipients(self, audience: str) -> tuple[str, ...]:
        """Whom this transport reaches for an audience ("responders", "stakeholders")."""

    def deliver(self, message: Message) -> None:
        """Hand the message over, within seconds.

        Raises:
            DeliveryFailed: it was not taken, or not certainly.
        """


class EmailTransport:
    """Django's e-mail backend; every audience is the configured list of recipients."""

    name = "email"
    timeout_seconds = 10

    def recipients(self, audience: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(settings.EMAIL_RECIPIENTS))

    def deliver(self, message: Message) -> None:
        try:
            EmailMessage(
                subject=message.subject,
                body=message.body,
                to=[message.recipient],
                # Attempts of one message carry one id, so that a mail system can drop a repetition.
                headers={"Message-ID": _message_id(message.key)},
                connection=get_connection(timeout=self.timeout_seconds),
            ).send()
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # ValueError: an address or header that e-mail cannot carry.
            raise DeliveryFailed(f"{type(error).__name__}: {error}") from error


def _message_id(key: str) -> str:
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@incidentops>"


_transports: dict[str, Transport] = {}


def register(transport: Transport) -> Transport:
    if transport.name in _transports:
        raise ValueError(f"Two transports are named {transport.name!r}.")
    _transports[transport.name] = transport
    return transport


def transports() -> list[Transport]:
    return list(_transports.values())


def find(name: str) -> Transport | None:
    return _transports.get(name)


register(EmailTransport())
