"""A local HTTP server that speaks the part of Kaggle's API that a download needs."""

import base64
import email.utils
import http.server
import io
import json
import random
import subprocess
import sys
import threading
import urllib.parse
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import ferlib

TOKEN = "KGAT_0123456789abcdef"
USER, KEY = "someone", "0123456789abcdef0123456789abcdef"
REFRESH_TOKEN = "refresh-0123456789"

_API = "/api/v1/"
_CHUNK = 64 << 10


@dataclass
class KaggleServer:
    """The files of the server, its faults, and the requests that it received."""

    files: dict[str, bytes] = field(default_factory=dict)  # dataset -> zip
    refused: dict[str, int] = field(default_factory=dict)  # dataset -> HTTP status
    ranges: bool = True  # whether a download can be resumed
    redirect: bool = True  # Kaggle redirects the client to a file store
    declared_size: int | None = None  # a wrong Content-Length
    content_type: str = "application/zip"
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next downloads break
    hold_after: int | None = None  # bytes after which a download stalls
    version: int = 1  # changes the ETag
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range or "")
    url: str = ""

    def downloads(self) -> list[str]:
        """Return the Range header ("" for none) of each request for a file."""
        place = "/store/" if self.redirect else "/DownloadDataset"
        return [span for path, span in self.requests if place in path]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def kaggle(self) -> KaggleServer:
        return self.server.kaggle

    def log_message(self, *arguments) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        """Answer an API call; a request through a proxy contains the full address."""
        path = urllib.parse.urlsplit(self.path).path
        self.kaggle.requests.append((path, self.headers.get("Range", "")))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if path == f"{_API}security.OAuthService/IntrospectToken":
            good = body["token"] == TOKEN
            self._json(200, {"active": good, "username": USER if good else ""})
        elif path == f"{_API}users.AccountService/GenerateAccessToken":
            good = body["refreshToken"] == REFRESH_TOKEN
            self._json(*((200, {"token": TOKEN, "expiresIn": 3600}) if good else (401, {"code": 401, "message": "No"})))
        elif not self._signed_in():
            self._json(401, {"code": 401, "message": "Unauthorized access"})
        elif path == f"{_API}datasets.DatasetApiService/DownloadDataset":
            self._dataset(f"{body['ownerSlug']}/{body['datasetSlug']}")
        else:
            self._json(404, {"code": 404, "message": f"Not found: {path}"})

    def do_GET(self) -> None:
        """Send a file from the file store."""
        path = urllib.parse.urlsplit(self.path).path
        self.kaggle.requests.append((path, self.headers.get("Range", "")))
        self._send(self.kaggle.files[path.removeprefix("/store/")])

    def _signed_in(self) -> bool:
        basic = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        return self.headers.get("Authorization") in (f"Bearer {TOKEN}", f"Basic {basic}")

    def _dataset(self, dataset: str) -> None:
        if dataset in self.kaggle.refused:
            status = self.kaggle.refused[dataset]
            self._json(status, {"code": status, "message": "Refused"})
        elif dataset not in self.kaggle.files:
            self._json(404, {"code": 404, "message": "Not found"})
        elif self.kaggle.redirect:
            self.send_response(302)
            self.send_header("Location", f"http://localhost/store/{dataset}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(self.kaggle.files[dataset])

    def _json(self, status: int, value: dict) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send(self, data: bytes) -> None:
        etag = f'"version-{self.kaggle.version}"'
        span = self.headers.get("Range", "")
        partial = self.kaggle.ranges and span and self.headers.get("If-Range", etag) == etag
        start = int(span.removeprefix("bytes=").removesuffix("-")) if partial else 0
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", self.kaggle.content_type)
        self.send_header("Content-Length", str(self.kaggle.declared_size or len(data) - start))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.kaggle.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", email.utils.formatdate(1_400_000_000, usegmt=True))
        self.end_headers()
        self._body(data[start:])

    def _body(self, data: bytes) -> None:
        cut = self.kaggle.cut_after.pop(0) if self.kaggle.cut_after else None
        hold = self.kaggle.hold_after
        try:
            for position in range(0, len(data), _CHUNK):
                if cut is not None and position >= cut:
                    self.close_connection = True
                    return
                if hold is not None and position >= hold:
                    # Send nothing more until the client disconnects.
                    self.rfile.read(1)
                    return
                self.wfile.write(data[position : position + _CHUNK])
        except ConnectionError:
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """Report errors, except for clients that disconnected: some tests kill them."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(kaggle: KaggleServer) -> http.server.ThreadingHTTPServer:
    """Start serving on a free port in a new thread."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.kaggle = kaggle
    kaggle.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def start_python(command: list[str], environment: dict[str, str]) -> subprocess.Popen:
    """Start Python with ferlib importable and the given environment."""
    folder = Path(ferlib.__file__).parents[1]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, **pipes)


def zip_bytes(size: int = 3 << 20, seed: int = 0) -> bytes:
    """Return a zip of about `size` incompressible bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train/happy/a.png", random.Random(seed).randbytes(size // 2))
        archive.writestr("test/sad/b.png", random.Random(seed + 1).randbytes(size // 2))
    return buffer.getvalue()
