"""The formats senders speak: JSON in, frozen alerts out. Pure: no database, clock or network.

Strict about what identifies an alert and says how it stands, liberal about the rest: unknown
members stay in the raw body, texts for display are cut to size, and what does not fit is refused
with the path of the member at fault.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError

Status = Literal["firing", "resolved"]
Severity = Literal["critical", "high", "medium", "low"]

MAX_ALERTS = 2_000
MAX_PAIRS = 100
MAX_NAME = 256
MAX_LABEL = 4_096
MAX_ANNOTATION = 16_384
MAX_TITLE = 300
MAX_SERVICE = 120
MAX_URL = 2_048
MAX_FINGERPRINT = 200
MAX_EXPRESSION = 1_000

SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")

_SEVERITY_WORDS: dict[Severity, str] = {
    "critical": "critical crit fatal emergency emerg alert page disaster blocker p0 p1 sev0 sev1",
    "high": "high error err major severe urgent p2 sev2",
    "medium": "medium warning warn moderate average p3 sev3",
    "low": "low minor info information informational notice debug none ok p4 p5 sev4 sev5",
}
_STATUS_WORDS: dict[Status, str] = {
    "firing": "firing active alarm alert alerting triggered trigger open opened acknowledged"
    " problem down failed failing failure critical error warning warn",
    "resolved": "resolved resolve ok okay closed recovered recovery normal inactive up healthy"
    " cleared clear success",
}
_SERVICE_LABELS = (
    "service",
    "service_name",
    "app",
    "app_kubernetes_io_name",
    "application",
    "component",
    "deployment",
    "job",
)

FIELDS = (
    "alerts",
    "fingerprint",
    "title",
    "description",
    "status",
    "severity",
    "service",
    "starts_at",
    "ends_at",
    "url",
    "labels",
)


class Malformed(ValueError):
    """The body is not in the source's format. `field` is the path of what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = clean(field)[:200]
        self.reason = clean(reason)[:500]
        super().__init__(f"{self.field}: {self.reason}")


class NotJson(Malformed):
    """The body is not even a JSON text that can be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertIn:
    """What a sender says about one alert. `ends_at` is set only when it has ended.

    Without a title it only says of an alert that is known already that it has ended.
    """

    fingerprint: str
    status: Status
    severity: Severity
    title: str
    description: str = ""
    service: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    url: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The alerts of one body. `truncated` counts those the sender says it left out."""

    alerts: tuple[AlertIn, ...]
    truncated: int = 0


# --- Text and JSON ----------------------------------------------------------------------------

# What PostgreSQL cannot store (NUL, lone surrogates) or a terminal would obey. Tab, line feed and
# carriage return stay.
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    return text if text.isprintable() else _UNSAFE.sub("\ufffd", text)


