"""Images over HTTP: records, annotated copies, batches, and what is refused."""

import io
import json

import numpy as np
import pytest
from conftest import HOPPER
from PIL import Image
from service_abuse import make_bomb

from ferlib.core.errors import ImageError
from ferlib.predict import main as predict
from ferlib.web.metrics import Metrics
from ferlib.web.options import ServeOptions
from ferlib.web.recognition import Parameters, Recognition


def assert_problem(response, status: int) -> str:
    """Check that a response is a problem document, and return its sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["title"]
    return document["detail"]


def encode(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("arguments", [{}, {"detector": "none"}, {"prior": "training", "min_probability": "0.9"}])
def test_record_is_that_of_the_command_line(client, tmp_path, arguments):
    output = tmp_path / "records.jsonl"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    assert predict([str(HOPPER), "--output-json", str(output), "--quiet", *options]) == 0
    expected = json.loads(output.read_text())
    with HOPPER.open("rb") as file:
        answer = client.post("/v1/faces", files={"file": (str(HOPPER), file)}, params=arguments).json()
    assert answer.pop("version")
    assert "not what the person feels" in answer.pop("notice")
    assert answer == expected
    assert list(answer) == list(expected)


def test_raw_body_is_an_image_too(client, photo):
    record = client.post("/v1/faces", content=photo, headers={"Content-Type": "image/jpeg"}).json()
    form = client.post("/v1/faces", files={"anything": ("image", photo)}).json()
    assert record == form
    assert len(record["faces"]) == 1


def test_image_without_a_face_has_no_faces(client):
    answer = client.post("/v1/faces", content=encode(np.full((90, 120), 128, np.uint8)))
    assert answer.status_code == 200
    assert answer.json()["faces"] == []
    assert (answer.json()["width"], answer.json()["height"]) == (120, 90)


@pytest.mark.parametrize(("accept", "kind"), [("image/png", "PNG"), ("image/jpeg, */*;q=0.1", "JPEG")])
def test_accept_chooses_an_annotated_copy(client, photo, accept, kind):
    answer = client.post("/v1/faces", content=photo, headers={"Accept": accept})
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    annotated = Image.open(io.BytesIO(answer.content))
    assert (annotated.format, annotated.size) == (kind, (512, 600))
    difference = np.abs(np.asarray(annotated, int) - np.asarray(Image.open(HOPPER), int)).max(axis=2) > 60
    assert difference[105:115, 178:351].mean() > 0.2, "no box"
    assert difference[400:].mean() < 0.01


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html, application/xhtml+xml, */*;q=0.8"])
def test_json_is_the_default(client, photo, accept):
    assert client.post("/v1/faces", content=photo, headers={"Accept": accept}).json()["faces"]


def test_other_answers_are_not_acceptable(client, photo):
    assert_problem(client.post("/v1/faces", content=photo, headers={"Accept": "text/html"}), 406)


@pytest.mark.parametrize(
    ("name", "value"),
    [("detector", "os:system"), ("min_face_size", "0"), ("prior", "1,2"), ("prior", "x"), ("unknown", "1")],
)
def test_wrong_parameters_are_named(client, photo, name, value):
    assert name in assert_problem(client.post("/v1/faces", content=photo, params={name: value}), 422)


@pytest.mark.parametrize(
    "content",
    [
        b"not an image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\n",
        make_bomb(5000),
        HOPPER.read_bytes()[:20_000],
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=["text", "eps", "bomb", "truncated", "damaged", "svg"],
)
def test_files_that_are_no_images_are_refused(client, content):
    detail = assert_problem(client.post("/v1/faces", files={"file": ("a.png", content)}), 422)
    assert detail.startswith("a.png: ")


@pytest.mark.parametrize("content", [b"", {"file": ("a.png", b"")}], ids=["raw", "form"])
def test_empty_request_is_refused(client, content):
    body = {"files": content} if isinstance(content, dict) else {"content": content}
    assert_problem(client.post("/v1/faces", **body), 400)


def test_too_many_bytes_are_refused(client):
    def endless():
        for _ in range(40):
            yield bytes(1_000_000)

    assert "10,000,000 bytes" in assert_problem(client.post("/v1/faces", content=bytes(11_000_000)), 413)
    assert_problem(client.post("/v1/faces", content=endless()), 413)
    assert_problem(client.post("/v1/models", content=bytes(100_000)), 413)


def test_too_many_faces_are_refused(photo):
    crowd = encode(np.tile(np.asarray(Image.open(io.BytesIO(photo))), (1, 2, 1)))
    two = Recognition(ServeOptions(max_faces=2), Metrics()).recognize(crowd, "crowd.png", Parameters())
    assert len(two.record["faces"]) == 2
    with pytest.raises(ImageError, match=r"^crowd\.png: the image has 2 faces; the limit is 1\."):
        Recognition(ServeOptions(max_faces=1), Metrics()).recognize(crowd, "crowd.png", Parameters())


def test_batch_keeps_the_order_and_goes_on_after_a_bad_file(client, photo):
    files = [("a", ("1.jpg", photo)), ("b", ("2.txt", b"text")), ("a", ("3.png", encode(np.zeros((40, 40), np.uint8))))]
    answer = client.post("/v1/batches", files=files, params={"detector": "none"})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["file"] for result in results] == ["1.jpg", "2.txt", "3.png"]
    assert results[1] == {"file": "2.txt", "error": "2.txt: not a readable image (unknown image format)."}
    alone = client.post("/v1/faces", files={"file": ("1.jpg", photo)}, params={"detector": "none"}).json()
    assert results[0] == {name: value for name, value in alone.items() if name not in ("version", "notice")}


def test_batch_has_a_limited_number_of_files(client):
    assert "32" in assert_problem(client.post("/v1/batches", files=[("f", ("a", b"x"))] * 33), 400)


@pytest.mark.parametrize(
    "name", ["../../../../etc/passwd", "/etc/passwd", "a\\b/c//d", "x" * 3000, "\N{SNOWMAN}.jpg", "a.jpg\x00.sh"]
)
def test_names_are_only_repeated(service, client, photo, name):
    before = set(service.folder.rglob("*"))
    record = client.post("/v1/faces", files={"file": (name, photo)}).json()
    assert len(record["file"]) <= 255
    assert record["file"][:20].encode("ascii", "ignore").strip()[:3] == name.encode("ascii", "ignore").strip()[:3]
    assert set(service.folder.rglob("*")) == before


def test_nothing_about_an_image_is_logged(service, client, photo):
    client.post("/v1/faces", files={"file": ("secret-name.jpg", photo)}, params={"prior": "training"})
    client.post("/v1/faces", files={"file": ("secret-name.jpg", b"x")})
    client.post("/v1/secret-address")
    lines = [line for line in service.log.splitlines() if "POST /v1/faces" in line]
    assert lines[-1].endswith(" ms")
    assert " POST /v1/faces 422 " in lines[-1]
    for word in ("secret", "prior=", "127.0.0.1", "neutral"):
        assert word not in service.log


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/faces"), ("PUT", "/v1/models"), ("POST", "/docs")])
def test_other_methods_are_not_allowed(client, method, path):
    answer = client.request(method, path)
    assert_problem(answer, 405)
    assert answer.headers["allow"]


def test_all_methods_of_an_address_are_named(client):
    answer = client.options("/v1/jobs/none")
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET"


@pytest.mark.parametrize("path", ["/v1/nothing", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/docs/../app.py"])
def test_other_addresses_do_not_exist(client, path):
    assert_problem(client.get(path), 404)
