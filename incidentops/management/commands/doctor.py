"""Find the common faults of an instance and say what to do about each."""

from __future__ import annotations

import json
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from incidentops import environment, instance
from incidentops.health.examination import readings

REMEDIES = {
    "database": "Start the database server or correct DATABASE_URL.",
    "broker": "Start Redis or correct REDIS_URL; with neither set, `make up` starts one.",
    "migrations": "Run `.venv/bin/python manage.py migrate`; `make up` does it at every start.",
    "worker": "Start the instance with `make up`; its log names a worker that cannot start.",
    "beat": "Start the instance with `make up`; its log names a beat that cannot start.",
}


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    name: str
    ok: bool
    summary: str
    remedy: str = ""


class Command(BaseCommand):
    help = "Check this instance and explain what is wrong; exits 1 when anything is."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(diagnose())
        if options["json"]:
            self.stdout.write(json.dumps([asdict(diagnosis) for diagnosis in found], indent=2))
        else:
            for diagnosis in found:
                mark = self.style.SUCCESS("✓") if diagnosis.ok else self.style.ERROR("✗")
                self.stdout.write(f"{mark} {diagnosis.name}: {diagnosis.summary}")
                if diagnosis.remedy:
                    self.stdout.write(f"    → {diagnosis.remedy}")
        if not all(diagnosis.ok for diagnosis in found):
            sys.exit(1)


def diagnose() -> Iterator[Diagnosis]:
    """Every check, in the order in which faults cause one another."""
    yield _environment()
    yield _directory()
    for name, (_, reading) in readings().items():
        yield Diagnosis(
            name=name,
            ok=reading.ok,
            summary=reading.summary,
            remedy="" if reading.ok else REMEDIES.get(name, "See the log of the instance."),
        )
    yield _port()
    yield _static_files()


def _environment() -> Diagnosis:
    unknown = environment.unknown()
    if unknown:
        return Diagnosis(
            name="environment",
            ok=False,
            summary=f"Unknown variables: {', '.join(unknown)}.",
            remedy="Correct the name or unset it; .env.example lists every variable.",
        )
    return Diagnosis(name="environment", ok=True, summary="Every IOP_* variable is known.")


def _directory() -> Diagnosis:
    probe = settings.VAR / ".doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Diagnosis(
            name="directory",
            ok=False,
            summary=f"{settings.VAR} cannot be written: {error.strerror}.",
            remedy="Give the user that runs IncidentOps write access, or set another IOP_VAR.",
        )
    return Diagnosis(name="directory", ok=True, summary=f"{settings.VAR} can be written.")


def _port() -> Diagnosis:
    where = f"{settings.HOST}:{settings.PORT}"
    try:
        with socket.create_connection((settings.HOST, settings.PORT), timeout=2):
            pass
    except OSError:
        return Diagnosis(
            name="web",
            ok=False,
            summary=f"Nobody listens on {where}.",
            remedy="Start the instance with `make up`.",
        )
    ready, checks = instance.readiness(instance.local_url(settings.HOST, settings.PORT))
    if not checks:
        return Diagnosis(
            name="web",
            ok=False,
            summary=f"Port {settings.PORT} is taken by something that is not IncidentOps.",
            remedy="Stop that program, or set another IOP_PORT.",
        )
    failing = [name for name, check in checks.items() if not check["ok"]]
    return Diagnosis(
        name="web",
        ok=ready,
        summary=f"IncidentOps answers on {where}"
        + (f" but is not ready: {', '.join(failing)}." if failing else " and is ready."),
        remedy="" if ready else "See the failing checks above.",
    )


def _static_files() -> Diagnosis:
    if (settings.STATIC_ROOT / "staticfiles.json").exists():
        return Diagnosis(name="static files", ok=True, summary="Static files are collected.")
    return Diagnosis(
        name="static files",
        ok=False,
        summary="Static files have not been collected.",
        remedy="`make up` collects them; or run `.venv/bin/python manage.py collectstatic`.",
    )
