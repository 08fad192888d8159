"""The training command, from a zip of faces to a self-contained run folder."""

import contextlib
import io
import itertools
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferlib.core.emotions import FOUR_EMOTIONS
from ferlib.core.errors import ArtifactError, DataError, FerlibError, OptionError
from ferlib.data import SplitInfo, load_images
from ferlib.evaluate import main as evaluate
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic
from ferlib.train import main
from ferlib.training import default_options

SETTINGS = "--model-option widths=4,8 --epochs 2 --batch-size 32 --learning-rate 0.004 --precision float32 --seed 3"
FOUR = "--emotions neutral,angry,sad,happy --val-fraction 0.2 --class-weight balanced --augment rotation=20"


BOVW = ("--model", "bovw", "--model-option", "n_words=10", "--model-option", "classifier=logistic")


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=350, test_size=70)


@pytest.fixture(scope="module")
def four_run(faces, tmp_path_factory) -> tuple[Path, str, str]:
    """A run on four emotions, and what its command wrote to standard output and error."""
    run_dir = tmp_path_factory.mktemp("runs") / "four"
    out, err = io.StringIO(), io.StringIO()
    arguments = ["--model", "compact_cnn", "--data", faces, "--run-dir", run_dir, *SETTINGS.split(), *FOUR.split()]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(list(map(str, arguments))) == 0
    return run_dir, out.getvalue(), err.getvalue()


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "ferlib.train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_emotions_can_be_chosen(four_run, faces):
    run_dir, _, err = four_run
    config = Run(run_dir).config
    assert config.class_names == FOUR_EMOTIONS
    assert set(config.image_counts["train"]) == set(FOUR_EMOTIONS)
    assert "SYNTHETIC faces (faces.zip)" in err
    assert "4 classes" in err
    test = load_images(faces, emotions=FOUR_EMOTIONS).split("test")
    assert load_classifier(run_dir).predict_proba(test.images).shape == (len(test), 4)


def test_options_reach_the_training(four_run):
    run_dir, _, _ = four_run
    config = Run(run_dir).config
    expected = {"epochs": 2, "batch_size": 32, "learning_rate": 0.004, "seed": 3, "class_weight": "balanced"}
    assert expected.items() <= config.training.items()
    assert config.training["augmentation"]["rotation"] == 20
    assert config.model_options == {"widths": [4, 8]}
    assert config.data.split == SplitInfo("official", val_fraction=0.2, seed=3)
    counts = {split: sum(classes.values()) for split, classes in config.image_counts.items()}
    assert counts["val"] / (counts["train"] + counts["val"]) == pytest.approx(0.2, abs=0.02)
    # Options that were not given are the model's own.
    assert config.training["label_smoothing"] == default_options("compact_cnn").label_smoothing


def test_a_run_is_measured_and_described(four_run):
    run_dir, out, err = four_run
    run = Run(run_dir)
    card = (run_dir / "model_card.md").read_text()
    assert list(run.metrics) == ["val", "test"]
    for split, metrics in run.metrics.items():
        assert metrics.n == sum(run.config.image_counts[split].values())
        assert f"{split}: accuracy {metrics.accuracy:.2%}" in out
        assert f"accuracy {metrics.accuracy:.2%}" in card
    assert "SYNTHETIC faces" in card
    assert out.endswith(f"wrote {run_dir}\n")
    assert "epoch 2/2" in err
    assert not (run_dir / "checkpoint").exists()


def test_a_training_is_repeated_from_its_folder(four_run, tmp_path):
    run_dir, _, _ = four_run
    assert main(["--config", str(run_dir / "run.toml"), "--run-dir", str(tmp_path / "again"), "--quiet"]) == 0
    first, again = Run(run_dir).config, Run(tmp_path / "again").config
    assert again.training == first.training
    assert again.model_options == first.model_options
    assert (again.data, again.class_names, again.image_counts) == (first.data, first.class_names, first.image_counts)
    assert (tmp_path / "again" / "run.toml").read_text() == (run_dir / "run.toml").read_text()


def test_a_finished_training_is_not_changed(four_run, capsys):
    run_dir, out, _ = four_run
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    # Options that are not given are those of the run.
    assert main(["--resume", "--run-dir", str(run_dir)]) == 0
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (["--epochs", "3"], "other training options: epochs was 2, now 3"),
        (["--model", "plain_cnn", "--model-option", "widths=4"], "Unknown plain_cnn option 'widths'"),
        (["--emotions", "happy,sad"], "other class names"),
        (["--val-fraction", "0.3"], "other data: split was"),
    ],
)
def test_a_training_is_not_resumed_as_another(four_run, more, difference):
    with pytest.raises(FerlibError, match=difference):
        main(["--resume", "--run-dir", str(four_run[0]), *more])


