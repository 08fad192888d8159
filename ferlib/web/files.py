"""Static files from memory: compressed once, with validators, and nothing but the files that are listed."""

import functools
import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path

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
    """One file with what HTTP needs to know about it."""

    def __init__(self, name: str, source: Path | bytes) -> None:
        self.content = source if isinstance(source, bytes) else source.read_bytes()
        self.suffix = Path(name).suffix.lower()
        kind = _MEDIA_TYPES.get(self.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.media_type = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    @functools.cached_property
    def compressed(self) -> bytes | None:
        """The content as gzip, or None where that saves little."""
        if self.suffix not in _COMPRESSED:
            return None
        data = gzip.compress(self.content, 9, mtime=0)
        return data if len(data) < 0.95 * len(self.content) else None


class StaticFiles:
    """Answer requests for files by their path, ``index.html`` for the empty one.

    Parameters
    ----------
    files : mapping of str to Path or bytes
        By path relative to the root, with ``/``.
    headers : mapping of str to str
        Sent with each of them.
    """

    def __init__(self, files: Mapping[str, Path | bytes], headers: Mapping[str, str]) -> None:
        self._files = {name: StaticFile(name, source) for name, source in files.items()}
        self._headers = dict(headers)

    async def respond(self, path: str, request: Request) -> Response | None:
        """Return the response for a path, or None if there is no such file."""
        file = self._files.get(path or "index.html")
        if file is None:
            return None
        # Browsers ask again each time; an unchanged file is then answered without its content.
        headers = {"Cache-Control": "no-cache", "ETag": file.etag, "Vary": "Accept-Encoding", **self._headers}
        if file.etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        content = file.content
        if "gzip" in request.headers.get("accept-encoding", ""):
            compressed = await run_in_threadpool(lambda: file.compressed)
            if compressed is not None:
                content = compressed
                headers["Content-Encoding"] = "gzip"
        return Response(content, media_type=file.media_type, headers=headers)
