"""Video jobs: progress, results, limits, and that nothing stays behind."""

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from running_service import run_service
from test_image_requests import assert_problem

from ferlib.predict import main as predict
from ferlib.runs.folder import pretrained_run_dir
from ferlib.video import VideoWriter
from ferlib.web.child import Child
from ferlib.web.folders import WorkFolder
from ferlib.web.schemas import Job


def write_video(path: Path, photo: np.ndarray, *, n_frames: int, rate: int = 10) -> bytes:
    with VideoWriter(path, rate=rate) as writer:
        for number in range(n_frames):
            writer.write(np.roll(photo, number, axis=1), number / rate)
    return path.read_bytes()


@pytest.fixture(scope="session")
def photo_array(photo) -> np.ndarray:
    from ferlib.core.images import decode_image

    return decode_image(photo)[:400, 60:460]


@pytest.fixture(scope="session")
def video(tmp_path_factory, photo_array) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", photo_array, n_frames=12)


@pytest.fixture(scope="session")
def long_video(tmp_path_factory, photo_array) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", photo_array, n_frames=900, rate=30)


def follow(client, job: dict) -> list[tuple[str, dict]]:
    """Return the events of a job until its end."""
    events = []
    with client.stream("GET", job["links"]["events"]) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
    return events


def wait_for(client, job: dict, *states: str) -> dict:
    for _ in range(600):
        now = client.get(job["links"]["self"]).json()
        if now["state"] in states:
            return now
        time.sleep(0.05)
    raise AssertionError(f"{now} is in none of {states}")


def children_of(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split() if int(word) != pid]


@pytest.mark.slow
def test_chosen_model_answers_everywhere(photo, video):
    with run_service("--model", "fast") as service, service.client() as client:
        assert client.post("/v1/faces", content=photo).json()["model"] == "fast_cnn (pretrained, fast)"
        job = wait_for(client, client.post("/v1/videos", content=video).json(), "done")
        rows = client.get(job["links"]["result.jsonl"]).text.splitlines()
        assert json.loads(rows[-1])["model"] == "fast_cnn (pretrained, fast)"
        network = client.get("/models/emotion.onnx").content
        assert network == (pretrained_run_dir("fast") / "model.onnx").read_bytes()


