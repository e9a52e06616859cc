"""The socket side: HTTP/1.1 on the loopback interface, kept alive, streams in chunks.

The standard library's server, because it shows the path as it came and lets a test have a
connection reset or half an answer, which WSGI does not.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from awsai.emulator.exchange import ConnectionCut, ConnectionReset, Request, Response

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
MAX_BODY_BYTES = 25 * 1024 * 1024
IDLE_SECONDS = 120
_POLL_SECONDS = 0.02

Answer = Callable[[Request], Response]


class Server:
    """Answers requests from `start` to `stop`; the port is taken at once.

    `after_request` runs when an answer is out, in the thread that made it.
    """

    def __init__(self, answer: Answer, *, after_request: Callable[[], None], port: int) -> None:
        self._http = _HttpServer(answer, after_request, port)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL_SECONDS,), name="aws-emulator"
        )

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._http.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every connection and wait for its thread."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.hang_up()
        self._http.server_close()


class _HttpServer(ThreadingHTTPServer):
    # Joined by server_close, so that nothing of an emulator outlives it.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, answer: Answer, after_request: Callable[[], None], port: int) -> None:
        self.answer, self.after_request = answer, after_request
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # closed by the client or by its thread meanwhile
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.error("A connection of the emulator failed", exc_info=sys.exc_info())


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Head and body leave together; a stream is flushed piece by piece.
    wbufsize = -1
    timeout = IDLE_SECONDS

    def version_string(self) -> str:
        return "IncidentOps-AWS-emulator"

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def end_headers(self) -> None:
        self.send_header("x-iop-provider", "emulator")
        super().end_headers()

    def handle(self) -> None:
        # The client has gone or reads no more, which is its right.
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def _exchange(self) -> None:
        body = self._body()
        if body is None:
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, target=self.path, headers=headers, body=body)
        try:
            self._respond(self.server.answer(request))
        except ConnectionReset:
            self._reset()
        finally:
            self.server.after_request()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _exchange

    def _body(self) -> bytes | None:
        """The body, or None when it was refused unread, which ends the connection."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif not length.isascii() or not length.isdecimal():
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif int(length) > MAX_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return self.rfile.read(int(length))
        return None

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(Response(status=status, headers={"Connection": "close"}))

    def _respond(self, response: Response) -> None:
        if response.frames is None:
            self._send(response)
        else:
            self._stream(response.status, response.headers, response.frames)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def _stream(
        self, status: int, headers: Mapping[str, str], frames: Generator[bytes, None, None]
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with closing(frames):
            try:
                for frame in frames:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(frame), frame))
                    self.wfile.flush()
            except ConnectionCut:
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """Close so that the client gets a RST, not an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
