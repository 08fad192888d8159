"""The stream of frames."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image
from running_service import run_service
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ferlib.inference import EmotionRecognizer, predict_video
from ferlib.inference.results import image_record
from ferlib.inference.stream import VIDEO_FACE
from ferlib.video import Frame
from ferlib.web.schemas import ImageRecord


def address(service, query: str = "") -> str:
    return f"{service.url.replace('http', 'ws', 1)}/v1/stream{query}"


@pytest.fixture(scope="module")
def frames(photo) -> list[bytes]:
    """Return frames in which a face moves."""
    image = np.asarray(Image.open(io.BytesIO(photo)))
    encoded = []
    for step in range(6):
        file = io.BytesIO()
        Image.fromarray(np.roll(image, 3 * step, axis=1)).save(file, "JPEG")
        encoded.append(file.getvalue())
    return encoded


def test_frames_are_tracked(service, frames):
    records = []
    with connect(address(service, "?prior=training&smoothing=0")) as socket:
        for frame in frames:
            socket.send(frame)
            records.append(json.loads(socket.recv(30)))
    assert [record["frame"] for record in records] == list(range(6))
    assert [face["track_id"] for record in records for face in record["faces"]] == [1] * 6
    times = [record.pop("time") for record in records]
    assert times == sorted(times)
    recognizer = EmotionRecognizer(prior="training", min_face_size=round(512 * VIDEO_FACE))
    images = [np.asarray(Image.open(io.BytesIO(frame))) for frame in frames]
    video = (Frame(number, time, image) for number, (time, image) in enumerate(zip(times, images, strict=True)))
    for record, (_, result) in zip(records, predict_video(video, recognizer, path="stream", smoothing=0), strict=True):
        expected = image_record(result, detector="mtcnn", model=recognizer.classifier.name)
        del expected["time"]
        assert record == expected
        del record["frame"]
        ImageRecord.model_validate(record)


def test_newest_frame_wins(service, frames):
    with connect(address(service)) as socket:
        for number in range(60):
            socket.send(frames[number % 6])
        received = []
        while not received or received[-1] < 59:
            received.append(json.loads(socket.recv(30))["frame"])
    assert received == sorted(received)
    assert received[-1] == 59
    assert len(received) < 60


def test_bad_frame_is_answered_and_the_stream_goes_on(service, frames):
    with connect(address(service)) as socket:
        socket.send(b"not an image")
        error = json.loads(socket.recv(30))
        assert error["frame"] == 0
        assert "not a readable image" in error["error"]
        socket.send(frames[0])
        assert json.loads(socket.recv(30))["faces"]


@pytest.mark.parametrize("query", ["?detector=os:system", "?unknown=1", "?smoothing=-1"])
def test_wrong_parameters_close_the_stream(service, query):
    with connect(address(service, query)) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(30)
    assert closed.value.rcvd.code == 1008
    assert query[1:].partition("=")[0] in closed.value.rcvd.reason


def test_text_closes_the_stream(service):
    with connect(address(service)) as socket:
        socket.send("text")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd.code == 1008


def test_too_large_frame_closes_the_stream(service):
    with connect(address(service)) as socket:
        socket.send(bytes(2_000_000))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd.code == 1009


def test_other_sites_cannot_connect(service):
    with pytest.raises(InvalidStatus), connect(address(service), origin="https://attacker.example"):
        pass
    with connect(address(service), origin=service.url) as socket:
        assert socket.ping().wait(30)


def test_number_of_streams_is_limited(service, frames):
    with connect(address(service)), connect(address(service)), connect(address(service)), connect(address(service)):
        time.sleep(0.2)
        with connect(address(service)) as fifth, pytest.raises(ConnectionClosed) as closed:
            fifth.recv(30)
    assert closed.value.rcvd.code == 1013
    for _ in range(50):
        time.sleep(0.1)
        with connect(address(service)) as socket:
            socket.send(frames[0])
            try:
                assert json.loads(socket.recv(30))["faces"]
            except ConnectionClosed:
                continue
            return
    raise AssertionError("closed streams still count")


def test_key_is_in_the_first_message_or_the_handshake(frames):
    key = "correct-horse-battery"
    with run_service(environment={"FERLIB_API_KEY": key}) as service:
        for headers, first in (({}, json.dumps({"api_key": key})), ({"X-API-Key": key}, None)):
            with connect(address(service), additional_headers=headers) as socket:
                if first:
                    socket.send(first)
                socket.send(frames[0])
                assert json.loads(socket.recv(30))["faces"]
        for message in ("{}", "x", json.dumps({"api_key": "wrong"}), json.dumps({"api_key": None}), "[1]", frames[0]):
            with connect(address(service)) as socket:
                socket.send(message)
                with pytest.raises(ConnectionClosed) as closed:
                    socket.recv(30)
            assert closed.value.rcvd.code == 1008
        assert key not in service.log
