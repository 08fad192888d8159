import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ferlib.emotions import EMOTIONS
from ferlib.errors import ArtifactError, FerlibError
from ferlib.images import read_picture
from ferlib.predict import main

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
HOPPER_BOX = (178, 110, 173, 220)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run folder whose small network tells dark pictures (angry) from bright ones (neutral)."""
    folder = tmp_path_factory.mktemp("run")
    config = {"model": "brightness", "class_names": EMOTIONS, "image_size": [48, 48], "channels": 1}
    (folder / "config.json").write_text(json.dumps(config))
    weights = np.linspace(-1, 1, 7, dtype=np.float32)[np.newaxis]
    constants = {"flat": np.array([-1, 48 * 48]), "middle": np.array([127.5], np.float32), "weights": weights}
    constants["mean"] = np.full((48 * 48, 1), 1 / 48**2, np.float32)
    nodes = [
        helper.make_node("Reshape", ["images", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "mean"], ["levels"]),
        helper.make_node("Sub", ["levels", "middle"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 48, 48, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 7])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder


@pytest.fixture
def predict(run_dir):
    """The command with the small network."""
    return lambda *arguments: main([*map(str, arguments), "--run", str(run_dir)])


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_box(row):
    return tuple(int(row[name]) for name in ("x", "y", "width", "height"))


def iou(a, b):
    width = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def save(path, shape=(40, 60, 3), level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, level, np.uint8)).save(path)
    return path


def test_a_photograph_gives_its_face_and_every_output(predict, tmp_path, capsys):
    outputs = {name: tmp_path / "new" / name for name in ("drawn.png", "faces.csv", "counts.csv", "faces.json")}
    drawn, faces, counts, record = outputs.values()
    status = predict(
        *(HOPPER, "--output-image", drawn, "--output-csv", faces, "--counts-csv", counts, "--output-json", record)
    )
    assert status == 0
    (row,) = read_csv(faces)
    assert iou(read_box(row), HOPPER_BOX) >= 0.6
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert str(HOPPER) in line
    assert str(list(read_box(row))) in line
    assert f"{row['emotion']}, probability {float(row['probability']):.3f}" in line
    assert all(str(path) in err for path in outputs.values())
    assert {item["emotion"]: int(item["count"]) for item in read_csv(counts)} == {
        emotion: int(emotion == row["emotion"]) for emotion in EMOTIONS
    }
    picture = json.loads(record.read_text())
    assert (picture["width"], picture["height"], picture["detector"], picture["model"]) == (
        512,
        600,
        "mtcnn",
        "brightness",
    )
    assert picture["faces"][0]["box"] == list(read_box(row))
    assert set(picture["faces"][0]["landmarks"]) == {"left_eye", "right_eye", "nose", "mouth_left", "mouth_right"}
    assert read_picture(drawn).shape == (600, 512, 3)
    changed = (read_picture(drawn) != read_picture(HOPPER)).any(axis=-1)
    assert 0.005 < changed.mean() < 0.1


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_stored_turned_gives_the_same_upright_face(orientation, predict, tmp_path):
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpose that undoes how the camera was held
    with Image.open(HOPPER) as picture:
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.transpose(Image.Transpose(turn[orientation])).save(tmp_path / "turned.png", exif=exif)
    predict(tmp_path / "turned.png", "--output-csv", tmp_path / "t.csv", "--output-image", tmp_path / "drawn.png")
    (row,) = read_csv(tmp_path / "t.csv")
    assert read_box(row) == HOPPER_BOX
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (512, 600)
        assert not drawn.getexif()


def test_what_is_no_picture_is_named_and_the_others_are_done(predict, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "empty").mkdir()
    good = save(tmp_path / "good.png", level=255)
    inputs = [tmp_path / "text.jpg", tmp_path / "empty", good, tmp_path / "missing.jpg"]
    status = predict(
        *inputs, "--detector", "none", "--output-csv", tmp_path / "f.csv", "--output-json", tmp_path / "f.json"
    )
    assert status == 1
    out, err = capsys.readouterr()
    assert f"{good}: face 1, box [0, 0, 60, 40], neutral, probability 1.000" in out
    for path, reason in [
        ("text.jpg", "not a readable picture"),
        ("empty", "no picture"),
        ("missing.jpg", "no such file"),
    ]:
        assert any(str(tmp_path / path) in line and reason in line for line in err.splitlines())
    assert [row["file"] for row in read_csv(tmp_path / "f.csv")] == [str(good)]
    records = [json.loads(line) for line in (tmp_path / "f.json").read_text().splitlines()]
    assert sorted(record["file"] for record in records if "error" in record) == sorted(map(str, set(inputs) - {good}))


def test_a_picture_without_a_face_is_no_error(predict, tmp_path, capsys):
    plain = save(tmp_path / "plain.png", (200, 300, 3), level=90)
    drawn, table, counts = tmp_path / "drawn.png", tmp_path / "f.csv", tmp_path / "c.csv"
    status = predict(
        *(plain, "--detector", "haar", "--output-image", drawn, "--output-csv", table, "--counts-csv", counts)
    )
    assert status == 0
    assert capsys.readouterr().out == f"{plain}: no face found.\n"
    assert read_csv(table) == []
    assert [row["count"] for row in read_csv(counts)] == ["0"] * 7
    np.testing.assert_array_equal(read_picture(drawn), read_picture(plain))


def test_folders_are_searched_and_annotated_into_a_folder(predict, tmp_path, capsys):
    for name, level in [("b.png", 0), ("a.jpg", 255), ("trip/a.jpg", 0)]:
        save(tmp_path / "album" / name, level=level)
    status = predict(tmp_path / "album", "--detector", "none", "--output-image", tmp_path / "album/drawn")
    assert status == 0
    out = capsys.readouterr().out.splitlines()
    names = ["a.jpg", "b.png", "trip/a.jpg"]
    assert [line.split(":")[0] for line in out[:3]] == [str(tmp_path / "album" / name) for name in names]
    assert out[3] == "3 pictures, 3 faces: angry 2, neutral 1"
    for name in names:
        assert read_picture(tmp_path / "album/drawn" / name).shape == (40, 60, 3)
    predict(tmp_path / "album", "--detector", "none", "--output-image", tmp_path / "album/drawn")
    assert capsys.readouterr().out.splitlines() == out


def test_what_cannot_be_written_is_told_before_any_work(predict, tmp_path, capsys):
    picture = save(tmp_path / "a.png")
    before = picture.read_bytes()
    for arguments, sentence in [
        (["--output-image", picture], "not overwritten"),
        (["--output-image", tmp_path / "a.gif"], "pictures are not written as '.gif'"),
        (["--output-csv", picture / "f.csv"], "is a file, not a folder"),
        (["--output-csv", tmp_path / "f", "--output-json", tmp_path / "f"], "named for two outputs"),
        ([save(tmp_path / "b.png"), "--output-image", tmp_path / "c.png"], "name a folder"),
    ]:
        with pytest.raises(FerlibError, match=sentence):
            predict(picture, "--detector", "none", *arguments)
    assert capsys.readouterr().out == ""
    assert picture.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_missing_run_folder_is_told(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        main([str(save(tmp_path / "a.png")), "--run", str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    "arguments", [["--min-face-size", "0"], ["--margin", "-1"], ["--margin", "x"], ["--detector", "x"]]
)
def test_impossible_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["a.png", *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_the_margin_widens_what_the_emotion_is_read_from(predict, tmp_path):
    scene = np.full((600, 900, 3), 255, np.uint8)
    scene[:, :512] = read_picture(HOPPER)
    Image.fromarray(scene).save(tmp_path / "scene.png")
    rows = []
    for margin in (0, 2):
        predict(
            *(
                tmp_path / "scene.png",
                "--detector",
                "haar",
                "--margin",
                margin,
                "--output-csv",
                tmp_path / f"{margin}.csv",
            )
        )
        rows += read_csv(tmp_path / f"{margin}.csv")
    assert read_box(rows[0]) == read_box(rows[1])
    assert float(rows[0]["p_neutral"]) < float(rows[1]["p_neutral"])


def run_command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "ferlib.predict", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        **options,
    )


def test_help_and_haar_load_no_training_framework(run_dir):
    code = (
        "import sys; from ferlib.predict import main; main(sys.argv[1:]);"
        "assert not {'tensorflow', 'keras', 'mtcnn'} & set(sys.modules)"
    )
    arguments = [str(HOPPER), "--detector", "haar", "--run", str(run_dir)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "face 1" in done.stdout
    help_text, _ = run_command("--help").communicate()
    assert "examples:" in help_text


def test_the_delivered_model_reads_a_photograph(tmp_path):
    command = run_command(HOPPER, "--output-csv", tmp_path / "faces.csv")
    out, err = command.communicate()
    assert (command.returncode, err) == (0, f"wrote {tmp_path / 'faces.csv'}\n")
    (row,) = read_csv(tmp_path / "faces.csv")
    assert iou(read_box(row), HOPPER_BOX) >= 0.6
    assert out.startswith(f"{HOPPER}: face 1, box {list(read_box(row))}, {row['emotion']}, probability 0.")
    assert sum(float(row[f"p_{name}"]) for name in EMOTIONS) == pytest.approx(1, abs=1e-4)


def test_errors_are_one_line_and_a_status(tmp_path, run_dir):
    command = run_command(tmp_path / "missing.jpg", "--run", run_dir)
    out, err = command.communicate()
    assert (command.returncode, out) == (1, "")
    assert err == f"error: {tmp_path / 'missing.jpg'}: there is no such file.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_writes_what_was_done(tmp_path, run_dir):
    for number in range(200):
        (tmp_path / "album").mkdir(exist_ok=True)
        shutil.copy(HOPPER, tmp_path / f"album/{number:03d}.jpg")
    table = tmp_path / "faces.csv"
    command = run_command(tmp_path / "album", "--run", run_dir, "--detector", "haar", "--output-csv", table)
    first = command.stdout.readline()
    assert "000.jpg: face 1" in first
    command.send_signal(signal.SIGINT)
    _, err = command.communicate()
    assert command.returncode == 130
    assert err.endswith("stopped\n")
    assert 1 <= len(read_csv(table)) < 200