def text_of(body: bytes) -> str:
    """The body as text, without a byte order mark.

    Raises:
        NotJson: it is not UTF-8.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJson("body", f"is not UTF-8 at byte {error.start}") from None


def _refuse_constant(word: str) -> NoReturn:
    raise NotJson("body", f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson("body", "holds a number too large to represent")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def document_of(text: str) -> Any:
    """The JSON value of the text.

    Raises:
        NotJson: it is not JSON, or nested or numbered beyond what can be read.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(
            "body", f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise NotJson("body", "is nested too deeply") from None
    except NotJson:
        raise
    except ValueError:
        raise NotJson("body", "holds a number with too many digits") from None


# --- Fingerprints -----------------------------------------------------------------------------


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """The fingerprint Prometheus gives a label set: FNV-1a, 64 bits, lower-case hexadecimal.

    Hashes every name and value in order of names, each followed by the byte 0xff. Names and
    values are clean (see `clean`).

    Source: prometheus/common, model/signature.go.
    """
    digest = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


# --- Members ----------------------------------------------------------------------------------


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(where, f"must be an object, not {_kind_of(value)}")
    return value


def _alert_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(where, f"must be a list of alerts, not {_kind_of(value)}")
    if len(value) > MAX_ALERTS:
        raise Malformed(where, f"has {len(value)} alerts; at most {MAX_ALERTS} fit in a request")
    return value


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _text(value: Any, where: str) -> str:
    """A text, "" for null."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(where, f"must be text, not {_kind_of(value)}")
    return clean(value)


def _scalar(value: Any, where: str) -> str:
    """A text, number or boolean as text, "" for null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _digits(value, where)
    return _text(value, where)


def _digits(number: float, where: str) -> str:
    try:
        return str(int(number)) if number == int(number) else str(number)
    except ValueError:
        raise Malformed(where, "has too many digits") from None


Reader = Callable[[Any, str], str]


def _pairs(value: Any, where: str, *, read: Reader, longest: int, cut: bool) -> dict[str, str]:
    """A small object of texts. Values beyond `longest` are cut, or refused where they identify."""
    pairs = _object(value, where)
    if len(pairs) > MAX_PAIRS:
        raise Malformed(where, f"has {len(pairs)} entries; at most {MAX_PAIRS} are taken")
    result = {}
    for name, raw in pairs.items():
        if not name or len(name) > MAX_NAME:
            raise Malformed(where, f"has a name that is empty or over {MAX_NAME} characters")
        text = clean(raw) if type(raw) is str else read(raw, f"{where}.{name}")
        if len(text) > longest:
            if not cut:
                raise Malformed(f"{where}.{name}", f"is over {longest} characters")
            text = text[: longest - 1] + "…"
        result[clean(name)] = text
    return result


def _labels(value: Any, where: str, *, read: Reader = _text) -> dict[str, str]:
    """Labels without empty ones: to Prometheus an empty label is no label."""
    labels = _pairs(value, where, read=read, longest=MAX_LABEL, cut=False)
    return {name: text for name, text in labels.items() if text}


def _annotations(value: Any, where: str) -> dict[str, str]:
    return _pairs(value or {}, where, read=_text, longest=MAX_ANNOTATION, cut=True)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _link(text: str) -> str:
    """The URL when it is one a page may link to."""
    return text if text.startswith(("http://", "https://")) and len(text) <= MAX_URL else ""


_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)
_NUMBER = re.compile(r"-?\d{1,16}(\.\d{1,9})?", re.ASCII)
# Epoch values from here on count milliseconds: as seconds this would be the year 5138.
_MILLISECONDS_FROM = 1e11
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Before it nothing that alerts has begun or ended: there lie the zeros of senders' clocks, Go's in
# the year 1 and Unix's in 1970.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def _instant(value: Any, where: str) -> datetime | None:
    """An RFC 3339 time in UTC; None for null, "" and what lies before `EARLIEST`."""
    if value is None or value == "":
        return None
    text = _text(value, where)
    if not _TIME.fullmatch(text):
        raise Malformed(where, "must be an RFC 3339 time")
    try:
        at = datetime.fromisoformat(text.upper())
        if at.year < EARLIEST.year:
            return None
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(where, "is not a time that exists") from None


