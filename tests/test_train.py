"""The training command, from a zip of faces to a run folder that loads with no other knowledge."""

import contextlib
import io
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ferlib.core.emotions import FOUR_EMOTIONS
from ferlib.core.errors import ArtifactError, DataError, FerlibError
from ferlib.data import load_images
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import read_config, read_history, read_metrics
from ferlib.synthetic.generate import write_synthetic
from ferlib.train import main

SETTINGS = (
    "--model-option",
    "widths=16,32,48",
    "--epochs",
    "2",
    "--batch-size",
    "32",
    "--learning-rate",
    "0.004",
    "--precision",
    "float32",
    "--seed",
    "3",
)
FOUR = ("--emotions", "neutral,angry,sad,happy", "--val-fraction", "0.2", "--class-weight", "balanced")


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=350, test_size=70)


@pytest.fixture(scope="module")
def four_run(faces, tmp_path_factory) -> tuple[Path, str, str]:
    """The folder of a study of four emotions, and what the command that made it wrote."""
    run_dir = tmp_path_factory.mktemp("runs") / "four"
    out, err = io.StringIO(), io.StringIO()
    arguments = ["--model", "compact_cnn", "--data", faces, "--run-dir", run_dir, *SETTINGS, *FOUR]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(list(map(str, arguments))) == 0
    return run_dir, out.getvalue(), err.getvalue()


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "ferlib.train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_study_of_four_emotions_is_one_option(four_run, faces):
    run_dir, _, err = four_run
    config = read_config(run_dir)
    assert config["model_options"] == {"widths": [16, 32, 48]}
    assert tuple(config["class_names"]) == FOUR_EMOTIONS
    assert set(config["data"]["pictures"]["train"]) == set(FOUR_EMOTIONS)
    assert "SYNTHETIC faces (faces.zip)" in err
    assert "4 classes" in err
    test = load_images(faces, emotions=FOUR_EMOTIONS).split("test")
    assert load_classifier(run_dir).predict_proba(test.images).shape == (len(test), 4)


def test_options_reach_the_training(four_run):
    run_dir, _, _ = four_run
    config = read_config(run_dir)
    wanted = {"epochs": 2, "batch_size": 32, "learning_rate": 0.004, "seed": 3, "class_weight": "balanced"}
    assert wanted.items() <= config["training"].items()
    assert config["data"]["split"] == {"scheme": "official", "val_fraction": 0.2, "seed": 3}
    counts = {split: sum(classes.values()) for split, classes in config["data"]["pictures"].items()}
    assert counts["val"] / (counts["train"] + counts["val"]) == pytest.approx(0.2, abs=0.02)
    assert len(read_history(run_dir)) == 2


def test_the_folder_tells_what_was_measured(four_run):
    run_dir, out, err = four_run
    metrics = read_metrics(run_dir)
    images = read_config(run_dir)["data"]["pictures"]
    card = (run_dir / "model_card.md").read_text()
    assert list(metrics) == ["val", "test"]
    for split, values in metrics.items():
        assert values["n"] == sum(images[split].values())
        assert {name: row["support"] for name, row in values["per_class"].items()} == images[split]
        assert f"{split}: accuracy {values['accuracy']:.2%}" in out
        assert f"On {split} ({values['n']} images" in card
        assert f"accuracy {values['accuracy']:.2%}" in card
    assert "SYNTHETIC faces from `faces.zip`" in card
    assert "2 epochs; the weights are those of epoch" in card
    assert out.endswith(f"wrote {run_dir}\n")
    assert "epoch 2/2" in err
    assert not (run_dir / "checkpoint").exists()


def test_a_finished_training_is_left_as_it_is(four_run, faces, capsys):
    run_dir, out, _ = four_run
    before = {name: (run_dir / name).read_bytes() for name in ("config.json", "history.json", "model.onnx")}
    assert main(["--resume", "--run-dir", str(run_dir), "--data", str(faces)]) == 0
    assert {name: (run_dir / name).read_bytes() for name in before} == before
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (["--epochs", "3"], "other training: it has epochs 2 instead of 3"),
        (["--model", "bovw"], "other model: it has 'compact_cnn' instead of 'bovw'"),
        (["--emotions", "happy,sad"], "other class names"),
        (["--val-fraction", "0.3"], "other data: it has "),
    ],
)
def test_a_training_is_not_continued_as_another(four_run, faces, more, difference):
    with pytest.raises(ArtifactError, match=difference):
        main(["--resume", "--run-dir", str(four_run[0]), "--data", str(faces), *more])


