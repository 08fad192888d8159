"""The process: its start and end, its files, and clients that do not behave."""

import asyncio
import gzip
import re
import signal
import socket
import ssl
import subprocess
import sys
import time

import httpx
import pytest
from fastapi import FastAPI
from running_service import run_service
from test_image_requests import assert_problem

from ferlib.core.errors import FerlibError
from ferlib.serve import main as serve
from ferlib.web.access import Access
from ferlib.web.guard import Guard
from ferlib.web.metrics import Metrics
from ferlib.web.options import ServeOptions
from ferlib.web.page import page_files
from ferlib.web.problems import install_handlers
from ferlib.web.server import open_socket


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_service_without_an_error(number):
    with run_service() as service:
        assert service.stop(number) == 0
        assert list(service.folder.iterdir()) == []
        assert "Traceback" not in service.log


def test_taken_port_is_one_sentence(service):
    with pytest.raises(FerlibError, match=rf"^The service cannot listen on 127.0.0.1, port {service.port} \(.*\)"):
        serve(["--port", str(service.port)])
    with pytest.raises(FerlibError, match=r"cannot listen on no\.such\.host"):
        serve(["--host", "no.such.host.invalid"])


def test_answers_are_sent_at_once():
    with open_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "ferlib.serve", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ferlib serve ")


def test_health(client):
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_metrics_count_what_happens(client, photo):
    def value(name: str) -> float:
        report = client.get("/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", report, re.MULTILINE)
        return float(found[1]) if found else 0.0

    answered = 'ferlib_requests_total{method="POST",route="/v1/faces",status="200"}'
    refused = 'ferlib_rejected_total{reason="image"}'
    names = (answered, refused, 'ferlib_faces_total{emotion="neutral"}', "ferlib_images_total")
    before = [value(name) for name in names]
    client.post("/v1/faces", content=photo)
    client.post("/v1/faces", content=b"x")
    assert [value(name) - earlier for name, earlier in zip(names, before, strict=True)] == [1, 1, 1, 1]
    assert value('ferlib_stage_seconds_count{stage="detect"}') > 0
    assert value("process_resident_memory_bytes") > 1e6


def test_page_is_isolated_and_compressed(client):
    files = page_files(service="v1/faces")
    for name, source in files.items():
        answer = client.get("/" if name == "index.html" else f"/{name}")
        content = source if isinstance(source, bytes) else source.read_bytes()
        assert answer.status_code == 200, name
        assert answer.content == content
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        again = client.get(answer.request.url, headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
        assert again.status_code == 304
        assert again.content == b""
    types = {name.rpartition(".")[2]: client.head(f"/{name}").headers["content-type"] for name in files}
    assert types["wasm"] == "application/wasm"
    assert types["mjs"] == types["js"] == "text/javascript; charset=utf-8"
    assert types["json"] == "application/json"


def test_large_files_are_sent_compressed(client):
    name = "vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm"
    with client.stream("GET", f"/{name}", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(raw) < 4.5e6
    assert gzip.decompress(raw)[:4] == b"\0asm"
    plain = client.get(f"/{name}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content[:4] == b"\0asm"


def test_description_needs_no_other_host(client):
    page = client.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert all(source.startswith(("docs/", "data:")) for source in sources)
    for source in sources:
        if source.startswith("docs/"):
            assert client.get(f"/{source}").status_code == 200
    assert "SwaggerUIBundle" in client.get("/docs/start.js").text


def send_raw(service, data: bytes, *, seconds: float = 30) -> bytes:
    """Return everything that the service answers to bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:  # after the answer, because the rest of the request was not read
                return received
            if not part:
                return received
            received += part


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
    ],
    ids=["TLS", "two hosts", "two lengths", "bad chunk", "many headers"],
)
def test_invalid_requests_are_refused(service, data):
    assert send_raw(service, data)[9:12] in (b"400", b"")


def test_half_closed_connection_is_answered(service, photo):
    head = b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(photo)
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head + photo)
        connection.shutdown(socket.SHUT_WR)
        received = connection.recv(65536)
    # uvicorn may take the end of the connection for the client's departure; it must not be a fault.
    assert received[9:12] in (b"200", b"")


@pytest.mark.long
def test_slow_clients_are_given_up(photo):
    with run_service("--request-seconds", "2") as service:
        head = b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        start = time.monotonic()
        answer = send_raw(service, head + b"x" * 10, seconds=40)
        assert answer[9:12] == b"408"
        assert b"application/problem+json" in answer
        assert send_raw(service, b"GET / HTTP/1.1\r\nX: ", seconds=40) == b""
        assert send_raw(service, b"", seconds=40) == b""
        assert time.monotonic() - start < 40
        assert httpx.get(f"{service.url}/health/ready").status_code == 200
        assert "Traceback" not in service.log


@pytest.mark.slow
def test_busy_service_asks_to_try_again(photo):
    options = ("--workers", "1", "--max-waiting", "1", "--max-pixels", "20000000")
    with run_service(*options) as service:
        head = b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        connections = []
        for _ in range(12):
            connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
            connection.sendall(head % len(photo) + photo)
            connections.append(connection)
        answers = []
        for connection in connections:
            with connection:
                data = b""
                while part := connection.recv(65536):
                    data += part
                answers.append(data)
        statuses = [answer[9:12] for answer in answers]
        assert set(statuses) == {b"200", b"503"}
        refused = next(answer for answer in answers if answer[9:12] == b"503")
        assert re.search(rb"\r\nretry-after: \d+\r\n", refused)
        assert b"application/problem+json" in refused
        lines = [line for line in service.log.splitlines() if " POST /v1/faces " in line]
        assert len(lines) == 12


def test_requests_in_progress_are_limited(photo):
    with run_service("--max-requests", "2") as service, service.client() as client:
        head = b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        waiting = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(2)]
        for connection in waiting:
            connection.sendall(head)
        time.sleep(0.3)
        assert_problem(client.get("/v1/models"), 503)
        assert client.get("/health/live").status_code == 200
        for connection in waiting:
            connection.close()
        time.sleep(0.3)
        assert client.get("/v1/models").status_code == 200


@pytest.mark.long
def test_https(tmp_path, photo):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    with run_service("--tls-cert", str(cert), "--tls-key", str(key)) as service:
        trusted = ssl.create_default_context(cafile=str(cert))
        assert service.url.startswith("https://")
        answer = httpx.post(f"{service.url}/v1/faces", content=photo, verify=trusted, timeout=60)
        assert answer.json()["faces"]
    with pytest.raises(FerlibError, match="certificate"):
        serve(["--port", "0", "--tls-cert", str(tmp_path / "missing"), "--tls-key", str(key)])


def test_fault_is_logged_and_not_shown(caplog):
    app = FastAPI()
    options, app.state.metrics = ServeOptions(), Metrics()
    install_handlers(app)

    @app.get("/fault")
    async def fail():
        raise RuntimeError("internal detail")

    guard = Guard(app, options=options, access=Access(options), metrics=app.state.metrics)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost") as client:
            return await client.get("/fault")

    answer = asyncio.run(ask())
    assert "internal" not in assert_problem(answer, 500)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["error in GET /fault"]
    assert 'ferlib_rejected_total{reason="fault"} 1.0' in app.state.metrics.report().decode()


def test_run_that_browsers_cannot_use_has_no_page(bovw_run, photo):
    with run_service("--run", str(bovw_run)) as service, service.client() as client:
        assert client.post("/v1/faces", content=photo).json()["model"] == "bovw"
        assert_problem(client.get("/"), 404)
        assert client.get("/docs").status_code == 200
