"""Run the application on a socket."""

import contextlib
import signal
import socket
import sys
from types import FrameType

import uvicorn

from ferlib.core.console import write_line
from ferlib.core.errors import FerlibError
from ferlib.web.app import create_app
from ferlib.web.options import ServeOptions


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    FerlibError
        The address does not exist, or the port is taken or not allowed.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = error.strerror or error
        raise FerlibError(f"The service cannot listen on {host}, port {port} ({reason}); try another --port.") from None


def serve(options: ServeOptions) -> None:
    """Serve until Ctrl+C or SIGTERM."""
    with open_socket(options.host, options.port) as listener:
        config = uvicorn.Config(
            create_app(options),
            http="h11",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=10,
        )
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
