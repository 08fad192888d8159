"""Send valid and hostile requests to a service, and report what became of it.

``python tools/service_abuse.py --requests 10000 --record reports/service.json`` starts a service on this machine. It is
a fault if an answer has a status that was not expected, such as 500, or if a log line is lost.
"""

import argparse
import contextlib
import io
import json
import random
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from running_service import Service, run_service

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "docs" / "images" / "grace_hopper.jpg"

_BOUNDARY = b"----------boundary"


def make_bomb(side: int) -> bytes:
    """Return a PNG of white pixels that is a thousand times larger when it is decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * (side * (side + 1)), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encode(image: Image.Image, kind: str) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """Return the head of a request that closes the connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def post(data: bytes, path: str = "/v1/faces", kind: str = "application/octet-stream") -> bytes:
    """Return a request with a body."""
    return head(path, f"Content-Type: {kind}", f"Content-Length: {len(data)}") + data


def form(*parts: tuple[str, bytes], path: str = "/v1/faces") -> bytes:
    """Return a request with a multipart form of files: names and contents."""
    body = b""
    for name, data in parts:
        body += b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode()
        body += b'"\r\n\r\n' + data + b"\r\n"
    body += b"--" + _BOUNDARY + b"--\r\n"
    return post(body, path, f"multipart/form-data; boundary={_BOUNDARY.decode()}")


def fields(n: int) -> bytes:
    """Return a form with many fields and no file."""
    part = b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    body = part * n + b"--" + _BOUNDARY + b"--\r\n"
    return post(body, "/v1/batches", f"multipart/form-data; boundary={_BOUNDARY.decode()}")


