"""The emulator: a request goes in, the service's answer comes out, and both are logged."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any

from awsai.emulator import eventstream, faults, log, protocols, shapes
from awsai.emulator.account import ACCOUNT_ID, Account, Call, Events, Handler
from awsai.emulator.catalogue import GUARDRAILS, MODELS, Guardrail, Model
from awsai.emulator.errors import INTERNAL, TROUBLES, AwsError, access_denied
from awsai.emulator.exchange import ConnectionCut, ConnectionReset, Request, Response
from awsai.emulator.faults import Fault, Faults, Kind
from awsai.emulator.handlers import HANDLERS
from awsai.emulator.log import Entry, RequestLog
from awsai.emulator.operations import Operation, Router, service_model
from awsai.emulator.server import Server
from awsai.emulator.signing import DEFAULT_REGION, Credentials, Keyring
from awsai.ports import CallFailed, Provider

logger = logging.getLogger(__name__)

ADMIN = "/_emulator/"
FAULT_HEADER = "x-iop-fault"

# The keys of AWS's own examples: known to everyone, good for nothing but this endpoint.
OWNER = Credentials(
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106  # see above
    principal_arn=f"arn:aws:iam::{ACCOUNT_ID}:user/emulator",
    principal_id="AIDACKCEVSQ6C2EXAMPLE",
)


def now() -> datetime:
    return datetime.now(UTC)


class Emulator(AbstractContextManager["Emulator"]):
    """AWS's AI services on a port of the loopback interface, for as long as it is entered.

    `provider` gives the answers, each in the thread of its connection; `after_request` runs there
    when one is out, to close what the provider has opened. `bearer_token` is a key that Bedrock
    takes in place of a signature; without one it takes none. Port 0 is a free port.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        port: int = 0,
        models: Iterable[Model] = MODELS,
        guardrails: Iterable[Guardrail] = GUARDRAILS,
        not_onboarded: Iterable[str] = (),
        prices: Callable[[], Iterable[Mapping[str, Any]]] = tuple,
        credentials: Credentials = OWNER,
        bearer_token: str = "",
        clock: Callable[[], datetime] = now,
        after_request: Callable[[], None] = lambda: None,
    ) -> None:
        self.log = RequestLog()
        self.faults = Faults()
        self.credentials = credentials
        self._keyring = Keyring(credentials=credentials, bearer_token=bearer_token)
        self._account = Account(
            provider=provider,
            keyring=self._keyring,
            clock=clock,
            models=tuple(models),
            guardrails=tuple(guardrails),
            not_onboarded=frozenset(not_onboarded),
            prices=prices,
        )
        self._handlers: dict[str, Mapping[str, Handler]] = {
            service: handlers(self._account) for service, handlers in HANDLERS.items()
        }
        self._router = Router(self._handlers)
        self._stopping = threading.Event()
        self._server = Server(self.answer, after_request=after_request, port=port)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point stock boto3 at this emulator."""
        endpoints = {
            f"AWS_ENDPOINT_URL_{_variable(service)}": self.url for service in self._handlers
        }
        return endpoints | {
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": DEFAULT_REGION,
        }

    def __enter__(self) -> Emulator:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._server.stop()

    def inject(self, kind: str, **members: Any) -> None:
        """Arm a fault; `members` are those of `faults.Fault`."""
        self.faults.arm([Fault(kind=Kind(kind), **members)])

    # --- One request ---------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        """Raises: ConnectionReset."""
        if request.path.startswith(ADMIN):
            return self._administer(request)
        entry = log.entry_of(request, request_id=str(uuid.uuid4()), at=self._account.clock())
        operation: Operation | None = None
        try:
            operation, labels = self._router.find(request)
            entry.service, entry.operation = operation.service, operation.name
            response = self._serve(operation, labels, request, entry)
        except ConnectionReset:
            self.log.append(entry)
            raise
        except Exception as failure:  # noqa: BLE001  # told to the client and to the log
            error = _as_aws_error(operation, failure, entry)
            response = protocols.refuse(operation, error, entry.request_id)
            entry.error = error.code
        entry.status = response.status
        # Before it is sent: who has the answer finds its entry in the log.
        self.log.append(entry)
        return response

    def _serve(
        self, operation: Operation, labels: Mapping[str, str], request: Request, entry: Entry
    ) -> Response:
        caller = self._keyring.verify(operation, request, at=self._account.clock())
        entry.region, entry.principal_arn = caller.region, caller.principal_arn
        met = self._meet(operation, request, entry)
        if not self._account.may_use(operation.service, operation.name):
            raise access_denied(f"Account {ACCOUNT_ID} is not onboarded to this service.")
        params = protocols.read(operation, labels, request)
        handler = self._handlers[operation.service][operation.name]
        output = handler(Call(params=params, caller=caller, entry=entry))
        if operation.stream is None:
            _check_own(operation, entry, operation.output, output)
            return protocols.write(operation, output, entry.request_id)
        name, shape = operation.stream
        events = output.pop(name)
        # The shape requires the stream itself, which is checked event by event.
        _check_own(operation, entry, operation.output, output | {name: {}})
        frames = self._frames(operation, shape, events, met, entry)
        return replace(protocols.write(operation, output, entry.request_id), frames=frames)

    def _meet(self, operation: Operation, request: Request, entry: Entry) -> list[Fault]:
        """Suffer the faults that come before an answer; those of the stream are given back."""
        try:
            asked_for = faults.parse(request.headers.get(FAULT_HEADER, "[]"))
        except (ValueError, TypeError) as error:
            raise AwsError("ValidationException", f"{FAULT_HEADER}: {error}") from None
        met = self.faults.take(
            operation.name,
            region=entry.region,
            is_stream=operation.stream is not None,
            asked_for=asked_for,
        )
        entry.faults = tuple(fault.kind.value for fault in met)
        for fault in met:
            match fault.kind:
                case Kind.STALL:
                    self._stopping.wait(fault.seconds)
                case Kind.RESET:
                    raise ConnectionReset
                case Kind.ERROR:
                    raise AwsError(fault.code, fault.message, status=fault.status)
                case _:
                    pass
        return [fault for fault in met if fault.is_in_stream]

    # --- Streams -------------------------------------------------------------------------------

    def _frames(
        self,
        operation: Operation,
        shape: shapes.Shape,
        events: Events,
        met: list[Fault],
        entry: Entry,
    ) -> Generator[bytes, None, None]:
        """The frames of a stream, with the faults that it meets."""
        # Left early, the handler bills what it has written so far.
        with closing(events):
            try:
                for place, (name, value) in enumerate(events):
                    due = [fault for fault in met if fault.after == place]
                    self._suffer(due, entry)
                    _check_own(operation, entry, shape.members[name], value)
                    frame = eventstream.event(shape, name, value)
                    is_damaged = any(fault.kind is Kind.STREAM_BAD_CRC for fault in due)
                    yield eventstream.corrupted(frame) if is_damaged else frame
            except ConnectionCut:
                entry.ended = "cut"
                raise
            except GeneratorExit:
                entry.ended = "abandoned"
                raise
            except Exception as failure:  # noqa: BLE001  # told to the client and to the log
                error = _as_aws_error(operation, failure, entry, in_stream=True)
                entry.ended, entry.error = "exception", error.code
                yield eventstream.exception(shape, error.code, error.message)
            else:
                entry.ended = "complete"

    def _suffer(self, due: list[Fault], entry: Entry) -> None:
        for fault in due:
            match fault.kind:
                case Kind.STREAM_STALL:
                    self._stopping.wait(fault.seconds)
                case Kind.STREAM_CUT:
                    raise ConnectionCut
                case Kind.STREAM_EXCEPTION:
                    raise AwsError(fault.code, fault.message)
                case _:
                    pass

    # --- Administration ------------------------------------------------------------------------

    def _administer(self, request: Request) -> Response:
        match request.method, request.path.removeprefix(ADMIN):
            case "GET", "log":
                return _json({"entries": self.log.rows()})
            case "GET", "faults":
                return _json({"faults": self.faults.armed()})
            case "DELETE", "faults":
                self.faults.clear()
                return _json({"faults": []})
            case "POST", "faults":
                try:
                    self.faults.arm(faults.parse(request.body))
                except (ValueError, TypeError) as error:
                    return _json({"error": str(error)}, status=HTTPStatus.BAD_REQUEST)
                return _json({"faults": self.faults.armed()}, status=HTTPStatus.CREATED)
            case _:
                return _json({"error": "There is no such page."}, status=HTTPStatus.NOT_FOUND)


def _as_aws_error(
    operation: Operation | None, error: Exception, entry: Entry, *, in_stream: bool = False
) -> AwsError:
    """What the service says for a failure of its provider, or for a defect of the emulator."""
    if isinstance(error, AwsError):
        return error
    words = TROUBLES[error.trouble] if isinstance(error, CallFailed) else INTERNAL
    code = operation.word_for(words, in_stream=in_stream) if operation else words[0]
    if isinstance(error, CallFailed):
        return AwsError(code, str(error))
    logger.error("The emulator failed at %s", entry.operation or "a request", exc_info=error)
    entry.problem = f"{type(error).__name__}: {error}"
    return AwsError(code, "The emulator failed.", status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _check_own(
    operation: Operation,
    entry: Entry,
    shape: shapes.Shape | None,
    value: Mapping[str, Any],
) -> None:
    """Raises: AwsError, an internal one, where our own answer is not as the model says."""
    found = shapes.problems(shape, dict(value)) if shape is not None else []
    if not found:
        return
    entry.problem = "; ".join(found)
    logger.error("An answer of %s is not as its model says: %s", operation.name, entry.problem)
    raise AwsError(
        operation.word_for(INTERNAL),
        f"The emulator's own answer is invalid: {entry.problem}",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def _json(document: Any, *, status: int = HTTPStatus.OK) -> Response:
    headers = {"Content-Type": "application/json"}
    return Response(status=status, headers=headers, body=json.dumps(document).encode())


def _variable(service: str) -> str:
    return str(service_model(service).service_id).replace(" ", "_").upper()
