"""The outermost layer: access, limits of time and size, headers, one log line and the metrics of each request."""

import asyncio
import contextlib
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferlib.core.console import logger
from ferlib.web.access import Access
from ferlib.web.metrics import Metrics
from ferlib.web.options import ServeOptions
from ferlib.web.problems import CLIENT_CLOSED, ProblemError, fault, problem_response

_MEGABYTE = 1_000_000

# Of requests that have no file.
_MAX_OTHER_BYTES = 65_536

# A video may arrive at this rate at least, in bytes per second, or it is refused as too slow.
_SLOWEST_UPLOAD = 500_000

# Sent with every response; routes may state others.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "WS"})

# Requests that monitoring repeats for ever are logged with --verbose only.
_QUIET = ("/health/", "/metrics")


class Guard:
    """An ASGI application around the service's own.

    Parameters
    ----------
    app : ASGI application
    options : ServeOptions
    access : Access
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, *, options: ServeOptions, access: Access, metrics: Metrics) -> None:
        self._app = app
        self._options = options
        self._access = access
        self._metrics = metrics
        self._max_bytes = {
            "/v1/faces": int(options.max_image_mb * _MEGABYTE),
            "/v1/batches": int(options.max_batch_mb * _MEGABYTE),
            "/v1/videos": int(options.max_video_mb * _MEGABYTE),
        }
        self.n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            await self._handle_http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._handle_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        exchange = _Exchange(self._max_bytes.get(scope["path"], _MAX_OTHER_BYTES), receive, send)
        seconds = self._options.request_seconds
        exchange.send_seconds = seconds
        if scope["path"] == "/v1/videos":
            seconds += exchange.max_bytes / _SLOWEST_UPLOAD
        self.n_requests += 1
        try:
            async with asyncio.timeout(seconds) as exchange.deadline:
                await self._answer(scope, exchange)
        except TimeoutError:
            await self._refuse(scope, exchange, _timeout_problem(exchange))
        except ProblemError as problem:
            await self._refuse(scope, exchange, problem)
        except Exception:
            logger.exception("error in %s %s", scope["method"], _route(scope))
            await self._refuse(scope, exchange, fault())
        finally:
            self.n_requests -= 1
            self._record(scope, exchange.status, time.perf_counter() - start)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        """Check a request and pass it on."""
        headers = Headers(scope=scope)
        # Health checks come from inside: they ask by an address, and must be answered under load.
        is_check = scope["path"].startswith("/health/")
        if self.n_requests > self._options.max_requests and not is_check:
            raise ProblemError(
                503, "The service is busy; try again later.", reason="busy", headers={"Retry-After": "1"}
            )
        if not is_check:
            self._access.check_host(headers)
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            self._access.check_origin(headers)
        self._access.check_key(scope["path"], headers)
        exchange.check_length(headers)
        await self._app(scope, exchange.receive, exchange.send)

    async def _refuse(self, scope: Scope, exchange: "_Exchange", problem: ProblemError) -> None:
        """Answer with a problem document, unless the answer has begun."""
        self._metrics.rejected.labels(problem.reason).inc()
        exchange.deadline = None
        if exchange.status is None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._options.request_seconds):
                    await problem_response(problem)(scope, exchange.receive, exchange.send)

    async def _handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self._access.check_host(headers)
            self._access.check_origin(headers)
        except ProblemError as problem:
            self._metrics.rejected.labels(problem.reason).inc()
            self._record(scope, problem.status, 0.0)
            # Closing instead of accepting answers the handshake with status 403.
            await send({"type": "websocket.close", "code": 1008, "reason": problem.detail})
            return
        start = time.perf_counter()
        status = HTTPStatus.SWITCHING_PROTOCOLS
        try:
            await self._app(scope, receive, send)
        except Exception:
            logger.exception("error in %s", _route(scope))
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            with contextlib.suppress(Exception):
                await send({"type": "websocket.close", "code": 1011})
        finally:
            self._record(scope, status, time.perf_counter() - start)

    def _record(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Log and count a request; neither addresses nor names of files are logged."""
        status = CLIENT_CLOSED if status is None else int(status)
        method, route = scope.get("method", "WS"), _route(scope)
        method = method if method in _METHODS else "-"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log = logger.debug if route.startswith(_QUIET) else logger.info
        log("%s %s %d %.0f ms", method, route, status, 1000 * seconds)


class _Exchange:
    """The two directions of one request, with limits."""

    def __init__(self, max_bytes: int, receive: Receive, send: Send) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self.complete = False
        self.status: int | None = None
        self.deadline: asyncio.Timeout | None = None
        self.send_seconds = 30.0
        self._receive, self._send = receive, send

    def check_length(self, headers: Headers) -> None:
        """Refuse a body that states to be too long, before it arrives."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next part of the body."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.n_bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self.n_bytes > self.max_bytes:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response; a client that does not read it in time is given up."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            # From here on, each part has a time limit of its own: results may be long, and events last.
            if self.deadline is not None and not self.deadline.expired():
                self.deadline.reschedule(None)
        async with asyncio.timeout(self.send_seconds):
            await self._send(message)

    def _too_large(self) -> ProblemError:
        return ProblemError(413, f"The request has more than {self.max_bytes:,} bytes.", reason="bytes")


def _timeout_problem(exchange: _Exchange) -> ProblemError:
    if exchange.complete:
        return ProblemError(
            503, "The request took too long; try again later.", reason="time", headers={"Retry-After": "10"}
        )
    return ProblemError(408, "The request did not arrive in time.", reason="time")


def _route(scope: Scope) -> str:
    """Return the template of the route, so that neither logs nor metrics depend on what clients write."""
    if "route" in scope:
        return str(getattr(scope["route"], "path", "-"))
    # Routes of files have no parameters.
    return str(scope["path"]) if "endpoint" in scope else "-"
