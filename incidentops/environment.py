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
        name="IOP_AWS_REGION",
        default="",
        description="Region of the AWS services; empty: as the AWS SDK finds it (AWS_REGION, profile).",
    ),
    Variable(
        name="IOP_AWS_FALLBACK_REGIONS",
        default="",
        description="Regions, by commas, where models are asked when those at home fail.",
    ),
    Variable(
        name="IOP_AWSAI_RESIDENCY",
        default="global",
        description="How far a request may travel: global, in-region, or a geography (us, eu, jp, au, apac).",
    ),
    Variable(
        name="IOP_AWSAI_KEEP_WORDS_DAYS",
        default="0",
        description="Days for which the words of AI calls are kept, encrypted; 0: a keyed digest alone.",
    ),
    Variable(
        name="IOP_AWSAI_MEMORY_DAYS",
        default="30",
        description="Days for which the local assistant remembers a session after its last word.",
    ),
    Variable(
        name="IOP_AWS_Q_REGION",
        default="",
        description="Region of Q Business; empty: that of the other services.",
    ),
    Variable(
        name="IOP_AWS_ROLE_INVOKE",
        default="",
        description="ARN of the role that asks models; empty: the process's own credentials.",
    ),
    Variable(
        name="IOP_AWS_ROLE_OBSERVE",
        default="",
        description="ARN of the role that reads metrics, logs and trails; empty: as above.",
    ),
    Variable(
        name="IOP_AWS_ROLE_ACT",
        default="",
        description="ARN of the role that carries out remediations; empty: as above.",
    ),
    Variable(
        name="IOP_AWS_ROLE_PRICE_SYNC",
        default="",
        description="ARN of the role that reads the price list; empty: as above.",
    ),
    Variable(
        name="IOP_AWS_CALL_SECONDS",
        default="180",
        description="How long one call of AWS may take with all its attempts, at most 240.",
    ),
    Variable(
        name="IOP_AWS_GUARDRAIL_ID",
        default="",
        description="Id or ARN of the Bedrock guardrail; set: every Converse call carries it.",
    ),
    Variable(
        name="IOP_AWS_GUARDRAIL_VERSION",
        default="DRAFT",
        description="Version of the guardrail.",
    ),
    Variable(
        name="IOP_AWS_KNOWLEDGE_BASE_ID",
        default="",
        description="Id of the Bedrock knowledge base.",
    ),
    Variable(
        name="IOP_AWS_KNOWLEDGE_MODEL_ARN",
        default="",
        description="ARN of the model that answers from the knowledge base.",
    ),
    Variable(
        name="IOP_AWS_RERANK_MODEL_ARN",
        default="",
        description="ARN of the model that ranks texts by relevance.",
    ),
    Variable(name="IOP_AWS_AGENT_ID", default="", description="Id of the Bedrock agent."),
    Variable(
        name="IOP_AWS_AGENT_ALIAS_ID", default="", description="Id of the alias of the agent."
    ),
    Variable(
        name="IOP_AWS_Q_APPLICATION_ID",
        default="",
        description="Id of the Q Business application.",
    ),
    Variable(
        name="IOP_AWS_Q_RETRIEVER_ID",
        default="",
        description="Id of the retriever of the Q Business application.",
    ),
    Variable(
        name="IOP_AWS_EMULATOR_URL",
        default="",
        description="URL of the emulator; empty: the one that `manage.py up` starts.",
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