def _instant_or_epoch(value: Any, where: str) -> datetime | None:
    """As `_instant`, also from epoch seconds or milliseconds."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _instant(value, where)
    try:
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
        at = _EPOCH + timedelta(seconds=seconds)
        return at if at >= EARLIEST else None
    except OverflowError:
        raise Malformed(where, "is not a time that exists") from None


# --- What follows from labels -----------------------------------------------------------------


def _by_word(words: Mapping[Any, str]) -> dict[str, Any]:
    return {word: meaning for meaning, listed in words.items() for word in listed.split()}


_SEVERITY_OF: dict[str, Severity] = _by_word(_SEVERITY_WORDS)
_STATUS_OF: dict[str, Status] = _by_word(_STATUS_WORDS)


def _own_words(config: Any) -> dict[str, Any]:
    """{"critical": ["P1", 1]} as {"p1": "critical", "1": "critical"}."""
    return {
        _scalar(word, "").casefold(): meaning
        for meaning, listed in (config or {}).items()
        for word in listed
    }


def _severity(word: str, own: Mapping[str, Severity]) -> Severity:
    """What the word means to the source, else to the field; a word nobody knows is `medium`."""
    word = word.strip().casefold()
    return own.get(word) or _SEVERITY_OF.get(word, "medium")


def _severity_word(labels: Mapping[str, str], config: Mapping[str, Any]) -> str:
    names = (config.get("severity_label") or "", "severity", "priority", "level")
    return next((labels[name] for name in names if name in labels), "")


def service_of(labels: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """The service an alert is about, by the first label that names one; "" when none does."""
    names = (config.get("service_label") or "", *_SERVICE_LABELS)
    return _cut(next((labels[name] for name in names if name in labels), ""), MAX_SERVICE)


def _title(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    for text in (
        labels.get("alertname"),
        annotations.get("summary"),
        annotations.get("title"),
        annotations.get("description"),
    ):
        if text and text.strip():
            return _cut(" ".join(text.split()), MAX_TITLE)
    return _cut(", ".join(f"{name}={labels[name]}" for name in sorted(labels)), MAX_TITLE)


def _description(annotations: Mapping[str, str]) -> str:
    names = ("description", "message", "summary")
    return next((annotations[name] for name in names if annotations.get(name)), "")


# --- Alertmanager and Prometheus --------------------------------------------------------------


def _labelled_alert(
    alert: dict[str, Any],
    where: str,
    *,
    config: Mapping[str, Any],
    status: Status,
    fingerprint: str = "",
) -> AlertIn:
    labels = _labels(alert.get("labels"), f"{where}.labels")
    if not labels and not fingerprint:
        raise Malformed(f"{where}.labels", "must hold at least one label")
    annotations = _annotations(alert.get("annotations"), f"{where}.annotations")
    ends_at = _instant(alert.get("endsAt"), f"{where}.endsAt")
    return AlertIn(
        fingerprint=fingerprint or fingerprint_of(labels),
        status=status,
        severity=_severity(
            _severity_word(labels, config), _own_words(config.get("severity_values"))
        ),
        title=_title(labels, annotations) or "Alert",
        description=_description(annotations),
        service=service_of(labels, config),
        labels=labels,
        annotations=annotations,
        url=_link(_text(alert.get("generatorURL"), f"{where}.generatorURL")),
        starts_at=_instant(alert.get("startsAt"), f"{where}.startsAt"),
        ends_at=ends_at if status == "resolved" else None,
    )


def _alertmanager_status(value: Any, where: str) -> Status:
    if value == "firing":
        return "firing"
    if value == "resolved":
        return "resolved"
    raise Malformed(where, 'must be "firing" or "resolved"')


def alertmanager(document: Any, *, config: Mapping[str, Any], at: datetime) -> Batch:
    """Alertmanager's webhook, version 4, and its forerunners without version or fingerprints.

    A body is a group, not an alert: it may mix firing and resolved ones. Alerts without a status
    of their own have the group's.
    """
    body = _object(document, "body")
    version = body.get("version")
    if version is not None and version not in ("1", "2", "3", "4"):
        raise Malformed("version", 'must be "4"')
    if "alerts" not in body:
        raise Malformed("alerts", "is missing")
    alerts = []
    for index, value in enumerate(_alert_list(body["alerts"], "alerts")):
        where = f"alerts[{index}]"
        alert = _object(value, where)
        if "status" in alert:
            status = _alertmanager_status(alert["status"], f"{where}.status")
        else:
            status = _alertmanager_status(body.get("status"), "status")
        given = _text(alert.get("fingerprint"), f"{where}.fingerprint")
        if len(given) > MAX_FINGERPRINT:
            raise Malformed(f"{where}.fingerprint", f"is over {MAX_FINGERPRINT} characters")
        alerts.append(
            _labelled_alert(alert, where, config=config, status=status, fingerprint=given)
        )
    return Batch(alerts=tuple(alerts), truncated=_truncated(body.get("truncatedAlerts")))


def _truncated(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Malformed("truncatedAlerts", "must be a count")
    return value


def prometheus(document: Any, *, config: Mapping[str, Any], at: datetime) -> Batch:
    """What Prometheus itself posts to `/api/v2/alerts` (and `/api/v1/alerts`): a bare list.

    There is no status: an alert whose `endsAt` is not after `at` has ended. A firing one carries
    the instant at which it would expire unrepeated, which is not an end.
    """
    alerts = []
    for index, value in enumerate(_alert_list(document, "body")):
        where = f"body[{index}]"
        alert = _object(value, where)
        ends_at = _instant(alert.get("endsAt"), f"{where}.endsAt")
        status: Status = "resolved" if ends_at is not None and ends_at <= at else "firing"
        alerts.append(_labelled_alert(alert, where, config=config, status=status))
    return Batch(alerts=tuple(alerts))


# --- Generic ----------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _search(expression: str, value: Any, where: str) -> Any:
    try:
        return _compiled(expression).search(value)
    except (JMESPathError, RecursionError, ValueError, ArithmeticError, TypeError) as error:
        raise Malformed(where, f"cannot be read by {expression!r}: {error}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """One alert of a generic document, and how its fields are found and named in a refusal."""

    alert: Any
    document: Any
    mapping: Mapping[str, Any]
    where: str

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def read(self, name: str) -> Any:
        """A field by the mapping's expression, else by its own name.

        An expression that starts with `$.` reads the whole document instead of the alert.
        """
        expression = self.mapping.get(name)
        if expression is None:
            return self.alert.get(name) if isinstance(self.alert, dict) else None
        if expression.startswith("$."):
            return _search(expression[2:], self.document, self.path(name))
        return _search(expression, self.alert, self.path(name))

    def text(self, name: str) -> str:
        return _scalar(self.read(name), self.path(name))

    def line(self, name: str, longest: int) -> str:
        return _cut(" ".join(self.text(name).split()), longest)

    def fingerprint(self) -> str:
        """The sender's name for the alert; `dedup_key` is its other one, where nothing is mapped."""
        given = self.text("fingerprint")
        if given or "fingerprint" in self.mapping or not isinstance(self.alert, dict):
            return given
        return _scalar(self.alert.get("dedup_key"), self.path("dedup_key"))

    def instant(self, name: str) -> datetime | None:
        return _instant_or_epoch(self.read(name), self.path(name))

    def labels(self) -> dict[str, str]:
        value = self.read("labels")
        if isinstance(value, dict):
            value = {name: member for name, member in value.items() if member is not None}
        return _labels({} if value is None else value, self.path("labels"), read=_scalar)


