"""One schema for the records of the command line and of the API."""

import json

import pytest
from conftest import HOPPER

from ferlib.predict import main as predict
from ferlib.web.schemas import Batch, Faces, FailureRecord, ImageRecord, Job, Models


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[dict]:
    """Return what the command line writes for a photograph and for a file that is not an image."""
    folder = tmp_path_factory.mktemp("records")
    (folder / "text.jpg").write_text("not an image")
    predict([str(HOPPER), str(folder / "text.jpg"), "--output-json", str(folder / "r.jsonl"), "--quiet"])
    records = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    return sorted(records, key=lambda record: "error" in record)


def test_command_line_writes_the_schema(records):
    image, failure = records
    # The schema has no other fields, and none is optional but the track of a face.
    assert set(ImageRecord.model_validate(image).model_dump()) == set(image)
    face = ImageRecord.model_validate(image).model_dump()["faces"][0]
    assert set(face) - {"track_id"} == set(image["faces"][0])
    assert FailureRecord.model_validate(failure).model_dump() == failure


def test_api_answers_the_schema(client, photo):
    Faces.model_validate(client.post("/v1/faces", content=photo).json())
    files = [("file", ("a", photo)), ("file", ("b", b"x"))]
    Batch.model_validate(client.post("/v1/batches", files=files).json())
    Models.model_validate(client.get("/v1/models").json())
    assert set(Faces.model_fields) - set(ImageRecord.model_fields) == {"version", "notice"}


def test_document_describes_every_route(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/faces",
        "/v1/batches",
        "/v1/videos",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/result.jsonl",
        "/v1/jobs/{job_id}/result.csv",
        "/v1/models",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    for path, item in document["paths"].items():
        for method, route in item.items():
            assert len(route["summary"].split()) > 3, (method, path)
            problems = {int(status) for status in route["responses"] if int(status) >= 400}
            content = [route["responses"][str(status)]["content"] for status in problems]
            assert all(set(kinds) == {"application/problem+json"} for kinds in content), (method, path)
    assert Job.__name__ in document["components"]["schemas"]
