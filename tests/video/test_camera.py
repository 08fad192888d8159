"""Cameras on a network: their newest frame, interruptions, and passwords."""

import time

import numpy as np
import pytest
from camera_server import CameraServer, breaking, unused_port

from ferlib.core.errors import VideoError
from ferlib.video import VideoWriter, hide_credentials, open_camera


def test_a_slow_consumer_gets_the_newest_frame():
    with CameraServer() as server, open_camera(server.address, end=2.5) as video:
        delays = []
        for frame in video:
            delays.append(server.now() - frame.image.mean() / 10)
            time.sleep(0.3)
    # Fifteen frames pass while one is processed; with a queue the delay would grow to about two seconds.
    assert 5 <= len(delays) <= 10
    assert max(delays) < 1
    assert not video.truncated


def test_a_stream_that_breaks_off_is_told():
    with CameraServer() as server, breaking(server, 0.6), open_camera(server.address) as video:
        frames = list(video)
    assert video.truncated
    assert 5 < len(frames) < 60
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})


def test_a_broken_stream_is_connected_again(caplog):
    with (
        CameraServer() as server,
        breaking(server, 0.6, again=0.5),
        open_camera(server.address, reconnect=20, end=3.0) as video,
    ):
        times = [frame.time for frame in video]
    assert not video.truncated
    assert "the stream broke off; connecting again" in caplog.text
    assert "secret" not in caplog.text
    assert times[-1] > 2.5
    # It was away for a while.
    assert 0.4 < max(np.diff(times)) < 3


def test_reconnecting_is_given_up():
    with CameraServer() as server, breaking(server, 0.4), open_camera(server.address, reconnect=1.5) as video:
        started = time.monotonic()
        list(video)
    assert video.truncated
    assert time.monotonic() - started < 8


def test_frames_may_be_taken_at_intervals():
    with CameraServer() as server, open_camera(server.address, every=0.5, start=0.4, end=2.2) as video:
        times = [frame.time for frame in video]
    assert times == pytest.approx([0.4, 0.9, 1.4, 1.9], abs=0.15)


def test_a_camera_that_is_away_is_named_without_its_password(capfd):
    address = f"http://user:secret@127.0.0.1:{unused_port()}/stream?password=secret"
    with pytest.raises(VideoError, match="cannot be opened") as caught, open_camera(address):
        pass
    assert "secret" not in str(caught.value)
    assert "user" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_file_as_camera_is_read_frame_by_frame(tmp_path):
    with VideoWriter(tmp_path / "v.avi", rate=10) as writer:
        for number in range(20):
            writer.write(np.full((48, 64, 3), number, np.uint8), number / 10)
    with open_camera(str(tmp_path / "v.avi"), reconnect=60) as video:
        for index, frame in enumerate(video):
            assert frame.index == index
            time.sleep(0.01)
    assert (video.n_read, video.truncated) == (20, False)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:secret@host/s", "rtsp://host/s"),
        ("rtsp://host:554/s?user=a&password=secret", "rtsp://host:554/s"),
        ("rtsp://user:se@cr/et?x#y@host/s", "rtsp://host/s"),
        ("http://user:secret with space@host/s#secret", "http://host/s"),
        ("user:secret@host/s", "host/s"),
        ("rtsp:/user:secret@host/s", "rtsp://host/s"),
        ("rtspsrc location=rtsp://host/s user-id=secret user-pw=secret ! decodebin", None),
        ("/dev/video0", "/dev/video0"),
        (0, "0"),
    ],
)
def test_credentials_are_hidden(address, shown):
    hidden = hide_credentials(address)
    assert "secret" not in hidden
    assert shown is None or hidden == shown
