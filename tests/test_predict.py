"""The command ``ferlib predict``."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ferlib.core.boxes import iou
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.images import read_image, resize
from ferlib.predict import main
from ferlib.runs.prior import PHOTOGRAPH_COUNTS
from ferlib.video import VideoWriter, open_video

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
HOPPER_BOX = (178, 110, 173, 220)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run folder whose small network calls dark images angry and bright ones neutral."""
    folder = tmp_path_factory.mktemp("run")
    config = {"model": "brightness", "kind": "cnn", "class_names": EMOTIONS, "image_size": [48, 48], "channels": 1}
    # Trained as if emotions were as frequent as in photographs, so that the default prior changes no probability.
    config |= {"schema_version": 2, "image_counts": {"train": PHOTOGRAPH_COUNTS}}
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


def save(path, shape=(40, 60, 3), level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, level, np.uint8)).save(path)
    return path


def test_a_photograph_with_every_output(predict, tmp_path, capsys):
    outputs = {name: tmp_path / "new" / name for name in ("drawn.png", "faces.csv", "counts.csv", "faces.jsonl")}
    drawn, faces, counts, record = outputs.values()
    tables = ("--output-csv", faces, "--output-counts", counts, "--output-json", record)
    status = predict(HOPPER, "--output-image", drawn, *tables)
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
    image = json.loads(record.read_text())
    assert (image["width"], image["height"], image["detector"], image["model"]) == (
        512,
        600,
        "mtcnn",
        "brightness",
    )
    assert image["faces"][0]["box"] == list(read_box(row))
    assert set(image["faces"][0]["landmarks"]) == {"left_eye", "right_eye", "nose", "mouth_left", "mouth_right"}
    assert read_image(drawn).shape == (600, 512, 3)
    changed = (read_image(drawn) != read_image(HOPPER)).any(axis=-1)
    assert 0.005 < changed.mean() < 0.1


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied(orientation, predict, tmp_path):
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpose that undoes how the camera was held
    with Image.open(HOPPER) as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.transpose(Image.Transpose(turn[orientation])).save(tmp_path / "turned.png", exif=exif)
    predict(tmp_path / "turned.png", "--output-csv", tmp_path / "t.csv", "--output-image", tmp_path / "drawn.png")
    (row,) = read_csv(tmp_path / "t.csv")
    assert read_box(row) == HOPPER_BOX
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (512, 600)
        assert not drawn.getexif()


def test_unreadable_files_are_named_and_others_processed(predict, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("not an image")
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
        ("text.jpg", "not a readable image"),
        ("empty", "contains no image"),
        ("missing.jpg", "no such file"),
    ]:
        assert any(str(tmp_path / path) in line and reason in line for line in err.splitlines())
    assert [row["file"] for row in read_csv(tmp_path / "f.csv")] == [str(good)]
    records = json.loads((tmp_path / "f.json").read_text())
    assert sorted(record["file"] for record in records if "error" in record) == sorted(map(str, set(inputs) - {good}))


def test_an_image_without_a_face_is_not_an_error(predict, tmp_path, capsys):
    plain = save(tmp_path / "plain.png", (200, 300, 3), level=90)
    drawn, table, counts = tmp_path / "drawn.png", tmp_path / "f.csv", tmp_path / "c.csv"
    outputs = ("--output-image", drawn, "--output-csv", table, "--output-counts", counts)
    status = predict(plain, "--detector", "haar", *outputs)
    assert status == 0
    assert capsys.readouterr().out == f"{plain}: no face found.\n"
    assert read_csv(table) == []
    assert [row["count"] for row in read_csv(counts)] == ["0"] * 7
    np.testing.assert_array_equal(read_image(drawn), read_image(plain))


def test_folders_are_annotated_into_a_folder(predict, tmp_path, capsys):
    for name, level in [("b.png", 0), ("a.jpg", 255), ("trip/a.jpg", 0)]:
        save(tmp_path / "album" / name, level=level)
    status = predict(tmp_path / "album", "--detector", "none", "--output-image", tmp_path / "album/drawn")
    assert status == 0
    out = capsys.readouterr().out.splitlines()
    names = ["a.jpg", "b.png", "trip/a.jpg"]
    assert [line.split(":")[0] for line in out[:3]] == [str(tmp_path / "album" / name) for name in names]
    assert out[3] == "3 images, 3 faces: angry 2, neutral 1"
    for name in names:
        assert read_image(tmp_path / "album/drawn" / name).shape == (40, 60, 3)
    predict(tmp_path / "album", "--detector", "none", "--output-image", tmp_path / "album/drawn")
    assert capsys.readouterr().out.splitlines() == out


