"""A network camera: a local server of Motion JPEG over HTTP."""

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np


class CameraServer:
    """Serves frames whose gray level is their number in tenths of seconds, `rate` per second, from its start on.

    `broken` ends all connections and refuses new ones.
    """

    def __init__(self, rate: float = 50.0) -> None:
        self.rate = rate
        self.broken = threading.Event()
        self.started = time.monotonic()
        self.requests: list[str] = []
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *words: object) -> None:
                pass

            def do_GET(self) -> None:
                camera.requests.append(self.path)
                if camera.broken.is_set():
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    camera.send(self.wfile)
                self.close_connection = True

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"http://user:secret@127.0.0.1:{self.port}/stream?key=secret"

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def send(self, stream) -> None:
        """Send frames until the camera breaks."""
        while not self.broken.is_set():
            image = np.full((48, 64, 3), min(250, int(10 * self.now())), np.uint8)
            data = cv2.imencode(".jpg", image)[1].tobytes()
            stream.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            stream.write(data + b"\r\n")
            time.sleep(1 / self.rate)

    def __enter__(self) -> "CameraServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.broken.set()
        self._server.shutdown()
        self._server.server_close()


def unused_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def breaking(server: CameraServer, after: float, *, again: float | None = None) -> Iterator[None]:
    """Break a camera after some seconds, and mend it some seconds later."""

    def run() -> None:
        time.sleep(after)
        server.broken.set()
        if again is not None:
            time.sleep(again)
            server.broken.clear()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()
