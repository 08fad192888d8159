import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from ferlib.emotions import EMOTIONS
from ferlib.faces import Face
from ferlib.inference import (
    FaceEmotion,
    PictureResult,
    count_emotions,
    display_path,
    face_rows,
    picture_record,
    write_counts_csv,
    write_faces_csv,
    write_json_lines,
)


def found(x, emotion, landmarks=None):
    probabilities = {name: 0.7 if name == emotion else 0.05 for name in EMOTIONS}
    return FaceEmotion(Face((x, 2, 30, 40), 0.987, landmarks), emotion, 0.7, probabilities)


@pytest.fixture
def results():
    pair = (found(1, "happy", {"nose": (5.5, 6.0)}), found(50, "sad"))
    return [
        PictureResult(Path("a, b.jpg"), (100, 200), pair),
        PictureResult(Path("empty.png"), (10, 20), ()),
        PictureResult(Path("c.png"), (60, 90), (found(7, "happy"),)),
    ]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_faces_csv_has_a_row_per_face(tmp_path, results):
    write_faces_csv(tmp_path / "faces.csv", results, EMOTIONS)
    rows = read_csv(tmp_path / "faces.csv")
    assert list(rows[0]) == [
        *("file", "face", "x", "y", "width", "height", "confidence", "emotion", "probability"),
        *(f"p_{name}" for name in EMOTIONS),
    ]
    assert [(row["file"], row["face"], row["emotion"]) for row in rows] == [
        ("a, b.jpg", "1", "happy"),
        ("a, b.jpg", "2", "sad"),
        ("c.png", "1", "happy"),
    ]
    assert [rows[1][name] for name in ("x", "y", "width", "height")] == ["50", "2", "30", "40"]
    assert float(rows[1]["confidence"]) == 0.987
    assert float(rows[1]["probability"]) == float(rows[1]["p_sad"]) == 0.7
    assert sum(float(rows[1][f"p_{name}"]) for name in EMOTIONS) == pytest.approx(1)


def test_faces_csv_without_a_face_is_its_header(tmp_path):
    write_faces_csv(tmp_path / "faces.csv", [], ("happy", "sad"))
    header = "file,face,x,y,width,height,confidence,emotion,probability,p_happy,p_sad\n"
    assert (tmp_path / "faces.csv").read_text() == header


def test_counts_csv_lists_all_seven_emotions(tmp_path, results):
    write_counts_csv(tmp_path / "counts.csv", results)
    rows = read_csv(tmp_path / "counts.csv")
    assert [row["emotion"] for row in rows] == list(EMOTIONS)
    assert {row["emotion"]: int(row["count"]) for row in rows if row["count"] != "0"} == {"happy": 2, "sad": 1}
    assert count_emotions([]) == dict.fromkeys(EMOTIONS, 0)


def test_json_has_a_line_per_picture(tmp_path, results):
    write_json_lines(tmp_path / "faces.json", map(picture_record, results))
    first, empty, _ = map(json.loads, (tmp_path / "faces.json").read_text().splitlines())
    assert (first["file"], first["width"], first["height"]) == ("a, b.jpg", 200, 100)
    assert first["faces"][0]["box"] == [1, 2, 30, 40]
    assert first["faces"][0]["landmarks"] == {"nose": [5.5, 6.0]}
    assert first["faces"][0]["probabilities"]["happy"] == first["faces"][0]["probability"] == 0.7
    assert first["faces"][1]["landmarks"] is None
    assert empty["faces"] == []


def test_rows_make_a_data_frame(results):
    frame = pd.DataFrame(face_rows(results))
    assert frame.groupby("file")["x"].max().to_dict() == {"a, b.jpg": 50, "c.png": 7}


def test_a_file_name_that_is_no_utf8_can_be_written(tmp_path):
    path = Path("caf\udce9.jpg")
    assert display_path(path) == "caf\ufffd.jpg"
    write_faces_csv(tmp_path / "faces.csv", [PictureResult(path, (9, 9), (found(0, "sad"),))], EMOTIONS)
    assert read_csv(tmp_path / "faces.csv")[0]["file"] == "caf\ufffd.jpg"