def test_turned_faces_are_found_if_asked_for(predict, tmp_path, capsys):
    turned = tmp_path / "turned.png"
    Image.open(HOPPER).rotate(90, expand=True).save(turned)
    assert predict(turned) == 0
    captured = capsys.readouterr()
    assert "turned.png: no face found." in captured.out
    assert "--rotate auto finds turned faces" in captured.err
    assert predict(turned, "--rotate", "auto", "--output-json", tmp_path / "faces.jsonl") == 0
    assert "--rotate" not in capsys.readouterr().err
    (face,) = json.loads((tmp_path / "faces.jsonl").read_text())["faces"]
    x, y, width, height = HOPPER_BOX
    assert iou(face["box"], (y, 512 - x - width, height, width)) > 0.9


def test_several_processes_write_the_same_files(predict, tmp_path, capsys):
    album = tmp_path / "album"
    album.mkdir()
    for number in range(4):
        Image.new("L", (60, 60), 80 * number).save(album / f"{number}.png")
    (album / "2.png").write_text("not an image")
    for workers in (1, 2):
        output = ("--output-csv", tmp_path / f"{workers}.csv", "--output-dir", tmp_path / str(workers))
        assert predict(album, "--detector", "none", "--workers", workers, "--threads", 2, *output) == 1
        assert sorted(path.name for path in (tmp_path / str(workers)).iterdir()) == ["0.png", "1.png", "3.png"]
        assert "2.png: not a readable image" in capsys.readouterr().err
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "2.csv").read_text()


def test_impossible_outputs_are_refused_first(predict, tmp_path, capsys):
    image = save(tmp_path / "a.png")
    before = image.read_bytes()
    for arguments, sentence in [
        (["--output-image", image], "not overwritten"),
        (["--output-image", tmp_path / "a.gif"], "images cannot be written as '.gif'"),
        (["--output-csv", image / "f.csv"], "is a file, not a folder"),
        (["--output-csv", tmp_path / "f", "--output-json", tmp_path / "f"], "named for two outputs"),
        ([save(tmp_path / "b.png"), "--output-image", tmp_path / "c.png"], "name a folder"),
    ]:
        with pytest.raises(OptionError, match=sentence):
            predict(image, "--detector", "none", *arguments)
    assert capsys.readouterr().out == ""
    assert image.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("words", [[""], ["a.png", ""]])
def test_an_empty_input_is_not_the_current_folder(words):
    with pytest.raises(OptionError, match="INPUT: expected a path, got ''"):
        main(words)


def test_a_missing_run_folder_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        main([str(save(tmp_path / "a.png")), "--run", str(tmp_path / "nowhere")])


def test_the_crop_margin_widens_the_crop(predict, tmp_path):
    scene = np.full((600, 900, 3), 255, np.uint8)
    scene[:, :512] = read_image(HOPPER)
    Image.fromarray(scene).save(tmp_path / "scene.png")
    rows = []
    for margin in (0, 2):
        table = tmp_path / f"{margin}.csv"
        predict(tmp_path / "scene.png", "--detector", "haar", "--crop-margin", margin, "--output-csv", table)
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


def test_prediction_loads_no_training_framework(run_dir):
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


def test_the_pretrained_model_is_the_default(tmp_path):
    command = run_command(HOPPER, "--output-csv", tmp_path / "faces.csv")
    out, err = command.communicate()
    assert (command.returncode, err) == (0, f"wrote {tmp_path / 'faces.csv'}\n")
    (row,) = read_csv(tmp_path / "faces.csv")
    assert iou(read_box(row), HOPPER_BOX) >= 0.6
    assert out.startswith(f"{HOPPER}: face 1, box {list(read_box(row))}, {row['emotion']}, probability 0.")
    assert sum(float(row[f"p_{name}"]) for name in EMOTIONS) == pytest.approx(1, abs=1e-4)


def test_an_unreadable_file_is_one_line_and_status_1(tmp_path, run_dir):
    command = run_command(tmp_path / "missing.jpg", "--run", run_dir)
    out, err = command.communicate()
    assert (command.returncode, out) == (1, "")
    assert err == f"error: {tmp_path / 'missing.jpg'}: there is no such file.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_keeps_the_results_so_far(tmp_path, run_dir):
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


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds in which a photograph's face moves to the right."""
    photo = resize(read_image(HOPPER), (240, 204))
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, rate=15) as writer:
        for number in range(30):
            scene = np.full((240, 320, 3), 90, np.uint8)
            scene[:, 3 * number : 3 * number + 204] = photo
            writer.write(scene, number / 15)
    return path


