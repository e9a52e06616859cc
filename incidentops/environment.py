"""Every environment variable the product reads, in one registry.

`settings.py` reads through it, `.env.example` is generated from it and `manage.py doctor` names
every `IOP_*` variable that is not in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable. `default` is the text used when it is unset; "" means unset has a meaning."""

    name: str
    default: str
    description: str


REGISTRY: tuple[Variable, ...] = (
    Variable(
        name="DATABASE_URL",
        default="",
        description="postgres://USER:PASSWORD@HOST:PORT/NAME; empty: SQLite (WAL) in IOP_VAR.",
    ),
    Variable(
        name="REDIS_URL",
        default="",
        description="redis://HOST:PORT/DB; empty: the embedded server that `manage.py up` starts.",
    ),
    Variable(
        name="IOP_REDIS_PREFIX",
        default="iop",
        description="Prefix of every key and channel, for instances that share a Redis server.",
    ),
    Variable(
        name="IOP_VAR",
        default="var",
        description="Directory of everything the instance writes: database, keys, logs, benchmarks.",
    ),
    Variable(
        name="IOP_HOST", default="127.0.0.1", description="Address the web server listens on."
    ),
    Variable(name="IOP_PORT", default="8000", description="Port the web server listens on."),
    Variable(
        name="IOP_PUBLIC_URL",
        default="",
        description="URL under which users reach the instance; empty: http://IOP_HOST:IOP_PORT.",
    ),
    Variable(
        name="IOP_ALLOWED_HOSTS",
        default="",
        description="Further host names to answer to, separated by commas.",
    ),
    Variable(name="IOP_SERVER", default="daphne", description="Web server: daphne or uvicorn."),
    Variable(name="IOP_WEB_PROCESSES", default="1", description="Number of web processes."),
    Variable(
        name="IOP_WORKER_CONCURRENCY", default="2", description="Processes per Celery worker."
    ),
    Variable(
        name="IOP_LEASE_SECONDS",
        default="20",
        description="How long a claimed phase stays claimed without a heartbeat.",
    ),
    Variable(
        name="IOP_ADMIN_PASSWORD",
        default="",
        description="Password of the first user `admin`; empty: a one-time sign-in link is printed.",
    ),
    Variable(
        name="IOP_SECRET_KEY",
        default="",
        description="Signing key; empty: generated once into IOP_VAR.",
    ),
    Variable(
        name="IOP_AWSAI",
        default="local",
        description="Provider of the AI services: local, emulator or aws.",
    ),
    Variable(
        name="IOP_EMAIL_URL",
        default="consolemail://",
        description="E-mail backend as a URL, e.g. smtp+tls://USER:PASSWORD@HOST:587.",
    ),
    Variable(
        name="IOP_EMAIL_FROM",
        default="incidentops@localhost",
        description="Sender of e-mail.",
    ),
    Variable(
        name="IOP_EMAIL_TO",
        default="oncall@localhost",
        description="Who receives incident updates, separated by commas.",
    ),
    Variable(
        name="IOP_LOG_LEVEL", default="INFO", description="Level of the log on standard error."
    ),
    Variable(
        name="IOP_PUBLIC_DEMO",
        default="0",
        description="1: /demo may be read without signing in.",
    ),
)

_BY_NAME = {variable.name: variable for variable in REGISTRY}


def read(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The text of a registered variable; a variable outside the registry is a programming error."""
    return environ.get(name, "") or _BY_NAME[name].default


def read_int(name: str, *, at_least: int = 1) -> int:
    """A registered variable as an integer.

    Raises:
        ImproperlyConfigured: it is not an integer or below `at_least`.
    """
    text = read(name)
    try:
        value = int(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be an integer, not {text!r}.") from None
    if value < at_least:
        raise ImproperlyConfigured(f"{name} must be at least {at_least}, not {value}.")
    return value


def read_choice(name: str, choices: tuple[str, ...]) -> str:
    """A registered variable that takes one of a few words.

    Raises:
        ImproperlyConfigured: it is none of them.
    """
    text = read(name)
    if text not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {text!r}.")
    return text


def read_list(name: str) -> list[str]:
    return [part.strip() for part in read(name).split(",") if part.strip()]


def unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Names that start with IOP_ and are not registered: most often a misspelling."""
    return sorted(name for name in environ if name.startswith("IOP_") and name not in _BY_NAME)


def example() -> str:
    """The text of `.env.example`."""
    lines = ["# Generated from incidentops/environment.py by `manage.py env_example`.", ""]
    for variable in REGISTRY:
        lines += [f"# {variable.description}", f"#{variable.name}={variable.default}", ""]
    return "\n".join(lines)