def test_a_run_is_replaced_only_with_overwrite(faces, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.onnx").write_text("an older model")
    (tmp_path / "mine.txt").write_text("not written by ferlib")
    arguments = [*BOVW, "--data", str(faces), "--sample-size", "60", "--run-dir", str(tmp_path)]
    with pytest.raises(ArtifactError, match="already contains a run"):
        main(arguments)
    assert (tmp_path / "model.onnx").exists()
    assert main([*arguments, "--overwrite"]) == 0
    assert Run(tmp_path).config.model == "bovw"
    assert not (tmp_path / "model.onnx").exists()
    assert (tmp_path / "mine.txt").exists()


def test_data_and_folder_have_defaults(faces, tmp_path, monkeypatch, capsys):
    (tmp_path / "Pipfile").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("FER2013_ARCHIVE", str(faces))
    assert main([*BOVW, "--sample-size", "70", "--split-scheme", "70/15/15", "--split-seed", "4"]) == 0
    (run_dir,) = (tmp_path / "data" / "runs").iterdir()
    assert run_dir.name.startswith("bovw-20")
    config = Run(run_dir).config
    counts = {split: sum(classes.values()) for split, classes in config.image_counts.items()}
    assert config.data.sample_size == sum(counts.values()) == 70
    assert counts["train"] == pytest.approx(0.7 * 70, abs=4)
    assert (config.data.split.seed, config.training["seed"]) == (4, 0)
    assert Run(run_dir).metrics["test"].n == counts["test"]
    assert str(run_dir) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--model is required"),
        (["--resume"], "--resume needs --run-dir"),
        (["--model", "resnet_9000"], "--model: expected one of .*, got 'resnet_9000'"),
        ([*BOVW, "--resample", "magic"], "--resample: expected one of none, .*, got 'magic'"),
        ([*BOVW, "--epochs", "many"], "--epochs: expected a whole number at least 1, got 'many'"),
        ([*BOVW, "--epochs", "0"], "--epochs: expected a whole number at least 1, got '0'"),
        ([*BOVW, "--learning-rate", "-1"], "--learning-rate: expected a number above 0"),
        ([*BOVW, "--augment", "rotation=abc"], "--augment rotation: expected a number"),
        ([*BOVW, "--augment", "spin=3"], "--augment: expected one of rotation"),
        ([*BOVW, "--augment", "crop=0.5", "--no-augmentation"], "cannot be combined"),
        ([*BOVW, "--votes", "v.csv", "--resample", "smote"], "--votes cannot be combined with --resample"),
        ([*BOVW, "--emotions", "happy,bored"], "'bored' is not an emotion"),
        ([*BOVW, "--emotions", "happy"], "two emotions"),
        ([*BOVW, "--split-scheme", "half"], "'half' is n"),
        ([*BOVW, "--val-fraction", "1.5"], "--val-fraction: expected a number at least 0 and below 1"),
        ([*BOVW, "--sample-size", "0"], "--sample-size: expected a whole number at least 1"),
        ([*BOVW, "--model-option", "n_words=many"], "Invalid value 'many' for bovw option 'n_words'"),
        ([*BOVW, "--model-option", "colour=1"], "Unknown bovw option 'colour'"),
        ([*BOVW, "--resume", "--overwrite"], "--resume and --overwrite cannot be combined"),
    ],
)
def test_wrong_options_are_refused_before_loading(arguments, sentence, tmp_path):
    run_dir = [] if arguments == ["--resume"] else ["--run-dir", str(tmp_path / "run")]
    if "--overwrite" in arguments:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.toml").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OptionError, match=sentence):
        main([*arguments, "--data", str(tmp_path / "missing.zip"), *run_dir])
    assert sorted(tmp_path.rglob("*")) == before


def test_only_a_run_can_be_resumed(tmp_path):
    with pytest.raises(ArtifactError, match=r"it has no run\.toml"):
        main(["--resume", "--run-dir", str(tmp_path / "run")])


def test_a_single_class_cannot_be_trained(faces, tmp_path):
    data = load_images(faces)
    only = tmp_path / "happy.npz"
    data.select(data.labels == data.class_names.index("happy")).save(only)
    with pytest.raises(DataError, match="All training images are happy"):
        main([*BOVW, "--data", str(only), "--run-dir", str(tmp_path / "run")])