def _generic_alerts(document: Any, mapping: Mapping[str, Any]) -> tuple[list[Any], str]:
    """The alerts of a document, and how to name one of them in a refusal."""
    if expression := mapping.get("alerts"):
        found = _search(expression.removeprefix("$."), document, "alerts")
        return _alert_list([found] if isinstance(found, dict) else found, "alerts"), "alerts"
    if isinstance(document, list):
        return _alert_list(document, "body"), "body"
    if not mapping and isinstance(document, dict) and "alerts" in document:
        return _alert_list(document["alerts"], "alerts"), "alerts"
    return [document], ""


def _generic_status(
    item: _Item, ends_at: datetime | None, own: Mapping[str, Status], *, at: datetime
) -> Status:
    word = item.text("status").strip().casefold()
    if not word:
        return "resolved" if ends_at is not None and ends_at <= at else "firing"
    status = own.get(word) or _STATUS_OF.get(word)
    if status is None:
        raise Malformed(item.path("status"), f"{word[:40]!r} is neither firing nor resolved")
    return status


def _derived_title(item: _Item, labels: dict[str, str], description: str) -> str:
    summary = item.text("summary")
    if title := _title(labels, {"summary": summary, "description": description}):
        return title
    raise Malformed(item.path("title"), "is missing, and nothing else names the alert")


def _generic_fingerprint(given: str, *, title: str, service: str, labels: dict[str, str]) -> str:
    """The sender's, else that of everything which names the alert."""
    if not given:
        return fingerprint_of({**labels, "title": title, "service": service})
    if len(given) > MAX_FINGERPRINT:
        return "sha256:" + hashlib.sha256(given.encode()).hexdigest()
    return given


def _generic_alert(
    item: _Item,
    *,
    config: Mapping[str, Any],
    statuses: Mapping[str, Status],
    severities: Mapping[str, Severity],
    at: datetime,
) -> AlertIn:
    labels = item.labels()
    description = _cut(item.text("description"), MAX_ANNOTATION)
    service = item.line("service", MAX_SERVICE) or service_of(labels, config)
    ends_at = item.instant("ends_at")
    status = _generic_status(item, ends_at, statuses, at=at)
    given = item.fingerprint()
    title = item.line("title", MAX_TITLE)
    # A recovery needs no more than the name of what has recovered.
    if not title and not (given and status == "resolved"):
        title = _derived_title(item, labels, description)
    return AlertIn(
        fingerprint=_generic_fingerprint(given, title=title, service=service, labels=labels),
        status=status,
        severity=_severity(item.text("severity") or _severity_word(labels, config), severities),
        title=title,
        description=description,
        service=service,
        labels=labels,
        url=_link(item.text("url")),
        starts_at=item.instant("starts_at"),
        ends_at=ends_at if status == "resolved" else None,
    )


