"""Run the application on a socket."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ferlib.core.console import logger, write_line
from ferlib.core.errors import FerlibError
from ferlib.web.access import KEY_VARIABLE, load_key
from ferlib.web.app import create_app
from ferlib.web.options import ServeOptions

# A client has this long for the headers of a request, and after a response for the rest of a body.
_HEADER_SECONDS = 10.0

# Open connections per request in progress that is allowed; others are closed at once.
_CONNECTIONS_PER_REQUEST = 4

# How long requests may go on after the signal to stop.
_SHUTDOWN_SECONDS = 5


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with limits that uvicorn does not have: the number of connections, and the time for headers."""

    max_connections = 256
    header_seconds = _HEADER_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._limit_idle_time()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._limit_idle_time()

    def _limit_idle_time(self) -> None:
        self.loop.call_later(self.header_seconds, self._close_if_idle, self.cycle)

    def _close_if_idle(self, cycle: Any) -> None:
        """Close the connection if no new request has begun since."""
        idle = self.cycle is cycle and (cycle is None or cycle.response_complete)
        if idle and self.transport.get_protocol() is self and not self.transport.is_closing():
            self.transport.abort()


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    FerlibError
        The address does not exist, or the port is taken or not allowed.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = error.strerror or error
        raise FerlibError(f"The service cannot listen on {host}, port {port} ({reason}); try another --port.") from None
    # Connections inherit this, which asyncio sets for its own sockets only. Without it the body of an answer waits for
    # the acknowledgement of its head: 40 ms with every request but the first of a connection.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def make_config(options: ServeOptions) -> uvicorn.Config:
    """Return uvicorn's configuration for the service."""
    limits = {
        "max_connections": _CONNECTIONS_PER_REQUEST * options.max_requests,
        "header_seconds": min(_HEADER_SECONDS, options.request_seconds),
    }
    try:
        config = uvicorn.Config(
            create_app(options),
            loop="asyncio",
            http=type("Protocol", (BoundedProtocol,), limits),
            ws="websockets-sansio",
            ws_max_size=int(options.max_frame_mb * 1e6) + 1024,
            # A compressed frame could be any size when it is expanded.
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )
        config.load()
    except OSError as error:
        raise FerlibError(f"The certificate or its key cannot be used ({error.strerror or error}).") from None
    return config


def serve(options: ServeOptions) -> None:
    """Serve until Ctrl+C or SIGTERM.

    Raises
    ------
    FerlibError
        The service cannot start.
    """
    config = make_config(options)
    with open_socket(options.host, options.port) as listener, _separate_log():
        if not options.is_loopback and load_key(options) is None:
            logger.warning("warning: everybody on the network can use this service; set %s.", KEY_VARIABLE)
        name = f"[{options.host}]" if ":" in options.host else options.host
        scheme = "https" if options.tls_cert else "http"
        write_line(f"ferlib serves {scheme}://{name}:{listener.getsockname()[1]} (Ctrl+C stops it)")
        sys.stdout.flush()
        # uvicorn raises the signal that stopped it again.
        signal.signal(signal.SIGTERM, _leave)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


@contextlib.contextmanager
def _separate_log() -> "Any":
    """Log to a copy of standard error.

    While an image is decoded, standard error may be redirected to hide messages of native libraries, and lines that
    other threads log at that time would be lost.
    """
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8", errors="replace") as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        replaced, logger.handlers = logger.handlers, [handler]
        server_log = logging.getLogger("uvicorn.error")
        level = server_log.level
        server_log.addHandler(handler)
        server_log.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.handlers = replaced
            server_log.removeHandler(handler)
            server_log.setLevel(level)