def test_folders_are_read_as_the_options_say_and_recorded(tmp_path, capsys, encode_face):
    """AffectNet's numbers, a fold that is test, and images that are larger than the model's input."""
    for fold, code, number in itertools.product(("one", "two"), (0, 1, 2, 7), range(8)):
        folder = tmp_path / "faces" / fold / str(code)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(
            encode_face(100 * code + 10 * len(fold) + 1000 * (fold == "two") + number)
        )
    (tmp_path / "faces" / "one" / "1" / "broken.png").write_bytes(b"hm")
    command = [*BOVW, "--data", str(tmp_path / "faces"), "--run-dir", str(tmp_path / "run"), "--val-fraction", "0.25"]
    with pytest.raises(DataError, match="--label-order"):
        main(command)
    command += ["--label-order", "affectnet"]
    with pytest.raises(DataError, match="--split-folder"):
        main(command)
    command += ["--split-folder", "one=train", "--split-folder", "two=test"]
    with pytest.raises(DataError, match=r"--strict.*1 of 49 images"):
        main([*command, "--strict"])
    assert main(command) == 0
    assert "48 images of 48 x 48 pixels, gray" in capsys.readouterr().err
    config = Run(tmp_path / "run").config
    assert config.image_counts["test"]["happy"] == 8
    assert sum(config.image_counts["train"].values()) == 18
    options = tomllib.loads((tmp_path / "run" / "run.toml").read_text())
    assert (options["label_order"], options["split_folders"]) == ("affectnet", {"one": "train", "two": "test"})
    assert main(["--config", str(tmp_path / "run" / "run.toml"), "--run-dir", str(tmp_path / "again")]) == 0
    assert Run(tmp_path / "again").config.image_counts == config.image_counts
    # The evaluation reads the data as the run did.
    assert evaluate(["--data", str(tmp_path / "faces"), "--run", str(tmp_path / "run"), "--split", "val"]) == 0
    assert "n 6" in capsys.readouterr().out


@pytest.fixture
def encode_face():
    """Return a function that encodes a gray image of 96 x 96 pixels."""

    def encode(seed: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (96, 96), dtype=np.uint8)).save(stream, "PNG")
        return stream.getvalue()

    return encode


@pytest.mark.real_data
def test_faces_are_cut_out_of_photographs(photos_dir, tmp_path, caplog):
    """Two classes of whole photographs: the faces cover a small part of each."""
    for emotion, name in itertools.product(("happy", "sad"), ("bob", "hopper", "hopper_orientation_3")):
        source = next((path for path in photos_dir.iterdir() if path.stem == name), photos_dir / "ivan.jpg")
        for split in ("train", "test"):
            folder = tmp_path / "photos" / split / emotion
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(4 if split == "train" else 1):
                shutil.copy(source, folder / f"{name}{number}.jpg")
    shutil.copy(photos_dir / "no-faces.jpg", tmp_path / "photos" / "train" / "sad" / "none.jpg")
    command = [*BOVW, "--data", str(tmp_path / "photos"), "--val-fraction", "0"]
    assert main([*command, "--run-dir", str(tmp_path / "whole")]) == 0
    assert "the face is small: these seem to be whole photographs, which --detect" in caplog.text
    caplog.clear()
    assert main([*command, "--detect", "--run-dir", str(tmp_path / "cut")]) == 0
    assert "whole photographs" not in caplog.text
    config = Run(tmp_path / "cut").config
    assert config.data.detected
    assert any(note.startswith("Left out without a face: 1 of") for note in config.data.notes)


def test_missing_data_are_one_sentence(tmp_path):
    with start(*BOVW, "--data", "missing.zip", "--run-dir", tmp_path / "run", cwd=tmp_path) as command:
        out, err = command.communicate()
    assert command.returncode == 1
    assert out == ""
    assert err.startswith("error: missing.zip: ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_shows_how_to_continue(faces, tmp_path):
    run_dir = tmp_path / "my run"
    arguments = ["--model", "compact_cnn", "--data", faces, "--run-dir", run_dir, "--epochs", "500"]
    with start(*arguments) as training:
        deadline = time.monotonic() + 120
        while not any(run_dir.glob("checkpoint/last-*.weights.h5")) and time.monotonic() < deadline:
            assert training.poll() is None, training.stderr.read()
            time.sleep(0.05)
        training.send_signal(signal.SIGINT)
        _, err = training.communicate(timeout=60)
    assert training.returncode == 130
    assert "Traceback" not in err
    assert Run(run_dir).config.status == "training"
    hint = next(line for line in err.splitlines() if line.startswith("to continue: "))
    _, *again = shlex.split(hint.removeprefix("to continue: "))
    assert again == ["-m", "ferlib.train", "--resume", "--run-dir", str(run_dir)]
    assert Run(run_dir).history