def generic(document: Any, *, config: Mapping[str, Any], at: datetime) -> Batch:
    """Any JSON: one alert, a list of them, or a list somewhere inside.

    `config["mapping"]` gives each of FIELDS a JMESPath, and lists of the sender's words for
    `status_values` and `severity_values`.
    """
    mapping = config.get("mapping") or {}
    statuses = _own_words(mapping.get("status_values"))
    severities = _own_words(mapping.get("severity_values") or config.get("severity_values"))
    listed, name = _generic_alerts(document, mapping)
    alerts = []
    for index, alert in enumerate(listed):
        where = f"{name}[{index}]" if name else ""
        _object(alert, where or "body")
        item = _Item(alert=alert, document=document, mapping=mapping, where=where)
        alerts.append(
            _generic_alert(item, config=config, statuses=statuses, severities=severities, at=at)
        )
    return Batch(alerts=tuple(alerts))


# --- By kind ----------------------------------------------------------------------------------

PARSERS: dict[str, Callable[..., Batch]] = {
    "alertmanager": alertmanager,
    "prometheus": prometheus,
    "generic": generic,
}


def parse(kind: str, document: Any, *, config: Mapping[str, Any], at: datetime) -> Batch:
    """The alerts of a document in the format of this kind of source, as of `at`.

    Raises:
        Malformed: it is not in that format, or the configuration cannot be used.
    """
    check_config(kind, config)
    return PARSERS[kind](document, config=config, at=at)


def check_config(kind: str, config: Any) -> None:
    """Refuse a source's configuration that parsing could not use.

    Raises:
        Malformed: it names the member of the configuration.
    """
    config = _object(config, "config")
    for name in ("service_label", "severity_label"):
        _text(config.get(name), f"config.{name}")
    _check_words(config.get("severity_values"), SEVERITIES, "config.severity_values")
    _check_url(config.get("prometheus_url"), "config.prometheus_url")
    if kind == "generic":
        _check_mapping(config.get("mapping"))


def _check_url(value: Any, where: str) -> None:
    if value is None:
        return
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        # A slash or a question mark in a password makes the rest of it look like a port.
        _ = parts.port
    except ValueError:
        raise Malformed(where, "is not a URL; special characters need percent-encoding") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Malformed(where, "must be a URL that begins with http:// or https://")


def _check_mapping(value: Any) -> None:
    mapping = _object(value if value is not None else {}, "config.mapping")
    for name, expression in mapping.items():
        where = f"config.mapping.{name}"
        if name == "status_values":
            _check_words(expression, ("firing", "resolved"), where)
        elif name == "severity_values":
            _check_words(expression, SEVERITIES, where)
        elif name in FIELDS:
            _check_expression(expression, where)
        else:
            raise Malformed(where, f"is not one of {', '.join(FIELDS)}")


def _check_expression(value: Any, where: str) -> None:
    if not isinstance(value, str) or not value or len(value) > MAX_EXPRESSION:
        raise Malformed(where, f"must be a JMESPath of at most {MAX_EXPRESSION} characters")
    try:
        _compiled(value.removeprefix("$."))
    except (JMESPathError, RecursionError) as error:
        raise Malformed(where, f"is not a JMESPath: {error}") from None


def _check_words(value: Any, meanings: tuple[str, ...], where: str) -> None:
    if value is None:
        return
    for meaning, listed in _object(value, where).items():
        if meaning not in meanings:
            raise Malformed(f"{where}.{meaning}", f"is not one of {', '.join(meanings)}")
        if not isinstance(listed, list):
            raise Malformed(f"{where}.{meaning}", "must be a list of the sender's words")
        for index, word in enumerate(listed):
            _scalar(word, f"{where}.{meaning}[{index}]")
