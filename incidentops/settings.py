"""Settings of one instance: the environment in, Django's names out.

Everything that varies between instances is a variable of `environment.REGISTRY`.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.management.utils import get_random_secret_key

from incidentops import environment

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(environment.read("IOP_VAR"))
if not VAR.is_absolute():
    VAR = BASE_DIR / VAR
VAR.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """The configured key, else the one generated at first start and kept readable by us alone."""
    if configured := environment.read("IOP_SECRET_KEY"):
        return configured
    path = VAR / "secret_key"
    try:
        # Exclusive creation: two processes that start together must end with the same key.
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        if key := path.read_text().strip():
            return key
    path.write_text(get_random_secret_key())
    return path.read_text().strip()


SECRET_KEY = _secret_key()
DEBUG = False

HOST = environment.read("IOP_HOST")
PORT = environment.read_int("IOP_PORT")
PUBLIC_URL = environment.read("IOP_PUBLIC_URL") or f"http://{HOST}:{PORT}"
_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    _public.hostname or "localhost",
    *environment.read_list("IOP_ALLOWED_HOSTS"),
]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]

# --- Applications -----------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "axes",
    "csp",
    "incidentops",
    "incidentops.realtime",
    "incidentops.rest",
    "incidentops.access",
    "incidentops.telemetry",
    "incidentops.notifications",
    "incidentops.incidents",
    "incidentops.health",
    "awsai",
    "agents",
    "metrics",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "incidentops.access.middleware.DefaultDenyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "incidentops.urls"
ASGI_APPLICATION = "incidentops.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "incidentops.dashboards.context.page",
            ],
        },
    }
]

# --- Database ---------------------------------------------------------------------------------

_database_url = environment.read("DATABASE_URL") or f"sqlite:///{VAR / 'incidentops.sqlite3'}"
DATABASES: dict[str, dict[str, Any]] = {"default": dict(environ.Env.db_url_config(_database_url))}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["ENGINE"] = "incidentops.sqlite"
    # IMMEDIATE: a transaction that starts by reading would fail with "database is locked" when it
    # comes to write, whatever the timeout. FULL: what was answered with 202 survives power loss.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    # Under ASGI each request has its own thread: kept connections leak, a pool does not.
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {
        "min_size": 0,
        "max_size": 16,
        "timeout": 10,
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: broker, channel layer, shared counters --------------------------------------------


def _redis_url() -> str:
    """The configured server, else the embedded one whose address `manage.py up` leaves in VAR."""
    if configured := environment.read("REDIS_URL"):
        return configured
    try:
        return (VAR / "redis.url").read_text().strip()
    except FileNotFoundError:
        return "redis://127.0.0.1:6379/0"


REDIS_URL = _redis_url()
REDIS_PREFIX = environment.read("IOP_REDIS_PREFIX")

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # Without it, redis-py's default time-out closes idle sockets.
            "hosts": [{"address": REDIS_URL, "socket_timeout": None}],
            "prefix": REDIS_PREFIX,
        },
    }
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": REDIS_PREFIX,
    }
}

# --- Live path --------------------------------------------------------------------------------

# Tests relay by hand: `outbox.relay()`.
RELAY_IN_BACKGROUND = True

# --- Celery -----------------------------------------------------------------------------------

LEASE = timedelta(seconds=environment.read_int("IOP_LEASE_SECONDS", at_least=2))

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{REDIS_PREFIX}:",
    "visibility_timeout": 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # One attempt: else whoever publishes waits for seconds while the broker is down.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A broker that is down must cost a publisher milliseconds: the sweep repeats every wake-up.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = environment.read_int("IOP_WORKER_CONCURRENCY")
CELERY_WORKER_MAX_TASKS_PER_CHILD = 10_000
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_SOFT_TIME_LIMIT = 270
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "incidentops.incidents.tasks.*": {"queue": "intake"},
    "incidentops.realtime.tasks.*": {"queue": "intake"},
    "agents.tasks.*": {"queue": "agents"},
    # Damaged files and slow answers: they must not keep sweeps waiting, and agents rest on them.
    "awsai.tasks.read_attachment": {"queue": "agents"},
    "awsai.tasks.answer_question": {"queue": "agents"},
    "awsai.tasks.end_conversation": {"queue": "agents"},
    "metrics.tasks.*": {"queue": "reports"},
    # Many answers of AWS, one after the other: they must not keep sweeps waiting.
    "awsai.tasks.sync_catalogue": {"queue": "reports"},
    "awsai.tasks.refresh_prices": {"queue": "reports"},
}
CELERY_BEAT_SCHEDULER = "incidentops.health.scheduler:LivingScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1


def _every(seconds: float, task: str) -> dict[str, Any]:
    # A sweep that nobody took in time is worthless: the next one does its work.
    return {
        "task": task,
        "schedule": timedelta(seconds=seconds),
        "options": {"expires": max(5.0, 2 * seconds)},
    }


CELERY_BEAT_SCHEDULE = {
    "relay-sweep": _every(1, "incidentops.realtime.tasks.sweep"),
    "correlation-sweep": _every(2, "incidentops.incidents.tasks.correlate"),
    "snooze-sweep": _every(2, "incidentops.incidents.tasks.wake"),
    "response-reaper": _every(1, "agents.tasks.reap"),
    "notification-retry": _every(15, "incidentops.notifications.tasks.retry"),
    "idempotency-prune": _every(3600, "incidentops.rest.tasks.prune"),
    "telemetry-prune": _every(600, "incidentops.telemetry.tasks.prune"),
    "kpi-refresh": _every(30, "metrics.tasks.refresh"),
    "health-bulletin": _every(10, "incidentops.health.tasks.publish"),
    "ai-health": _every(10, "awsai.tasks.publish_health"),
    "ai-reconcile": _every(60, "awsai.tasks.reconcile"),
    "attachment-sweep": _every(15, "awsai.tasks.read_attachments"),
    "conversation-sweep": _every(15, "awsai.tasks.converse"),
    "ai-memory-prune": _every(3600, "awsai.tasks.forget_memories"),
    "ai-payload-prune": _every(3600, "awsai.tasks.forget_payloads"),
    "ai-catalogue-sync": _every(86_400, "awsai.tasks.sync_catalogue"),
    "ai-price-refresh": _every(7 * 86_400, "awsai.tasks.refresh_prices"),
}

# --- Access -----------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "incidentops.access.backends.RoleBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/ops"
LOGOUT_REDIRECT_URL = "/login/"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
# A stranger who fails on purpose must lock out neither the account nor everybody behind one proxy.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_HTTP_RESPONSE_CODE = 429
AXES_LOCKOUT_CALLABLE = "incidentops.access.views.too_many_attempts"
CSRF_FAILURE_VIEW = "incidentops.rest.problems.csrf_failure"

SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if _public.scheme == "https":
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_SSL_REDIRECT = True
    # Supervisors and scrapers ask these on the inner side of the proxy.
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    # Neighbouring subdomains and the browsers' preload list are the operator's to decide.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
else:
    # Without TLS in IOP_PUBLIC_URL the instance is for loopback: HSTS, the redirect to https and
    # secure cookies would only make it unreachable.
    SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- API --------------------------------------------------------------------------------------

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "incidentops.access.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["incidentops.access.permissions.RolePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["incidentops.rest.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "incidentops.rest.pagination.NewestFirst",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "incidentops.rest.problems.as_problem",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "PAGE_SIZE": 50,
    "DATETIME_FORMAT": "iso-8601",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "IncidentOps",
    "DESCRIPTION": "Incident response: alerts in, durable and explained responses out.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "ServiceKindEnum": "incidentops.telemetry.models.Service.Kind",
        "ChangeKindEnum": "incidentops.telemetry.models.Change.Kind",
        "SourceKindEnum": "incidentops.incidents.models.Source.Kind",
        "BudgetScopeEnum": "awsai.models.budgets.BudgetScope",
        "ModelScopeEnum": "awsai.models.prices.Scope",
        "RouteOutcomeKindEnum": "awsai.models.routes.OutcomeKind",
        "KnowledgeKindEnum": "awsai.models.knowledge.KnowledgeKind",
    },
}

# --- Agents -----------------------------------------------------------------------------------

# The package whose modules speak for the agents, one module an agent.
SPECIALISTS = "agents.specialists"

# --- AI services ------------------------------------------------------------------------------

AWSAI_PROVIDER = environment.read_choice("IOP_AWSAI", ("local", "emulator", "aws"))
# A task must live to note how its call ended.
AWSAI_CALL_LIMIT = timedelta(
    seconds=min(environment.read_int("IOP_AWS_CALL_SECONDS"), CELERY_TASK_SOFT_TIME_LIMIT - 30)
)
# The SDK's own variables, so that what is routed by region is what is called.
AWS_REGION = (
    environment.read("IOP_AWS_REGION")
    or os.environ.get("AWS_REGION")
    or os.environ.get("AWS_DEFAULT_REGION")
    or ("us-east-1" if AWSAI_PROVIDER == "emulator" else "")
)
AWS_FALLBACK_REGIONS = tuple(environment.read_list("IOP_AWS_FALLBACK_REGIONS"))
AWSAI_RESIDENCY = environment.read_choice(
    "IOP_AWSAI_RESIDENCY", ("global", "in-region", "us", "eu", "jp", "au", "apac")
)
AWS_Q_REGION = environment.read("IOP_AWS_Q_REGION")
AWS_ROLES = {
    plane: environment.read(f"IOP_AWS_ROLE_{plane.upper()}")
    for plane in ("invoke", "observe", "act", "price_sync")
}
AWSAI_KEEP_WORDS_DAYS = environment.read_int("IOP_AWSAI_KEEP_WORDS_DAYS", at_least=0)
# 30 is what Bedrock Agents keep by default, too.
AWSAI_MEMORY_DAYS = environment.read_int("IOP_AWSAI_MEMORY_DAYS")
# How old what models are chosen by may be: catalogue, prices, latencies, failures, outcomes.
AWSAI_FRESH = timedelta(seconds=5)
# Where `manage.py up` notes the URL of the emulator it runs.
AWS_EMULATOR_ADDRESS = VAR / "aws_emulator.url"
AWS_EMULATOR_URL = environment.read("IOP_AWS_EMULATOR_URL")
AWS_GUARDRAIL_ID = environment.read("IOP_AWS_GUARDRAIL_ID")
AWS_GUARDRAIL_VERSION = environment.read("IOP_AWS_GUARDRAIL_VERSION")
AWS_KNOWLEDGE_BASE_ID = environment.read("IOP_AWS_KNOWLEDGE_BASE_ID")
AWS_KNOWLEDGE_MODEL_ARN = environment.read("IOP_AWS_KNOWLEDGE_MODEL_ARN")
AWS_RERANK_MODEL_ARN = environment.read("IOP_AWS_RERANK_MODEL_ARN")
AWS_AGENT_ID = environment.read("IOP_AWS_AGENT_ID")
AWS_AGENT_ALIAS_ID = environment.read("IOP_AWS_AGENT_ALIAS_ID")
AWS_Q_APPLICATION_ID = environment.read("IOP_AWS_Q_APPLICATION_ID")
AWS_Q_RETRIEVER_ID = environment.read("IOP_AWS_Q_RETRIEVER_ID")

# --- Pages, files, time, log ------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "incidentops.static.HashedStaticFiles"},
}

PUBLIC_DEMO = environment.read_choice("IOP_PUBLIC_DEMO", ("0", "1")) == "1"

vars().update(environ.Env.email_url_config(environment.read("IOP_EMAIL_URL")))
DEFAULT_FROM_EMAIL = environment.read("IOP_EMAIL_FROM")
EMAIL_RECIPIENTS = environment.read_list("IOP_EMAIL_TO")


def _is_no_probe(record: logging.LogRecord) -> bool:
    """False for the 503 of /readyz: that is its answer, not a failure to be logged."""
    request = getattr(record, "request", None)
    return getattr(request, "path", "") != "/readyz"


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "filters": {
        "secrets": {"()": "incidentops.redaction.HideIntakeSecrets"},
        "no_probes": {"()": "django.utils.log.CallbackFilter", "callback": _is_no_probe},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["secrets"],
        }
    },
    "root": {"handlers": ["stderr"], "level": environment.read("IOP_LOG_LEVEL")},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "django.request": {"filters": ["no_probes"]},
        "axes": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
