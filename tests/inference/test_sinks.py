import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.faces import Face
from ferlib.inference import UNCERTAIN, FaceEmotion, ImageResult, ResultFiles, display_path, face_rows, image_record


def found(x, emotion, landmarks=None, person=None):
    probabilities = {name: 0.7 if name == emotion else 0.05 for name in EMOTIONS}
    return FaceEmotion(Face((x, 2, 30, 40), 0.987, landmarks), emotion, 0.7, probabilities, person)


@pytest.fixture
def results():
    pair = (found(1, "happy", {"nose": (5.5, 6.0)}), found(50, "sad"))
    return [
        ImageResult(Path("a, b.jpg"), (100, 200), pair),
        ImageResult(Path("empty.png"), (10, 20), ()),
        ImageResult(Path("c.png"), (60, 90), (found(7, "happy"),)),
    ]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(results, class_names=EMOTIONS, **paths):
    with ResultFiles(class_names, **paths) as files:
        for result in results:
            files.add(image_record(result))
    return files


def test_faces_csv_has_a_row_per_face(tmp_path, results):
    write(results, faces_csv=tmp_path / "faces.csv")
    rows = read_csv(tmp_path / "faces.csv")
    assert list(rows[0]) == [
        *("file", "frame", "time", "face", "x", "y", "width", "height", "confidence", "emotion", "probability"),
        *(f"p_{name}" for name in EMOTIONS),
    ]
    assert [(row["file"], row["frame"], row["face"], row["emotion"]) for row in rows] == [
        ("a, b.jpg", "", "1", "happy"),
        ("a, b.jpg", "", "2", "sad"),
        ("c.png", "", "1", "happy"),
    ]
    assert [rows[1][name] for name in ("x", "y", "width", "height")] == ["50", "2", "30", "40"]
    assert float(rows[1]["confidence"]) == 0.987
    assert float(rows[1]["probability"]) == float(rows[1]["p_sad"]) == 0.7
    assert sum(float(rows[1][f"p_{name}"]) for name in EMOTIONS) == pytest.approx(1)


def test_a_frame_says_when_and_who(tmp_path):
    frame = ImageResult(Path("v.mp4"), (9, 9), (found(0, "sad", person=4),), frame=12, time=0.48)
    write([frame], faces_csv=tmp_path / "f.csv", json_lines=tmp_path / "f.json")
    (row,) = read_csv(tmp_path / "f.csv")
    assert (row["frame"], row["time"], row["face"]) == ("12", "0.48", "4")
    record = json.loads((tmp_path / "f.json").read_text())
    assert (record["frame"], record["time"], record["faces"][0]["person"]) == (12, 0.48, 4)


def test_faces_csv_without_a_face_is_its_header(tmp_path):
    write([], ("happy", "sad"), faces_csv=tmp_path / "faces.csv")
    header = "file,frame,time,face,x,y,width,height,confidence,emotion,probability,p_happy,p_sad\n"
    assert (tmp_path / "faces.csv").read_text() == header


def test_counts_csv_lists_all_seven_emotions(tmp_path, results):
    write(results, counts_csv=tmp_path / "counts.csv")
    rows = read_csv(tmp_path / "counts.csv")
    assert [row["emotion"] for row in rows] == list(EMOTIONS)
    assert {row["emotion"]: int(row["count"]) for row in rows if row["count"] != "0"} == {"happy": 2, "sad": 1}
    doubtful = ImageResult(Path("d.png"), (9, 9), (found(0, UNCERTAIN),))
    assert write([doubtful]).count_emotions() == dict.fromkeys(EMOTIONS, 0) | {UNCERTAIN: 1}


def test_json_has_a_line_per_image(tmp_path, results):
    write(results, json_lines=tmp_path / "faces.json")
    first, empty, _ = map(json.loads, (tmp_path / "faces.json").read_text().splitlines())
    assert (first["file"], first["width"], first["height"]) == ("a, b.jpg", 200, 100)
    assert first["faces"][0]["box"] == [1, 2, 30, 40]
    assert first["faces"][0]["landmarks"] == {"nose": [5.5, 6.0]}
    assert first["faces"][0]["probabilities"]["happy"] == first["faces"][0]["probability"] == 0.7
    assert first["faces"][1]["landmarks"] is None
    assert empty["faces"] == []


def test_rows_make_a_data_frame(results):
    frame = pd.DataFrame([row for result in results for row in face_rows(image_record(result))])
    assert frame.groupby("file")["x"].max().to_dict() == {"a, b.jpg": 50, "c.png": 7}


def test_a_file_name_that_is_no_utf8_can_be_written(tmp_path):
    path = Path("caf\udce9.jpg")
    assert display_path(path) == "caf\ufffd.jpg"
    write([ImageResult(path, (9, 9), (found(0, "sad"),))], faces_csv=tmp_path / "faces.csv")
    assert read_csv(tmp_path / "faces.csv")[0]["file"] == "caf\ufffd.jpg"


def test_what_was_written_until_an_error_is_kept(tmp_path, results):
    with pytest.raises(KeyboardInterrupt), ResultFiles(EMOTIONS, faces_csv=tmp_path / "f.csv") as files:
        files.add(image_record(results[0]))
        raise KeyboardInterrupt
    assert len(read_csv(tmp_path / "f.csv")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


@pytest.mark.parametrize("killed", [False, True])
def test_a_work_goes_on_where_it_ended(tmp_path, results, killed):
    paths = {name: tmp_path / name for name in ("faces_csv", "json_lines", "counts_csv")}
    video = [ImageResult(Path("v.mp4"), (9, 9), (found(0, "sad", person=1),), frame=n, time=0.0) for n in range(2)]
    first = ResultFiles(EMOTIONS, **paths).__enter__()
    for result in [*results[:2], *video]:
        first.add(image_record(result))
    first.add({"file": "bad.jpg", "error": "it is bad"})
    if killed:
        # A process that is killed leaves the growing files, perhaps with half a line.
        for file in first._files.values():
            file.close()
        with (tmp_path / "json_lines.part").open("a") as file:
            file.write('{"file": "c.p')
    else:
        first.__exit__(None, None, None)
    with ResultFiles(EMOTIONS, resume=True, **paths) as files:
        # Half a video and what failed are done anew.
        assert files.done == {"a, b.jpg", "empty.png"}
        files.add(image_record(results[2]))
    whole = {name: tmp_path / f"whole_{name}" for name in paths}
    write(results, **whole)
    for name, path in paths.items():
        assert path.read_text() == whole[name].read_text()


def test_a_finished_video_is_done(tmp_path):
    with ResultFiles(EMOTIONS, json_lines=tmp_path / "f.json") as files:
        files.add(image_record(ImageResult(Path("v.mp4"), (9, 9), (), frame=0, time=0.0)))
        files.add({"file": "v.mp4", "frames": 1, "people": []})
    assert ResultFiles(EMOTIONS, json_lines=tmp_path / "f.json", resume=True).done == {"v.mp4"}


def test_only_records_can_be_gone_on_with(tmp_path):
    (tmp_path / "f.json").write_text("not a record\n{}\n")
    with pytest.raises(FerlibError, match=r"f\.json, line 1: no record"):
        ResultFiles(EMOTIONS, json_lines=tmp_path / "f.json", resume=True)