def test_a_video_with_every_output(predict, clip, tmp_path, capsys):
    outputs = {
        name: tmp_path / name for name in ("drawn.mp4", "faces.csv", "counts.csv", "faces.jsonl", "timeline.png")
    }
    drawn, faces, counts, records, timeline = outputs.values()
    tables = ("--output-csv", faces, "--output-counts", counts, "--output-json", records)
    status = predict(clip, "--output-video", drawn, "--output-timeline", timeline, *tables)
    assert status == 0
    out, err = capsys.readouterr()
    first, track = out.splitlines()
    assert first == f"{clip}: 30 frames, 1.9 s, tracks: 1"
    assert "track 1, 0.0 to 1.9 s, 30 frames" in track
    assert all(str(path) in err for path in outputs.values())
    rows = read_csv(faces)
    assert [(int(row["frame"]), row["face"]) for row in rows] == [(number, "1") for number in range(30)]
    assert [float(row["time"]) for row in rows] == pytest.approx(np.arange(30) / 15, abs=0.002)
    lefts = np.array([int(row["x"]) for row in rows])
    np.testing.assert_allclose(lefts - lefts[0], 3 * np.arange(30), atol=4)
    assert sum(int(row["count"]) for row in read_csv(counts)) == 30
    *frames, summary = map(json.loads, records.read_text().splitlines())
    assert [frame["frame"] for frame in frames] == list(range(30))
    assert (summary["frames"], summary["tracks"][0]["frames"], summary["model"]) == (30, 30, "brightness")
    assert {record["prior"] for record in (*frames, summary)} == {"photographs"}
    with open_video(drawn) as video:
        images = [frame.image for frame in video]
    assert len(images) == 30
    with open_video(clip) as video:
        changed = [(abs(a - b.image.astype(int)) > 40).any(axis=-1).mean() for a, b in zip(images, video, strict=True)]
    assert min(changed) > 0.005
    assert read_image(timeline).shape[1] > 800


def test_folders_may_hold_images_and_videos(predict, clip, tmp_path, capsys):
    save(tmp_path / "album/a.png")
    shutil.copy(clip, tmp_path / "album/b.mp4")
    (tmp_path / "album/web.mp4").write_text("<html>404</html>")
    status = predict(tmp_path / "album", "--detector", "haar", "--output-dir", tmp_path / "drawn")
    assert status == 1
    out, err = capsys.readouterr()
    assert f"{tmp_path / 'album/a.png'}: no face found." in out
    assert "b.mp4: 30 frames" in out
    assert f"error: {tmp_path / 'album/web.mp4'}: not a readable video" in err
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.mp4"]


