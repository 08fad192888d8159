"""`ferlib score --videos`: one row per video."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from albums import HOPPER, read_rows
from s3_server import serve_objects

from ferlib.core.emotions import EMOTIONS
from ferlib.core.images import read_image, resize
from ferlib.inference.video_batch import VideoScorer
from ferlib.predict import main as predict
from ferlib.scoring.storage import Storage
from ferlib.scoring.worker import Work, _score, _score_videos, _start
from ferlib.video import VideoWriter


@pytest.fixture
def clips(tmp_path, monkeypatch, cut_video):
    """The folder `clips`: a face that moves, frames without a face, a video that is cut off, and no video at all."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    photo = resize(read_image(HOPPER), (150, 128))
    with VideoWriter("clips/face.avi", rate=10) as writer:
        for number in range(12):
            scene = np.full((240, 320, 3), 90, np.uint8)
            scene[40:190, 60 + 5 * number : 188 + 5 * number] = photo
            writer.write(scene, number / 10)
    with VideoWriter("clips/gray.avi", rate=10) as writer:
        for number in range(5):
            writer.write(np.full((48, 64, 3), 90, np.uint8), number / 10)
    cut_video.rename("clips/cut.avi")
    Path("clips/none.mp4").write_text("not a video")
    return Path("clips")


def test_rows_are_the_summaries_of_predict(clips, run_score, tmp_path, capsys):
    assert run_score(clips, "--videos", "--output", "tracks") == 0
    assert "4 videos, 1 track, 2 errors\n" in capsys.readouterr().out
    rows = {row["path"]: row for row in read_rows("tracks")}
    predict([str(clips), "--output-json", "predicted.json", "--quiet"])
    records = [record for record in json.loads(Path("predicted.json").read_text()) if "frame" not in record]
    summaries = {record["file"]: record for record in records if "tracks" in record}
    errors = {record["file"]: record["error"] for record in records if "error" in record}
    assert set(rows) == set(summaries) | set(errors)
    assert {path: row["error"] for path, row in rows.items() if row["error"]} == errors
    for path, summary in summaries.items():
        row = rows[path]
        for name in ("frames", "seconds", "prior", "detector", "model"):
            assert row[name] == summary[name], name
        assert row["sha256"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert len(row["tracks"]) == len(summary["tracks"])
        for track, expected in zip(row["tracks"], summary["tracks"], strict=True):
            timeline = track.pop("timeline")
            assert track.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=2e-5)
            assert track == expected
            assert len(timeline) == track["frames"]
            assert [point["time"] for point in timeline] == sorted(point["time"] for point in timeline)
            assert sum(timeline[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert (rows["clips/face.avi"]["width"], rows["clips/face.avi"]["height"]) == (320, 240)
    assert rows["clips/gray.avi"]["tracks"] == []
    assert rows["clips/none.mp4"]["tracks"] is None


def test_a_process_scores_what_it_was_prepared_for(clips):
    names = {"class_names": EMOTIONS, "origin": {}}
    _start(Work(videos=True, scorer={"detector": "none", "every": 0.2}, **names))
    assert [record["frames"] for record in _score(["clips/gray.avi", "clips/none.mp4"])] == [3, None]
    _start(Work(videos=False, scorer={"detector": "none"}, **names))
    assert [record["error"] is None for record in _score([str(HOPPER), "clips/none.mp4", "missing.png"])] == [
        True,
        False,
        False,
    ]


def test_frames_can_be_left_out(clips, run_score):
    run_score("clips/gray.avi", "--videos", "--every", "0.2", "--output", "tracks", "--detector", "none")
    [row] = read_rows("tracks")
    assert (row["frames"], row["seconds"]) == (3, 0.4)


def test_videos_of_an_object_store_are_copied_first(clips, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serve_objects() as store:
        store.objects["clips/a b.avi"] = Path("clips/gray.avi").read_bytes()
        store.objects["clips/none.mp4"] = b"not a video"
        options = {"s3": f"region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{store.server_port}"}
        paths = ["s3://clips/a b.avi", "s3://clips/none.mp4", "s3://clips/missing.avi"]
        records = _score_videos(VideoScorer(detector="none"), Storage(options), paths)
    assert [record["path"] for record in records] == paths
    assert records[0]["frames"] == 5
    assert records[1]["error"].startswith("s3://clips/none.mp4: ")
    assert records[2]["error"] == "s3://clips/missing.avi: there is no such file."