def test_result_is_that_of_the_command_line(service, client, video, tmp_path):
    answer = client.post("/v1/videos", files={"file": ("../name.mp4", video)}, params={"prior": "training"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"]
    Job.model_validate(job)
    events = follow(client, job)
    assert events[-1][0] == "done"
    last = events[-1][1]
    assert (last["frames_done"], last["frames_total"], last["state"]) == (12, 12, "done")
    assert last == client.get(job["links"]["self"]).json()
    assert len(last["tracks"]) == 1

    (tmp_path / "video.mp4").write_bytes(video)
    output = tmp_path / "r.jsonl"
    words = [str(tmp_path / "video.mp4"), "--output-json", str(output), "--output-csv", str(tmp_path / "r.csv")]
    assert predict([*words, "--prior", "training", "--quiet"]) == 0
    folder = f"{tmp_path}/"
    records = client.get(last["links"]["result.jsonl"])
    assert records.headers["content-type"] == "application/jsonl"
    assert records.text == output.read_text().replace(folder, "")
    assert client.get(last["links"]["result.csv"]).text == (tmp_path / "r.csv").read_text().replace(folder, "")
    # The video itself is gone, and the result is, once it is deleted.
    assert {path.name for path in service.folder.rglob("*.*") if path.is_file()} <= {*("result.jsonl", "result.csv")}
    assert client.delete(job["links"]["self"]).status_code == 204
    assert_problem(client.get(job["links"]["self"]), 404)
    assert not list(service.folder.rglob(job["id"]))
    assert "name.mp4" not in service.log


def test_raw_animation_is_a_video(client, photo_array):
    import io

    from PIL import Image

    file = io.BytesIO()
    frames = [Image.fromarray(np.roll(photo_array, 5 * i, axis=1)) for i in range(4)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=100)
    job = client.post("/v1/videos", content=file.getvalue(), headers={"Content-Type": "image/gif"}).json()
    assert follow(client, job)[-1][1]["frames_done"] == 4


def test_deleting_kills_a_job(service, client, long_video):
    job = client.post("/v1/videos", content=long_video).json()
    assert_problem(client.get(f"{job['links']['self']}/result.csv"), 409)
    while not client.get(job["links"]["self"]).json()["frames_done"]:
        time.sleep(0.05)
    children = children_of(service.process.pid)
    assert children
    assert client.delete(job["links"]["self"]).status_code == 204
    state = client.get(job["links"]["self"]).json()
    assert state["state"] == "cancelled"
    assert_problem(client.get(f"{job['links']['self']}/result.csv"), 404)
    assert not set(children) & set(children_of(service.process.pid))
    assert not list(service.folder.rglob(job["id"]))


def test_killed_process_is_a_failed_job(service, client, long_video):
    job = client.post("/v1/videos", content=long_video).json()
    while not client.get(job["links"]["self"]).json()["frames_done"]:
        time.sleep(0.05)
    for pid in children_of(service.process.pid):
        os.kill(pid, signal.SIGKILL)
    failed = wait_for(client, job, "failed")
    assert failed["error"] == "The process was killed (signal 9)."
    assert client.get("/health/ready").status_code == 200
    client.delete(job["links"]["self"])


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"


@pytest.mark.parametrize("content", [b"not a video", PLAYLIST, CONCAT], ids=["text", "playlist", "list of files"])
def test_files_that_are_no_videos_fail(client, content):
    job = client.post("/v1/videos", content=content).json()
    failed = wait_for(client, job, "failed")
    assert failed["error"].startswith("video.mp4: ")
    assert failed["frames_done"] == 0
    client.delete(job["links"]["self"])


def test_lists_of_files_are_not_followed(video, tmp_path):
    async def can_open(name: str) -> str:
        code = f"import cv2; print(cv2.VideoCapture({name!r}, cv2.CAP_FFMPEG).isOpened())"
        async with Child(("-c", code), tmp_path, max_seconds=60) as child:
            assert await child.wait(60)
            return (await child.check()).strip()

    (tmp_path / "video.mp4").write_bytes(video)
    # FFmpeg would play the video from this list, if the reader let it pass.
    (tmp_path / "list.mp4").write_bytes(b"ffconcat version 1.0\nfile video.mp4\n")
    assert asyncio.run(can_open("video.mp4")) == "True"
    assert asyncio.run(can_open("list.mp4")) == "False"


def test_truncated_video_keeps_its_frames(client, cut_video):
    job = client.post("/v1/videos", content=cut_video.read_bytes()).json()
    failed = wait_for(client, job, "failed", "done")
    assert failed["state"] == "failed"
    client.delete(job["links"]["self"])


def test_empty_video_is_refused(service, client):
    assert_problem(client.post("/v1/videos", content=b""), 400)
    assert_problem(client.post("/v1/videos", files={"file": ("v.mp4", b"")}), 400)
    assert not list(service.folder.rglob("video*"))


@pytest.mark.long
def test_full_disk_is_a_problem(long_video):
    # A limit for the size of a file gives the same errors as a full disk.
    with run_service(max_file_size=200_000) as service, service.client() as client:
        assert_problem(client.post("/v1/videos", content=bytes(5_000_000)), 507)
        assert_problem(client.post("/v1/videos", files={"file": ("v.mp4", bytes(5_000_000))}), 507)
        assert not list(service.folder.rglob("video*"))
    with run_service(max_file_size=len(long_video) + 1000) as service, service.client() as client:
        job = client.post("/v1/videos", content=long_video).json()
        failed = wait_for(client, job, "failed", "done")
        assert "cannot be written (File too large)" in failed["error"]
        assert client.get("/health/ready").status_code == 200
        assert "Traceback" not in service.log


@pytest.mark.long
def test_limits_of_videos(long_video, video):
    options = ("--max-video-seconds", "10", "--max-video-pixels", "100000", "--max-video-mb", "20")
    with run_service(*options, "--jobs", "1", "--max-waiting-jobs", "1") as service, service.client() as client:
        assert_problem(client.post("/v1/videos", content=bytes(21_000_000)), 413)
        large = wait_for(client, client.post("/v1/videos", content=video).json(), "failed")
        assert large["error"] == "The video has 400 x 400 pixels; the limit is 100,000 pixels."
    with run_service("--max-video-seconds", "10") as service, service.client() as client:
        long = wait_for(client, client.post("/v1/videos", content=long_video).json(), "failed")
        assert long["error"] == "The video is longer than 10 seconds."


@pytest.mark.long
def test_too_many_jobs_are_refused_and_shutdown_kills_them(long_video):
    options = ("--jobs", "1", "--max-waiting-jobs", "1", "--keep-seconds", "0")
    with run_service(*options) as service, service.client() as client:
        jobs = [client.post("/v1/videos", content=long_video).json() for _ in range(2)]
        refused = client.post("/v1/videos", content=long_video)
        assert_problem(refused, 503)
        assert int(refused.headers["retry-after"]) > 0
        wait_for(client, jobs[0], "running")
        assert client.get(jobs[1]["links"]["self"]).json()["state"] == "queued"
        client.delete(jobs[1]["links"]["self"])
        assert_problem(client.get(jobs[1]["links"]["self"]), 404)
        children = children_of(service.process.pid)
        assert children
        assert service.stop() == 0
        assert list(service.folder.iterdir()) == []
        for pid in children:
            assert not Path(f"/proc/{pid}").exists()


@pytest.mark.long
def test_job_ends_with_a_killed_service(long_video):
    with run_service() as service, service.client() as client:
        job = client.post("/v1/videos", content=long_video).json()
        while not client.get(job["links"]["self"]).json()["frames_done"]:
            time.sleep(0.05)
        (child,) = children_of(service.process.pid)
        service.stop(signal.SIGKILL)
        for _ in range(100):
            if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the video job still runs")
        assert list(service.folder.rglob("video*"))


def test_folder_of_a_killed_service_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    running = WorkFolder()
    abandoned = tmp_path / "ferlib-serve-abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "video.mp4").touch()
    other = WorkFolder()
    assert not abandoned.exists()
    assert running.path.exists()
    assert (other.path.stat().st_mode & 0o777) == 0o700
    running.close()
    other.close()
    assert list(tmp_path.iterdir()) == []
