"""From a dataset to a finished run."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ferlib.core.errors import ArtifactError, DataError, OptionError
from ferlib.data import SplitInfo
from ferlib.models import get_model
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic
from ferlib.training import TrainingOptions, train_model
from ferlib.training.fit import warn_about_leaks
from ferlib.training.run_config import describe_run, require_same_run
from ferlib.training.sklearn_trainer import SklearnTrainer

SMALL = {"widths": (4, 8)}
QUICK_BOVW = {"n_words": 10, "classifier": "logistic"}


def options_of(run_dir):
    return TrainingOptions.from_config(Run(run_dir).config.training)


def test_a_run_folder_is_complete(network_run, bovw_run):
    common = {"config.json", "metrics.json", "model_card.md", "run.toml"}
    network = {"history.csv", "history.json", "model.keras", "model.onnx"}
    assert {path.name for path in network_run.iterdir()} == common | network
    assert {path.name for path in bovw_run.iterdir()} == common | {"model.skops"}
    run = Run(network_run)
    assert run.config.status == "finished"
    assert run.config.image_counts["train"]["happy"] == 43
    assert list(run.metrics) == ["val", "test"]
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert (network_run / "history.csv").read_text().count("\n") == 3
    assert Run(bovw_run).config.seconds > 0


def test_keras_and_onnx_give_the_same_probabilities(network_run, drawn_faces):
    images = drawn_faces.images[:16]
    model = load_keras_model(network_run)
    views = [model.predict_on_batch(view.astype(np.float32)) for view in (images, images[:, :, ::-1])]
    for name, expected in (("none", views[0]), ("flip", np.mean(views, axis=0))):
        classifier = load_classifier(network_run, calibrated=False, test_time_augmentation=name)
        np.testing.assert_allclose(classifier.predict_proba(images), expected, atol=1e-4)
    # Two views double the time, so one is the default.
    assert load_classifier(network_run).config.test_time_augmentation == "none"


def test_images_of_any_size_and_color_are_predicted(network_run, drawn_faces):
    classifier, images = load_classifier(network_run), drawn_faces.images[:5]
    together = classifier.predict_proba(images)
    one_by_one = np.concatenate([classifier.predict_proba(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    np.testing.assert_allclose(together, classifier.predict_proba(np.repeat(images, 3, axis=-1)), atol=1e-5)
    assert classifier.predict_proba(np.zeros((2, 100, 90, 3), np.uint8)).shape == (2, 7)
    assert classifier.predict_proba(images[:0]).shape == (0, 7)


def test_a_damaged_model_is_named(network_run, tmp_path):
    run = Run(shutil.copytree(network_run, tmp_path / "run"))
    (run.path / "model.onnx").write_bytes(b"{")
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be loaded"):
        load_classifier(run)


def test_classes_without_training_images_have_probability_zero(drawn_faces, tmp_path):
    some = drawn_faces.select(~((drawn_faces.splits == "train") & (drawn_faces.labels == 1)))
    run = train_model("bovw", some, tmp_path / "run", model_options=QUICK_BOVW)
    probabilities = load_classifier(run, calibrated=False).predict_proba(drawn_faces.images[:9])
    assert probabilities.shape == (9, 7)
    assert (probabilities[:, 1] == 0).all()


def test_an_existing_run_is_not_replaced(network_run, drawn_faces):
    before = (network_run / "model.onnx").read_bytes()
    with pytest.raises(ArtifactError, match="already contains a run"):
        train_model("compact_cnn", drawn_faces, network_run)
    assert (network_run / "model.onnx").read_bytes() == before


def test_a_failed_start_leaves_no_run(drawn_faces, tmp_path):
    with pytest.raises(DataError, match="val"):
        train_model("compact_cnn", drawn_faces.select(drawn_faces.splits != "val"), tmp_path / "run")
    run = train_model("bovw", drawn_faces, tmp_path / "run", model_options=QUICK_BOVW)
    assert run.config.status == "finished"


def test_unknown_model_options_are_refused(drawn_faces, tmp_path):
    with pytest.raises(OptionError, match="Unknown compact_cnn option 'color'"):
        train_model("compact_cnn", drawn_faces, tmp_path / "run", model_options={"color": "red"})
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_returned_unchanged(network_run, drawn_faces):
    files = {path: path.stat().st_mtime_ns for path in network_run.iterdir()}
    renamed = dataclasses.replace(drawn_faces, info=dataclasses.replace(drawn_faces.info, path="renamed.zip"))
    options = options_of(network_run)
    run = train_model("compact_cnn", renamed, network_run, options, model_options=SMALL, resume=True)
    assert run.config.data.path == "drawn"
    assert {path: path.stat().st_mtime_ns for path in network_run.iterdir()} == files


def test_a_run_is_not_resumed_with_other_options(network_run, drawn_faces):
    options = dataclasses.replace(options_of(network_run), epochs=4)
    with pytest.raises(ArtifactError, match="other training options: epochs was 2, now 4"):
        train_model("compact_cnn", drawn_faces, network_run, options, model_options=SMALL, resume=True)


def test_a_run_from_before_an_option_can_be_resumed(network_run):
    config = Run(network_run).config
    older = {name: value for name, value in config.training.items() if name not in ("votes", "aux_loss_weight")}
    require_same_run(dataclasses.replace(config, training=older), config, Run(network_run))
    other = dataclasses.replace(config, training={**older, "seed": 9})
    with pytest.raises(ArtifactError, match="other training options"):
        require_same_run(other, config, Run(network_run))


def test_an_unmeasured_run_is_measured_when_resumed(network_run, drawn_faces, tmp_path):
    run = Run(shutil.copytree(network_run, tmp_path / "run"))
    (tmp_path / "run" / "metrics.json").unlink()
    run.write_config(dataclasses.replace(run.config, status="training", calibration=None))
    # Without a checkpoint it starts from the beginning.
    again = train_model(
        "compact_cnn", drawn_faces, run, options_of(network_run), model_options=SMALL, resume=True, export=False
    )
    assert list(again.metrics) == ["val", "test"]
    assert again.config.calibration is not None
    # The same seed trains the same network.
    images = drawn_faces.images[:16]
    np.testing.assert_allclose(
        load_classifier(again).predict_proba(images), load_classifier(network_run).predict_proba(images), atol=0.02
    )


def test_other_runs_and_votes_are_recorded(network_run, drawn_faces, tmp_path, caplog):
    (tmp_path / "votes.csv").write_text("votes")
    earlier = Run(shutil.copytree(network_run, tmp_path / "earlier"))
    options = TrainingOptions(teacher=str(earlier.path), init_from=str(earlier.path), votes=str(tmp_path / "votes.csv"))

    def start():
        spec = get_model("compact_cnn")
        return describe_run(spec, drawn_faces, options, {}, SklearnTrainer(spec, options, {}))

    config = start()
    assert config.teacher == config.init_from
    assert config.teacher.model == "compact_cnn"
    assert [len(value) for value in (*config.teacher.weights_sha256, config.votes)] == [64, 64]
    warn_about_leaks(config, options)
    assert caplog.text == ""
    data = dataclasses.replace(earlier.config.data, split=SplitInfo(seed=99))
    earlier.write_config(dataclasses.replace(earlier.config, data=data))
    warn_about_leaks(config, options)
    assert "another split of the same images" in caplog.text
    (tmp_path / "votes.csv").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        start()


@pytest.mark.slow
def test_a_killed_training_continues(tmp_path):
    data = write_synthetic(tmp_path / "faces.zip", train_size=350, test_size=70, seed=1)
    run = Run(tmp_path / "run")
    command = [sys.executable, "-m", "ferlib.train", "--run-dir", str(run.path)]
    options = ["--model", "compact_cnn", "--data", str(data), "--epochs", "6", "--precision", "float32"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE) as training:
        deadline = time.monotonic() + 120
        while not any(run.path.glob("checkpoint/last-*.weights.h5")) and time.monotonic() < deadline:
            assert training.poll() is None, training.stderr.read().decode()
            time.sleep(0.05)
        training.send_signal(signal.SIGKILL)
    before = run.history
    assert 1 <= len(before) < 6
    with pytest.raises(ArtifactError, match="--resume"):
        load_classifier(run)
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert [row["epoch"] for row in run.history] == list(range(1, 7))
    assert run.history[0] == before[0]
    # The cosine ends at zero only if the optimizer's step count was restored.
    assert run.history[-1]["learning_rate"] < 1e-6
    assert "test: accuracy" in resumed.stdout
    assert json.loads((run.path / "metrics.json").read_text())["test"]["n"] == 70
