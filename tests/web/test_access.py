"""Who may use the service."""

import httpx
import pytest
from conftest import HOPPER
from running_service import run_service
from test_image_requests import assert_problem

from ferlib.core.errors import OptionError
from ferlib.serve import main as serve
from ferlib.web.options import ServeOptions

KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def guarded():
    """Return a service with a key, for one other site."""
    with run_service("--allowed-origins", "https://example.org", environment={"FERLIB_API_KEY": KEY}) as service:
        yield service


@pytest.mark.parametrize("headers", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}])
def test_key_opens_the_api(guarded, headers):
    with guarded.client(headers=headers) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": KEY[:-1]}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": "é"}]
)
def test_nothing_works_without_the_key(guarded, headers):
    with guarded.client(headers={name: value.encode() for name, value in headers.items()}) as client:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/faces"), ("GET", "/metrics"), ("POST", "/v1/videos")):
            answer = client.request(method, path)
            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/health/live").status_code == 200
        assert client.get("/docs").status_code == 200
    assert KEY not in guarded.log


def test_document_names_the_key(guarded, client):
    assert "key" in httpx.get(f"{guarded.url}/openapi.json").json()["components"]["securitySchemes"]
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


def test_other_host_names_are_refused(client):
    assert_problem(client.get("/v1/models", headers={"Host": "attacker.example"}), 400)
    assert client.get("/v1/models", headers={"Host": "localhost:1234"}).status_code == 200
    # Kubernetes and load balancers ask by the address of the container.
    assert client.get("/health/ready", headers={"Host": "10.1.2.3:5000"}).status_code == 200


def test_pages_of_other_sites_are_refused(client, guarded, photo):
    answer = client.post("/v1/faces", content=photo, headers={"Origin": "https://attacker.example"})
    assert_problem(answer, 403)
    assert "access-control-allow-origin" not in answer.headers
    assert_problem(client.post("/v1/faces", content=photo, headers={"Origin": "null"}), 403)
    same = {"Origin": str(client.base_url).rstrip("/")}
    assert client.post("/v1/faces", content=photo, headers=same).status_code == 200


def test_allowed_site_may_use_the_api(guarded, photo):
    with guarded.client(headers={"Origin": "https://example.org"}) as client:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
        preflight = client.options("/v1/faces", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == "https://example.org"
        answer = client.post("/v1/faces", content=photo, headers={"X-API-Key": KEY})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        refused = client.post("/v1/faces", content=photo)
        assert_problem(refused, 401)
        assert refused.headers["access-control-allow-origin"] == "https://example.org"
    with guarded.client(headers={"Origin": "https://attacker.example"}) as client:
        assert "access-control-allow-origin" not in client.options("/v1/faces", headers=asked).headers


@pytest.mark.long
def test_key_may_be_in_a_file(tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    with run_service("--api-key-file", str(file)) as service, HOPPER.open("rb") as photo:
        answer = httpx.post(f"{service.url}/v1/faces", content=photo.read(), headers={"X-API-Key": KEY}, timeout=60)
        assert answer.status_code == 200


def test_weak_key_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("FERLIB_API_KEY", "short")
    with pytest.raises(OptionError, match=r"^FERLIB_API_KEY: expected a key of at least 16 "):
        serve(["--port", "0"])
    with pytest.raises(OptionError, match="cannot be read"):
        serve(["--port", "0", "--api-key-file", str(tmp_path / "missing")])


@pytest.mark.long
def test_open_service_is_warned_of():
    with run_service("--host", "0.0.0.0") as service:
        assert "everybody on the network" in service.log
        port = service.port
        assert httpx.get(f"http://127.0.0.1:{port}/health/live", headers={"Host": "any.example"}).status_code == 200
    with run_service("--host", "0.0.0.0", environment={"FERLIB_API_KEY": KEY}) as service:
        assert "warning" not in service.log


@pytest.mark.parametrize("origin", ["example.org", "ftp://example.org", "https://example.org/page"])
def test_wrong_origins_are_refused(origin):
    with pytest.raises(OptionError, match=r"--allowed-origins: expected https://NAME"):
        ServeOptions(allowed_origins=(origin,))


def test_certificate_needs_its_key(tmp_path):
    with pytest.raises(OptionError, match="needed together"):
        ServeOptions(tls_cert=tmp_path / "cert.pem")