def test_a_run_is_replaced_only_when_told_to(faces, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.onnx").write_text("an older model")
    (tmp_path / "mine.txt").write_text("not ferlib's")
    arguments = ["--model", "bovw", "--data", str(faces), "--sample-size", "60", "--run-dir", str(tmp_path)]
    with pytest.raises(ArtifactError, match="already holds a run"):
        main(arguments)
    assert (tmp_path / "model.onnx").exists()
    assert main([*arguments, "--overwrite"]) == 0
    assert load_classifier(tmp_path).name == "bovw"
    assert not (tmp_path / "model.onnx").exists()
    assert (tmp_path / "mine.txt").exists()


def test_without_options_it_finds_data_and_names_a_folder(faces, tmp_path, monkeypatch, capsys):
    (tmp_path / "Pipfile").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("FER2013_ARCHIVE", str(faces))
    assert main(["--model", "bovw", "--sample-size", "70", "--split", "70/15/15"]) == 0
    (run_dir,) = (tmp_path / "data" / "runs").iterdir()
    assert run_dir.name.startswith("bovw-20")
    config = read_config(run_dir)
    counts = {split: sum(classes.values()) for split, classes in config["data"]["pictures"].items()}
    assert config["data"]["sample_size"] == sum(counts.values()) == 70
    assert counts["train"] == pytest.approx(0.7 * 70, abs=4)
    assert read_metrics(run_dir)["test"]["n"] == counts["test"]
    assert str(run_dir) in capsys.readouterr().out
    # What the command was not told again is taken from the run.
    assert main(["--resume", "--run-dir", str(run_dir)]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--model is needed"),
        (["--resume"], "--resume needs --run-dir"),
        (["--model", "resnet_9000"], "invalid choice: 'resnet_9000'"),
        (["--model", "bovw", "--resample", "magic"], "invalid choice: 'magic'"),
        (["--model", "bovw", "--epochs", "many"], "invalid int value: 'many'"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--emotions", "happy,bored"], "'bored' is not an emotion"),
        (["--emotions", "happy"], "At least two emotions"),
        (["--split", "half"], "'half' is no split"),
        (["--val-fraction", "1.5"], "val_fraction must be from 0"),
        (["--sample-size", "0"], "sample_size must be at least 1"),
        (["--epochs", "0"], "epochs: expected a whole number at least 1, got '0'"),
        (["--learning-rate", "-1"], "learning_rate: expected a number above 0"),
        (["--seed", "-1"], "seed: expected a whole number at least 0"),
        (["--resume"], "no run folder"),
        (["--model-option", "n_words=many"], "Invalid value 'many' for bovw option 'n_words'"),
        (["--model-option", "n_words=true"], "Invalid value True for bovw option 'n_words'"),
        (["--model-option", "levels=1,half"], "Invalid value '1,half' for bovw option 'levels'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(faces, tmp_path, arguments, sentence):
    with pytest.raises(FerlibError, match=sentence):
        main(["--model", "bovw", "--data", str(faces), "--run-dir", str(tmp_path / "run"), *arguments])
    assert not (tmp_path / "run").exists()


def test_one_class_alone_is_nothing_to_learn(faces, tmp_path):
    data = load_images(faces)
    only = tmp_path / "happy.npz"
    data.select(data.labels == data.class_names.index("happy")).save(only)
    with pytest.raises(DataError, match="All training images are happy"):
        main(["--model", "bovw", "--data", str(only), "--run-dir", str(tmp_path / "run")])


def test_an_error_is_one_sentence_and_status_1(tmp_path):
    with start("--model", "bovw", "--data", "missing.zip", "--run-dir", tmp_path / "run", cwd=tmp_path) as command:
        out, err = command.communicate()
    assert command.returncode == 1
    assert out == ""
    assert err == "error: missing.zip: there is no such file or folder.\n"


@pytest.mark.slow
def test_ctrl_c_says_how_to_continue(faces, tmp_path):
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
    assert read_config(run_dir)["status"] == "training"
    hint = next(line for line in err.splitlines() if line.startswith("to continue: "))
    _, *again = shlex.split(hint.removeprefix("to continue: "))
    assert again == ["-m", "ferlib.train", "--resume", "--run-dir", str(run_dir), "--data", str(faces)]
    assert json.loads((run_dir / "history.json").read_text())
