"""A small object store on the loopback interface with the requests of S3 that Arrow makes."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectStore(ThreadingHTTPServer):
    """Objects by bucket and key; `forbidden` are the keys that may not be read."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.forbidden: set[str] = set()
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectStore

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        key, query = self._target()
        if "list-type" in query:
            self._answer(200, self._list(key.strip("/"), query).encode())
        elif key in self.server.forbidden:
            self._answer(403, _error("AccessDenied"))
        elif key not in self.server.objects:
            self._answer(404, _error("NoSuchKey"))
        else:
            content = self.server.objects[key]
            first, last = 0, len(content) - 1
            if span := self.headers.get("Range"):
                first, last = (int(number) for number in span.removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            more = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"} if span else {}
            self._answer(206 if span else 200, part, **more)

    def do_PUT(self) -> None:
        key, query = self._target()
        content = self._body()
        if "uploadId" in query:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = content
        else:
            self.server.objects[key] = content
        self._answer(200, ETag=f'"{hashlib.md5(content).hexdigest()}"')

    def do_POST(self) -> None:
        key, query = self._target()
        self._body()
        if "uploads" in query:
            with self.server.lock:
                upload = f"upload-{len(self.server.uploads)}"
                self.server.uploads[upload] = {}
            kind, content = "InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>"
        else:
            parts = self.server.uploads[query["uploadId"]]
            self.server.objects[key] = b"".join(parts[number] for number in sorted(parts))
            kind, content = "CompleteMultipartUploadResult", '<ETag>"x"</ETag>'
        self._answer(200, f"<{kind}>{content}</{kind}>".encode())

    def do_DELETE(self) -> None:
        self.server.objects.pop(self._target()[0], None)
        self._answer(204)

    def _target(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return unquote(parts.path).lstrip("/"), dict(parse_qsl(parts.query, keep_blank_values=True))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = self._chunks()
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # AWS's own chunks, with a checksum after the last one.
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return content
        data = b""
        while content:
            line, _, content = content.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            data, content = data + content[:size], content[size + 2 :]
        return data

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return content

    def _list(self, bucket: str, query: dict[str, str]) -> str:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit, start = int(query.get("max-keys", 1000)), query.get("continuation-token", "")
        found: dict[str, int | None] = {}
        for name in sorted(self.server.objects):
            key = name.removeprefix(f"{bucket}/")
            if not name.startswith(f"{bucket}/{prefix}"):
                continue
            folder, separator, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            found[f"{prefix}{folder}{separator}" if separator else key] = (
                None if separator else len(self.server.objects[name])
            )
        names = [name for name in sorted(found) if name > start]
        shown = names[:limit]
        items = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if found[name] is None
            else f"<Contents><Key>{escape(name)}</Key><Size>{found[name]}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in shown
        )
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if len(names) > limit else ""
        truncated = str(bool(more)).lower()
        return (
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(shown)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{truncated}</IsTruncated>{more}{items}</ListBucketResult>"
        )

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        if status < 300:
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


@contextlib.contextmanager
def serve_objects() -> Iterator[ObjectStore]:
    """Run a store while the block runs."""
    with ObjectStore() as store:
        thread = threading.Thread(target=store.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()
