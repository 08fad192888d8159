"""Records and the files to which they are streamed."""

import contextlib
import csv
import json
from pathlib import Path

import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.faces import Face
from ferlib.inference import UNCERTAIN, CountsSink, CsvSink, FaceEmotion, ImageResult, JsonSink
from ferlib.inference.results import display_path, image_record
from ferlib.inference.sinks import read_finished


def found(x, emotion, landmarks=None, track_id=None):
    probabilities = {name: 0.7 if name == emotion else 0.05 for name in EMOTIONS}
    return FaceEmotion(Face((x, 2, 30, 40), 0.987, landmarks), emotion, 0.7, probabilities, track_id)


def frame(number, *faces):
    return ImageResult(Path("v.mp4"), (9, 9), faces, frame=number, time=0.04 * number)


@pytest.fixture
def results():
    pair = (found(1, "happy", {"nose": (5.5, 6.0)}), found(50, "sad"))
    return [
        ImageResult(Path("a, b.jpg"), (100, 200), pair, prior="photographs"),
        ImageResult(Path("empty.png"), (10, 20), ()),
        ImageResult(Path("c.png"), (60, 90), (found(7, "happy"),)),
    ]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(sink, results):
    with sink:
        for result in results:
            sink.write(image_record(result))
    return sink


def test_csv_has_one_row_per_face(tmp_path, results):
    write(CsvSink(tmp_path / "faces.csv", EMOTIONS), results)
    rows = read_csv(tmp_path / "faces.csv")
    assert list(rows[0]) == [
        *("file", "frame", "time", "face", "x", "y", "width", "height", "confidence", "emotion", "probability"),
        *(f"p_{name}" for name in EMOTIONS),
        "prior",
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
    assert [row["prior"] for row in rows] == ["photographs", "photographs", ""]


def test_csv_without_a_face_has_a_header(tmp_path):
    write(CsvSink(tmp_path / "faces.csv", ("happy", "sad")), [])
    header = "file,frame,time,face,x,y,width,height,confidence,emotion,probability,p_happy,p_sad,prior\n"
    assert (tmp_path / "faces.csv").read_text() == header


def test_frames_have_a_time_and_track_ids(tmp_path):
    result = frame(12, found(0, "sad", track_id=4))
    write(CsvSink(tmp_path / "f.csv", EMOTIONS), [result])
    write(JsonSink(tmp_path / "f.jsonl"), [result])
    (row,) = read_csv(tmp_path / "f.csv")
    assert (row["frame"], row["time"], row["face"]) == ("12", "0.48", "4")
    record = json.loads((tmp_path / "f.jsonl").read_text())
    assert (record["frame"], record["time"], record["faces"][0]["track_id"]) == (12, 0.48, 4)


def test_counts_list_all_seven_emotions(tmp_path, results):
    sink = write(CountsSink(tmp_path / "counts.csv"), results)
    rows = read_csv(tmp_path / "counts.csv")
    assert [row["emotion"] for row in rows] == list(EMOTIONS)
    assert {row["emotion"]: int(row["count"]) for row in rows} == sink.counts
    assert {name: n for name, n in sink.counts.items() if n} == {"happy": 2, "sad": 1}


def test_uncertain_faces_are_counted_apart():
    uncertain = ImageResult(Path("d.png"), (9, 9), (found(0, UNCERTAIN),))
    assert write(CountsSink(), [uncertain]).counts == dict.fromkeys(EMOTIONS, 0) | {UNCERTAIN: 1}


def test_json_lines_have_one_line_per_image(tmp_path, results):
    write(JsonSink(tmp_path / "faces.jsonl"), results)
    first, empty, _ = map(json.loads, (tmp_path / "faces.jsonl").read_text().splitlines())
    assert (first["file"], first["width"], first["height"]) == ("a, b.jpg", 200, 100)
    assert first["faces"][0]["box"] == [1, 2, 30, 40]
    assert first["faces"][0]["landmarks"] == {"nose": [5.5, 6.0]}
    assert first["faces"][0]["probabilities"]["happy"] == first["faces"][0]["probability"] == 0.7
    assert first["faces"][1]["landmarks"] is None
    assert "track_id" not in first["faces"][0]
    assert empty["faces"] == []


@pytest.mark.parametrize("n_records", [0, 1, 3])
def test_json_is_one_document(tmp_path, results, n_records):
    write(JsonSink(tmp_path / "faces.json"), results[:n_records])
    records = json.loads((tmp_path / "faces.json").read_text())
    assert records == [json.loads(json.dumps(image_record(result))) for result in results[:n_records]]
    with pytest.raises(KeyboardInterrupt), JsonSink(tmp_path / "cut.json") as sink:
        sink.write(image_record(results[0]))
        raise KeyboardInterrupt
    assert len(json.loads((tmp_path / "cut.json").read_text())) == 1


def test_images_without_a_face_may_have_rows(tmp_path, results):
    write(CsvSink(tmp_path / "f.csv", EMOTIONS, empty_rows=True), [*results, frame(3)])
    rows = read_csv(tmp_path / "f.csv")
    assert [(row["file"], row["face"], row["emotion"]) for row in rows if not row["face"]] == [
        ("empty.png", "", ""),
        ("v.mp4", "", ""),
    ]
    assert (rows[-1]["frame"], rows[-1]["time"], rows[-1]["x"]) == ("3", "0.12", "")
    # A file that cannot be read is not one without a face.
    write(CsvSink(tmp_path / "g.csv", EMOTIONS, empty_rows=True), [])
    with CsvSink(tmp_path / "h.csv", EMOTIONS, empty_rows=True) as sink:
        sink.write({"file": "bad.jpg", "error": "it is damaged"})
        sink.write({"file": "v.mp4", "frames": 4, "tracks": []})
    assert read_csv(tmp_path / "h.csv") == []


def test_spreadsheets_get_utf8_and_no_formulas(tmp_path):
    names = ["\u0444\u0430\u0439\u043b, 1.jpg", "=1+1.jpg", " @SUM(A1).jpg", "-2.jpg", 'a "b".jpg']
    with CsvSink(tmp_path / "f.csv", EMOTIONS, spreadsheet=True) as sink:
        for name in names:
            sink.write(image_record(ImageResult(Path(name), (9, 9), (found(0, "sad"),))))
    with (tmp_path / "f.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [names[0], "'=1+1.jpg", "' @SUM(A1).jpg", "'-2.jpg", names[4]]
    assert float(rows[0]["p_sad"]) == 0.7
    assert (tmp_path / "f.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_classes_of_other_models_are_counted(tmp_path):
    faces = tuple(FaceEmotion(Face((0, 0, 9, 9), 1.0), name, 0.9, {}) for name in ("positive", "positive", "a, b"))
    write(CountsSink(tmp_path / "c.csv", ("negative", "positive", "a, b")), [ImageResult(Path("a.jpg"), (9, 9), faces)])
    counts = {row["emotion"]: row["count"] for row in read_csv(tmp_path / "c.csv")}
    assert counts == {"negative": "0", "positive": "2", "a, b": "1"}


def test_file_names_that_are_not_utf8_are_written(tmp_path):
    path = Path("caf\udce9.jpg")
    assert display_path(path) == "caf\ufffd.jpg"
    write(CsvSink(tmp_path / "faces.csv", EMOTIONS), [ImageResult(path, (9, 9), (found(0, "sad"),))])
    assert read_csv(tmp_path / "faces.csv")[0]["file"] == "caf\ufffd.jpg"


def test_rows_before_an_interrupt_are_kept(tmp_path, results):
    with pytest.raises(KeyboardInterrupt), CsvSink(tmp_path / "f.csv", EMOTIONS) as sink:
        sink.write(image_record(results[0]))
        raise KeyboardInterrupt
    assert len(read_csv(tmp_path / "f.csv")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


def test_a_file_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FerlibError, match=r"f\.csv cannot be written"):
        CsvSink(tmp_path / "file/f.csv", EMOTIONS).__enter__()


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("killed", [False, True])
def test_finished_files_are_read_back(tmp_path, results, killed, suffix):
    path = tmp_path / f"f.{suffix}"
    with contextlib.ExitStack() as stack:
        sink = JsonSink(path).__enter__()
        for result in [*results[:2], frame(0), frame(1)]:
            sink.write(image_record(result))
        sink.write({"file": "bad.jpg", "error": "it is damaged"})
        if killed:
            # A killed process leaves the growing file, perhaps with an incomplete line.
            stack.enter_context(contextlib.closing(sink._file))
            sink._file.write(',\n{"file": "c.p' if suffix == "json" else '{"file": "c.p')
        else:
            sink.__exit__(None, None, None)
    # Failures and incomplete videos are repeated.
    assert read_finished(path) == [json.loads(json.dumps(image_record(result))) for result in results[:2]]


def test_a_call_killed_while_resuming_loses_nothing(tmp_path, results):
    write(JsonSink(tmp_path / "f.json"), results)
    (tmp_path / "f.json.part").write_text(json.dumps(image_record(results[0])) + "\n")
    assert [record["file"] for record in read_finished(tmp_path / "f.json")] == ["a, b.jpg", "empty.png", "c.png"]


def test_a_video_is_finished_with_its_summary(tmp_path):
    with JsonSink(tmp_path / "f.json") as sink:
        sink.write(image_record(frame(0)))
        sink.write({"file": "v.mp4", "frames": 1, "tracks": []})
    assert len(read_finished(tmp_path / "f.json")) == 2


def test_only_records_can_be_resumed(tmp_path):
    assert read_finished(tmp_path / "missing.json") == []
    (tmp_path / "f.json").write_text("not a record\n{}\n")
    with pytest.raises(FerlibError, match=r"f\.json, line 1: not a record"):
        read_finished(tmp_path / "f.json")
