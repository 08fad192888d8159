"""Static files from memory: compressed once, with validators, and nothing but the files that are listed."""

import functools
import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

#: Headers of the page: it loads nothing from elsewhere, and its own origin is isolated, so that WebAssembly may use
#: threads.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}

_MEDIA_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".webmanifest": "application/manifest+json",
}
_COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".mjs", ".onnx", ".svg", ".txt", ".wasm", ".webmanifest"})


class StaticFile:
    """The answer to requests for one file.

    Parameters
    ----------
    name : str
        Its suffix gives the media type; a name without one is a page.
    source : Path or bytes
    headers : mapping of str to str
    """

    def __init__(self, name: str, source: Path | bytes, headers: Mapping[str, str]) -> None:
        self.content = source if isinstance(source, bytes) else source.read_bytes()
        self.suffix = Path(name).suffix.lower() or ".html"
        kind = _MEDIA_TYPES.get(self.suffix) or mimetypes.guess_type(f"x{self.suffix}")[0] or "application/octet-stream"
        self.media_type = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'
        # Browsers ask again each time; an unchanged file is then answered without its content.
        self._headers = {"Cache-Control": "no-cache", "ETag": self.etag, "Vary": "Accept-Encoding", **headers}

    @functools.cached_property
    def compressed(self) -> bytes | None:
        """The content as gzip, or None where that saves little."""
        if self.suffix not in _COMPRESSED:
            return None
        data = gzip.compress(self.content, 9, mtime=0)
        return data if len(data) < 0.95 * len(self.content) else None

    async def respond(self, request: Request) -> Response:
        """Return the response."""
        headers = dict(self._headers)
        known = request.headers.get("if-none-match", "").split(",")
        if self.etag in [tag.strip().removeprefix("W/") for tag in known]:
            return Response(status_code=304, headers=headers)
        content = self.content
        if "gzip" in request.headers.get("accept-encoding", ""):
            compressed = await run_in_threadpool(lambda: self.compressed)
            if compressed is not None:
                content = compressed
                headers["Content-Encoding"] = "gzip"
        return Response(content, media_type=self.media_type, headers=headers)


def add_files(app: FastAPI, files: Mapping[str, Path | bytes], headers: Mapping[str, str]) -> None:
    """Add a route for each file, by its path without the first slash; nothing else can be asked for."""
    for name, source in files.items():
        file = StaticFile(name, source, headers)
        app.add_route(f"/{name}", file.respond, methods=["GET", "HEAD"], include_in_schema=False)
