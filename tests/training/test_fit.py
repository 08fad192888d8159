"""Training leaves a run folder that needs nothing else, and continues where it was stopped."""

import dataclasses
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ferlib.core.errors import ArtifactError, DataError, FerlibError
from ferlib.data import load_images, split_dataset
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import read_config, read_history
from ferlib.synthetic.generate import write_synthetic
from ferlib.training import TrainingOptions, tabulate_runs, train_model

SMALL = {"widths": (8, 16, 24)}


@pytest.fixture(scope="module")
def cnn_run(drawn_faces, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "cnn"
    options = TrainingOptions(epochs=3, batch_size=32, precision="float32")
    return train_model("compact_cnn", drawn_faces, run_dir, options, model_options=SMALL)


def test_a_network_s_run_folder_is_complete(cnn_run):
    names = {path.name for path in cnn_run.iterdir()}
    assert names == {"config.json", "history.csv", "history.json", "model.keras", "model.onnx"}
    config = read_config(cnn_run)
    assert config["status"] == "finished"
    assert config["data"]["pictures"]["train"]["happy"] == 43
    assert [row["epoch"] for row in read_history(cnn_run)] == [1, 2, 3]
    assert (cnn_run / "history.csv").read_text().count("\n") == 4


def test_keras_and_onnx_give_the_same_probabilities(cnn_run, drawn_faces):
    images = drawn_faces.images[:16]
    classifier = load_classifier(cnn_run)
    model = load_keras_model(cnn_run)
    both = [model.predict_on_batch(view.astype(np.float32)) for view in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(classifier.predict_proba(images), np.mean(both, axis=0), atol=1e-4)


def test_one_image_or_a_batch_any_size_or_color(cnn_run, drawn_faces):
    classifier = load_classifier(cnn_run)
    images = drawn_faces.images[:5]
    together = classifier.predict_proba(images)
    one_by_one = np.concatenate([classifier.predict_proba(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    np.testing.assert_allclose(together, classifier.predict_proba(np.repeat(images, 3, axis=-1)), atol=1e-5)
    assert classifier.predict_proba(np.zeros((2, 100, 90, 3), np.uint8)).shape == (2, 7)
    assert classifier.predict_proba(images[:0]).shape == (0, 7)


def test_bovw_is_saved_without_pickle_and_says_the_same(drawn_faces, tmp_path):
    run_dir = train_model("bovw", drawn_faces, tmp_path / "bovw", model_options={"n_words": 30})
    assert {path.name for path in run_dir.iterdir()} == {"config.json", "model.skops", "out_of_fold.npz"}
    assert tabulate_runs([run_dir]).loc["bovw", "seconds"] > 0
    first, again = (load_classifier(run_dir).predict_proba(drawn_faces.images[:9]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)


def test_classes_without_a_training_image_have_probability_zero(drawn_faces, tmp_path):
    some = drawn_faces.select(~((drawn_faces.splits == "train") & (drawn_faces.labels == 1)))
    run_dir = train_model("bovw", some, tmp_path / "run", model_options={"n_words": 20})
    probabilities = load_classifier(run_dir).predict_proba(drawn_faces.images[:9])
    assert probabilities.shape == (9, 7)
    assert (probabilities[:, 1] == 0).all()


def test_a_run_is_not_replaced_unasked(cnn_run, drawn_faces):
    before = (cnn_run / "model.onnx").read_bytes()
    with pytest.raises(ArtifactError, match="already holds a run"):
        train_model("compact_cnn", drawn_faces, cnn_run)
    assert (cnn_run / "model.onnx").read_bytes() == before


def test_a_training_that_failed_at_its_start_is_not_in_the_way(drawn_faces, tmp_path):
    with pytest.raises(DataError, match="no images for 'val'"):
        train_model("compact_cnn", drawn_faces.select(drawn_faces.splits != "val"), tmp_path / "run")
    run_dir = train_model("bovw", drawn_faces, tmp_path / "run", model_options={"n_words": 10})
    assert read_config(run_dir)["status"] == "finished"


def test_the_same_data_under_another_name_resume(cnn_run, drawn_faces):
    renamed = dataclasses.replace(drawn_faces, info=dataclasses.replace(drawn_faces.info, path="renamed.zip"))
    options = TrainingOptions.from_config(read_config(cnn_run)["training"])
    resumed = train_model("compact_cnn", renamed, cnn_run, options, model_options=SMALL, resume=True)
    assert load_classifier(resumed).config.data.path == "drawn"


def test_a_run_is_not_resumed_with_other_options(cnn_run, drawn_faces):
    options = TrainingOptions.from_config(read_config(cnn_run)["training"])
    with pytest.raises(ArtifactError, match="other training: it has epochs 3 instead of 4"):
        train_model(
            "compact_cnn",
            drawn_faces,
            cnn_run,
            dataclasses.replace(options, epochs=4),
            model_options=SMALL,
            resume=True,
        )


def test_the_same_seed_trains_the_same_network(cnn_run, drawn_faces, tmp_path):
    options = TrainingOptions.from_config(read_config(cnn_run)["training"])
    again = train_model("compact_cnn", drawn_faces, tmp_path / "again", options, model_options=SMALL)
    images = drawn_faces.images[:16]
    np.testing.assert_allclose(
        load_classifier(again).predict_proba(images), load_classifier(cnn_run).predict_proba(images), atol=0.02
    )


def test_early_stopping_ends_a_training_that_learns_nothing(drawn_faces, tmp_path):
    options = TrainingOptions(epochs=30, patience=2, learning_rate=1e-9, precision="float32")
    run_dir = train_model("compact_cnn", drawn_faces, tmp_path / "run", options, model_options=SMALL)
    assert len(read_history(run_dir)) < 30


def test_options_survive_json():
    options = TrainingOptions(epochs=7, augmentation=Augmentation(erase=0.9))
    assert TrainingOptions.from_config(json.loads(json.dumps(options.to_config()))) == options
    plain = TrainingOptions(augmentation=None)
    assert TrainingOptions.from_config(json.loads(json.dumps(plain.to_config()))) == plain


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": -1}, {"resample": "magic"}, {"precision": "int4"}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(FerlibError, match=next(iter(wrong))):
        TrainingOptions(**wrong)


@pytest.mark.parametrize("damage", ["config", "model"])
def test_a_damaged_run_is_named(cnn_run, tmp_path, damage):
    for path in cnn_run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / ("config.json" if damage == "config" else "model.onnx")).write_bytes(b"{")
    with pytest.raises(ArtifactError, match="config.json" if damage == "config" else "model.onnx"):
        load_classifier(tmp_path)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="no run folder"):
        load_classifier(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="not a run folder"):
        load_classifier(tmp_path)


@pytest.mark.slow
def test_killed_at_any_moment_it_continues(tmp_path):
    data = write_synthetic(tmp_path / "faces.zip", train_size=350, test_size=70, seed=1)
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "ferlib.train", "--run-dir", str(run_dir), "--data", str(data)]
    new = [*command, "--model", "compact_cnn", "--epochs", "6", "--precision", "float32"]
    with subprocess.Popen(new, stderr=subprocess.PIPE) as training:
        deadline = time.monotonic() + 120
        while not any(run_dir.glob("checkpoint/last-*.weights.h5")) and time.monotonic() < deadline:
            assert training.poll() is None, training.stderr.read().decode()
            time.sleep(0.05)
        training.send_signal(signal.SIGKILL)
    before = read_history(run_dir)
    assert 1 <= len(before) < 6
    with pytest.raises(ArtifactError, match="--resume"):
        load_classifier(run_dir)
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    after = read_history(run_dir)
    assert [row["epoch"] for row in after] == list(range(1, 7))
    assert after[0] == before[0]
    # The cosine ends at zero only if the optimizer's count of steps went on.
    assert after[-1]["learning_rate"] < 1e-6
    assert "test: accuracy" in resumed.stdout
    dataset = split_dataset(load_images(data))
    assert load_classifier(run_dir).predict_proba(dataset.split("test").images).shape == (70, 7)