def test_a_camera_is_read_to_its_end(predict, clip, tmp_path, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    drawn, faces = tmp_path / "drawn.mp4", tmp_path / "faces.csv"
    status = predict("--webcam", clip, "--output-video", drawn, "--output-csv", faces)
    assert status == 0
    out, err = capsys.readouterr()
    assert "No display found" in err
    assert f"camera {clip}: 30 frames" in out
    assert len(read_csv(faces)) == 30
    assert drawn.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_ends_a_camera_cleanly(tmp_path, run_dir, clip):
    faces = tmp_path / "faces.csv"
    endless = tmp_path / "endless.mp4"
    with open_video(clip) as video, VideoWriter(endless, rate=15) as writer:
        images = [frame.image for frame in video]
        for number in range(3000):
            writer.write(images[number % 30], number / 15)
    command = run_command("--webcam", endless, "--no-show", "--run", run_dir, "--output-csv", faces)
    part = tmp_path / "faces.csv.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 2000) and time.monotonic() < deadline:
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    out, _ = command.communicate()
    assert command.returncode == 0
    n_frames = len(read_csv(faces))
    assert 10 <= n_frames < 3000
    assert "track 1, 0.0 to" in out
    assert not part.exists()


def test_a_truncated_video_is_an_error_with_results(predict, cut_video, tmp_path, capsys):
    assert predict(cut_video, "--detector", "none", "--output-csv", tmp_path / "f.csv") == 1
    assert "the video ends after frame" in capsys.readouterr().err
    assert len(read_csv(tmp_path / "f.csv")) >= 5


def test_standard_input_is_an_image(run_dir):
    done = subprocess.run(
        [sys.executable, "-m", "ferlib.predict", "-", "--run", run_dir],
        input=HOPPER.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"-: face 1, box [178, 110, 173, 220]")


def test_resume_skips_finished_files(predict, tmp_path, capsys):
    for number in range(6):
        save(tmp_path / f"album/{number}.png", level=40 * number)
    common = ["--detector", "none", "--output-json", tmp_path / "f.json", "--output-csv", tmp_path / "f.csv"]
    predict(*[tmp_path / f"album/{number}.png" for number in range(3)], *common)
    capsys.readouterr()
    assert predict(tmp_path / "album", *common, "--resume") == 0
    out, err = capsys.readouterr()
    assert "3 of 6 files are already done" in err
    assert [line.split(":")[0][-5:] for line in out.splitlines()[:3]] == ["3.png", "4.png", "5.png"]
    resumed = (tmp_path / "f.csv").read_text()
    predict(tmp_path / "album", *common)
    assert (tmp_path / "f.csv").read_text() == resumed


def test_pixel_limit_and_batch_size(predict, tmp_path, capsys):
    for number in range(5):
        save(tmp_path / f"{number}.png", (20 + number, 30, 3), level=200)
    assert predict(tmp_path, "--detector", "none", "--batch-size", "2", "--max-pixels", 23 * 30) == 1
    out, err = capsys.readouterr()
    assert "over the limit of 690 pixels" in err
    assert out.count("neutral, probability") == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.png", "--output-video", "v.mp4"], "for one video, but there are 0"),
        (["a.mp4", "b.mp4", "--output-timeline", "t.png"], "for one video, but there are 2"),
        (["a.mp4", "--output-video", "v.gif"], "expected a file that ends in .avi"),
        (["a.mp4", "--output-timeline", "t.svg"], "expected a file that ends in .png"),
    ],
)
def test_impossible_video_outputs_are_refused_first(predict, arguments, sentence):
    with pytest.raises(OptionError, match=sentence):
        predict(*arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "No input given; name an image"),
        (["a.png", "--resume"], "--resume needs --output-json"),
        (["-", "a.png", "--workers", "2"], "--workers reads files"),
        (["a.png", "--prior", "portraits"], "--prior: expected photographs or training, or .*, got portraits"),
        (["a.png", "--prior", "0.5,0.5"], "--prior: expected 7 shares"),
        (["a.png", "--output-image", "b.png", "--output-dir", "c"], "cannot be combined"),
        (["a.png", "--model", "fast", "--run", "runs/a"], "--run and --model cannot be combined"),
    ],
)
def test_impossible_combinations_are_refused(arguments, sentence):
    with pytest.raises(OptionError, match=sentence):
        main(arguments)


def test_a_prior_is_applied_and_recorded(predict, tmp_path):
    image, recorded = save(tmp_path / "a.png", level=100), {}
    for prior in ("photographs", "training", "0.1,0.1,0.1,0.1,0.1,0.1,0.4"):
        csv_file, json_file = tmp_path / "f.csv", tmp_path / "f.jsonl"
        outputs = ["--output-csv", csv_file, "--output-json", json_file]
        assert predict(image, "--detector", "none", "--prior", prior, *outputs) == 0
        (row,), record = read_csv(csv_file), json.loads(json_file.read_text())
        assert row["prior"] == record["prior"] == prior
        assert float(row["p_neutral"]) == record["faces"][0]["probabilities"]["neutral"]
        recorded[prior] = record["faces"][0]["probabilities"]
    # The network was trained on the shares of photographs.
    assert recorded["photographs"] == recorded["training"]
    expected = {
        name: recorded["training"][name] / PHOTOGRAPH_COUNTS[name] * (4 if name == "neutral" else 1)
        for name in EMOTIONS
    }
    found = recorded["0.1,0.1,0.1,0.1,0.1,0.1,0.4"]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value / sum(expected.values()), abs=1e-4)


def test_quiet_prints_results_only(predict, tmp_path, capsys):
    predict(save(tmp_path / "a.png"), "--detector", "none", "--output-csv", tmp_path / "f.csv", "--quiet")
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'a.png'}: face 1")
    assert err == ""


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "ids"), [("please.mkv", {"1"}), ("head-pose-face-detection-female-and-male.gif", {"1", "2"})]
)
def test_faces_in_real_videos_keep_their_ids(name, ids, predict, videos_dir, tmp_path, capsys):
    predict(videos_dir / name, "--output-csv", tmp_path / "f.csv")
    rows = read_csv(tmp_path / "f.csv")
    assert {row["face"] for row in rows} == ids
    for track_id in ids:
        # Each stays in one place of the image, and is visible most of the time.
        lefts = [int(row["x"]) for row in rows if row["face"] == track_id]
        assert max(lefts) - min(lefts) < 60
        assert len(lefts) >= 0.7 * len({row["frame"] for row in rows})
