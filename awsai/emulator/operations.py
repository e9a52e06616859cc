"""The operations of AWS services, from botocore's models, and which of them a request asks for."""

# botocore ships no types.

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import botocore.session

from awsai.emulator import eventstream
from awsai.emulator.errors import AwsError
from awsai.emulator.exchange import Request
from awsai.emulator.shapes import Shape

_LABEL = re.compile(r"\\\{(\w+)(\\\+)?\\\}")
_SCOPED_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")


@functools.cache
def service_model(service: str) -> Any:
    """The model of a service, by the name that boto3 uses for its client."""
    return botocore.session.get_session().get_service_model(service)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation of a service; `model` is its botocore.model.OperationModel."""

    service: str
    model: Any

    @property
    def name(self) -> str:
        return str(self.model.name)

    @property
    def protocol(self) -> str:
        """`rest-json`, `json` or `query`."""
        return str(self.model.service_model.resolved_protocol)

    @property
    def signing_name(self) -> str:
        return str(self.model.service_model.signing_name)

    @property
    def takes_bearer_token(self) -> bool:
        return "smithy.api#httpBearerAuth" in self.model.service_model.metadata.get("auth", ())

    @property
    def input(self) -> Shape | None:
        return self.model.input_shape

    @property
    def output(self) -> Shape | None:
        return self.model.output_shape

    @property
    def stream(self) -> tuple[str, Shape] | None:
        """The member of the output that is an event stream, and its shape."""
        if self.output is None or not self.model.has_event_stream_output:
            return None
        name = str(self.output.event_stream_name)
        return name, self.output.members[name]

    def error(self, code: str) -> Shape | None:
        return next((shape for shape in self.model.error_shapes if shape.name == code), None)

    def word_for(self, codes: Sequence[str], *, in_stream: bool = False) -> str:
        """The first of these codes that the operation, or its stream, models; else the first."""
        return next((code for code in codes if self._models(code, in_stream)), codes[0])

    def _models(self, code: str, in_stream: bool) -> bool:
        if self.stream is None or not in_stream:
            return self.error(code) is not None
        return eventstream.member_of(code) in self.stream[1].members


@dataclass(frozen=True, kw_only=True)
class _Route:
    method: str
    path: re.Pattern[str]
    query: Mapping[str, str]
    operation: Operation

    @property
    def vagueness(self) -> tuple[int, int]:
        """Sorts the route that asks for more before one that would match the same request."""
        return -len(self.query), self.path.groups


class Router:
    """Finds the operation a request asks for among those that are served."""

    def __init__(self, served: Mapping[str, Iterable[str]]) -> None:
        self._targets: dict[str, Operation] = {}
        self._actions: dict[str, Operation] = {}
        routes: list[_Route] = []
        for service, names in served.items():
            model = service_model(service)
            for name in names:
                operation = Operation(service=service, model=model.operation_model(name))
                match operation.protocol:
                    case "json":
                        self._targets[f"{model.metadata['targetPrefix']}.{name}"] = operation
                    case "query":
                        self._actions[name] = operation
                    case _:
                        routes.append(_route(operation))
        self._routes = sorted(routes, key=lambda route: route.vagueness)

    def find(self, request: Request) -> tuple[Operation, Mapping[str, str]]:
        """The operation and the labels of its path, decoded.

        The path is matched as it came: an encoded slash is part of a label. Services whose paths
        are alike are told apart by the one the request was signed for.

        Raises:
            AwsError: UnknownOperationException.
        """
        if target := request.headers.get("x-amz-target"):
            return _known(self._targets.get(target), target), {}
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            action = dict(parse_qsl(request.body.decode(errors="replace"))).get("Action", "")
            return _known(self._actions.get(action), action), {}
        query = dict(request.query)
        scope = _SCOPED_SERVICE.search(request.headers.get("authorization", ""))
        for route in self._routes:
            labels = route.path.fullmatch(request.path)
            if (
                labels
                and route.method == request.method
                and route.query.items() <= query.items()
                and (scope is None or scope[1] == route.operation.signing_name)
            ):
                return route.operation, {
                    name: unquote(text) for name, text in labels.groupdict().items()
                }
        raise _unknown(f"{request.method} {request.path}")


def _route(operation: Operation) -> _Route:
    path, _, query = operation.model.http["requestUri"].partition("?")
    pattern = _LABEL.sub(
        lambda label: f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})", re.escape(path)
    )
    return _Route(
        method=operation.model.http["method"],
        path=re.compile(pattern),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        operation=operation,
    )


def _known(operation: Operation | None, name: str) -> Operation:
    if operation is None:
        raise _unknown(name)
    return operation


def _unknown(what: str) -> AwsError:
    return AwsError(
        "UnknownOperationException",
        f"The emulator does not serve {what}.",
        status=HTTPStatus.NOT_FOUND,
    )