class Requests:
    """What is sent: bytes by a name, and what may be answered; an empty answer is a closed connection."""

    def __init__(self) -> None:
        photo = Image.open(PHOTO)
        small = photo.resize((256, 300))
        jpeg, noise = encode(small, "JPEG"), np.random.default_rng(0).bytes(20_000)
        animation = io.BytesIO()
        small.save(animation, "GIF", save_all=True, append_images=[small.rotate(3)])
        wide = encode(Image.fromarray(np.zeros((1, 60_000), np.uint8)), "PNG")
        self.valid: dict[str, bytes] = {
            "JPEG": post(jpeg),
            "PNG form": form(("a.png", encode(small, "PNG"))),
            "WebP": post(encode(small, "WEBP")),
            "TIFF": post(encode(small.convert("L"), "TIFF")),
            "GIF": post(animation.getvalue()),
            "annotated": head(
                "/v1/faces", "Accept: image/jpeg", f"Content-Length: {len(jpeg)}", "Content-Type: image/jpeg"
            )
            + jpeg,
            "batch": form(("1.jpg", jpeg), ("2.txt", b"text"), path="/v1/batches"),
            "no face": post(encode(Image.new("L", (300, 200), "gray"), "PNG")),
            "page": head("/", method="GET"),
            "models": head("/v1/models", method="GET"),
        }
        self.hostile: dict[str, tuple[bytes, str]] = {
            "bomb over the limit": (post(make_bomb(5000)), "422"),
            "bomb below the limit": (post(make_bomb(3900)), "200"),
            "EPS": (post(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n"), "422"),
            "SVG": (post(b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"), "422"),
            "noise": (post(noise), "422"),
            "damaged JPEG": (post(jpeg[:2000] + noise[:3000] + jpeg[5000:]), "200 422"),
            "truncated JPEG": (post(jpeg[: len(jpeg) // 2]), "422"),
            "one row": (post(wide), "200"),
            "empty": (post(b""), "400"),
            "length over the limit": (head("/v1/faces", "Content-Length: 99999999999"), "413"),
            "negative length": (head("/v1/faces", "Content-Length: -1"), "400"),
            "two lengths": (head("/v1/faces", "Content-Length: 3", "Content-Length: 4") + b"abcd", "400"),
            "both framings": (
                head("/v1/faces", "Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
                "400",
            ),
            "bad chunk": (head("/v1/faces", "Transfer-Encoding: chunked") + b"xyz\r\n", "400 closed"),
            "long chunks": (
                head("/v1/faces", "Transfer-Encoding: chunked") + (b"100000\r\n" + bytes(0x100000) + b"\r\n") * 11,
                "413 closed",
            ),
            "many fields": (fields(5000), "400"),
            "many files": (form(*[("a", b"x")] * 200, path="/v1/batches"), "400"),
            "no boundary": (post(b"x", kind="multipart/form-data"), "400"),
            "unfinished form": (
                post(b"--" + _BOUNDARY + b"\r\n", kind=f"multipart/form-data; boundary={_BOUNDARY.decode()}"),
                "400",
            ),
            "path in the name": (form(("../../../../etc/cron.d/x", jpeg)), "200"),
            "zero in the name": (form(("a\0.jpg", b"x")), "400 422"),
            "long name": (form(("x" * 20_000, b"x")), "400 422"),
            "path": (head("/../../../etc/passwd", method="GET"), "404"),
            "encoded path": (head("/%2e%2e/%2e%2e/etc/passwd", method="GET"), "404"),
            "long path": (head("/" + "a" * 30_000, method="GET"), "404"),
            "many headers": (head("/", *[f"X-{i}: y" for i in range(9000)], method="GET"), "200 400 closed"),
            "other host": (head("/v1/models", method="GET").replace(b"localhost", b"attacker.example"), "400"),
            "other origin": (head("/v1/faces", "Origin: https://attacker.example", "Content-Length: 0"), "403"),
            "wrong method": (head("/v1/faces", method="PATCH"), "405"),
            "made-up method": (head("/v1/faces", method="BREW"), "405"),
            "wrong parameter": (head("/v1/faces?detector=os:system", "Content-Length: 0"), "422"),
            "huge parameter": (head(f"/v1/faces?prior={'1,' * 5000}", "Content-Length: 0"), "422"),
            "not a number": (head("/v1/faces?min_confidence=nan", "Content-Length: 0"), "422"),
            "unknown job": (head("/v1/jobs/..%2f..%2fetc", method="GET"), "404"),
            "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise[:200], "400 closed"),
            "handshake without a key": (
                head("/v1/stream", "Upgrade: websocket", method="GET").replace(b"close", b"Upgrade"),
                "400 403 426 closed",
            ),
            "video that is none": (post(noise, "/v1/videos"), "202 503"),
        }


def send(port: int, data: bytes, *, half_close: bool = False) -> str:
    """Return the status of the answer to bytes, or ``closed`` if the connection was closed without one."""
    received = b""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        # The service may answer and close before everything is sent.
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            received += part
            if len(received) > 20_000_000:
                break
    return received[9:12].decode("ascii", "replace") if received.startswith(b"HTTP/1.1 ") else "closed"


class Abuse:
    """Mixed requests of several clients to one service."""

    def __init__(self, service: Service, seed: int = 0) -> None:
        self.service = service
        self.requests = Requests()
        self.seed = seed
        self.statuses: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def run(self, n_requests: int, n_clients: int = 8) -> None:
        """Send requests, three fifths of them valid; collect what was not expected."""
        numbers = iter(range(n_requests))
        idle = self._open_idle()

        def work(client: int) -> None:
            chance = random.Random(f"{self.seed} {client}")
            while True:
                with self._lock:
                    if next(numbers, None) is None:
                        return
                self._send_one(chance)

        threads = [threading.Thread(target=work, args=(client,)) for client in range(n_clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for connection in idle:
            connection.close()

    def _send_one(self, chance: random.Random) -> None:
        port = self.service.port
        kind = chance.random()
        if kind < 0.6:
            name = chance.choice(list(self.requests.valid))
            status, allowed = send(port, self.requests.valid[name], half_close=False), "200 503"
        elif kind < 0.97:
            name = chance.choice(list(self.requests.hostile))
            data, allowed = self.requests.hostile[name]
            status, allowed = send(port, data), f"{allowed} 503"
        elif kind < 0.985:
            name, allowed = "half closed", "200 503 closed"
            status = send(port, self.requests.valid["JPEG"], half_close=True)
        else:
            # The client leaves in the middle of the body.
            name, allowed = "left", "closed"
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(self.requests.valid["JPEG"][: chance.randrange(10, 2000)])
            status = "closed"
        with self._lock:
            self.statuses[status] += 1
            if status not in allowed.split():
                self.faults.append(f"{name}: {status} instead of {allowed}")

    def _open_idle(self) -> list[socket.socket]:
        """Return connections that send their headers one byte at a time, or nothing."""
        connections = []
        for number in range(20):
            connection = socket.create_connection(("127.0.0.1", self.service.port), timeout=60)
            if number % 2:
                connection.sendall(b"GET / HT")
            connections.append(connection)
        return connections

    def lost_lines(self) -> int:
        """Return the difference between the requests that the service counted and its log lines."""
        with self.service.client() as client:
            report = client.get("/metrics").text
        counted = 0
        for method, route, _, count in re.findall(
            r'^ferlib_requests_total{method="(.*?)",route="(.*?)",status="(.*?)"} (\S+)$', report, re.MULTILINE
        ):
            # These are logged with --verbose only.
            if method and not route.startswith(("/health/", "/metrics")):
                counted += int(float(count))
        logged = len(re.findall(r"^\S+ \S+ [A-Z-]+ \S+ \d+ \d+ ms$", self.service.log, re.MULTILINE))
        return counted - logged


def resident_megabytes(service: Service) -> float:
    """Return the memory of a service."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the requests and print a report; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--record", type=Path, help="JSON file, to which the result is added")
    args = parser.parse_args(argv)
    show: Callable[[str], None] = print
    with run_service("--keep-seconds", "5") as service:
        abuse = Abuse(service)
        memory = {}
        done, start = 0, time.monotonic()
        for share in (0.1, 0.25, 0.5, 0.75, 1.0):
            abuse.seed += 1
            target = round(args.requests * share)
            abuse.run(target - done, args.clients)
            done = target
            memory[done] = round(resident_megabytes(service), 1)
            show(f"{done:,} requests, {memory[done]:.0f} MB, {time.monotonic() - start:.0f} s")
        time.sleep(6)
        result = {
            "requests": args.requests,
            "statuses": dict(sorted(abuse.statuses.items())),
            "memory_mb": memory,
            "faults": len(abuse.faults),
            "lost_log_lines": abuse.lost_lines(),
            "tracebacks": service.log.count("Traceback"),
            "files_left": sum(path.is_file() and path.name != "lock" for path in service.folder.rglob("*")),
        }
    show(json.dumps(result, indent=2))
    for fault, count in Counter(abuse.faults).most_common(20):
        show(f"{count} x {fault}")
    if args.record:
        records = json.loads(args.record.read_text(encoding="utf-8")) if args.record.exists() else {}
        args.record.write_text(json.dumps(records | {"abuse": result}, indent=2) + "\n", encoding="utf-8")
    return int(bool(abuse.faults or result["lost_log_lines"] or result["tracebacks"]))


if __name__ == "__main__":
    sys.exit(main())
