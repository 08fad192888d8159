"""Run folders: the delivered one is whole, damaged ones are named, hostile ones are refused."""

import json
import subprocess

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArtifactError
from ferlib.evaluation import best_epoch
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import pretrained_run_dir, read_config, read_history, read_metrics, write_history

CONFIG = {"model": "stranger", "class_names": EMOTIONS, "image_size": [48, 48], "channels": 1}


@pytest.fixture
def run_dir(tmp_path):
    """A run folder without a model."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_the_delivered_model_is_whole_and_small():
    folder = pretrained_run_dir()
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("config.json", "history.json", "history.csv", "metrics.json", "model_card.md", "model.keras", "model.onnx")
    }
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 6_000_000
    config = read_config(folder)
    assert (config["model"], config["status"]) == ("compact_cnn", "finished")
    assert tuple(config["class_names"]) == EMOTIONS
    assert not config["data"]["synthetic"]
    # It chose by val, which was cut from Training, and kept its hands off test.
    images = {split: sum(counts.values()) for split, counts in config["data"]["pictures"].items()}
    assert images["train"] + images["val"] == 28_709
    assert images["test"] == read_metrics(folder)["test"]["n"] == 3_589
    assert (
        f"the weights are those of epoch {best_epoch(read_history(folder))}," in (folder / "model_card.md").read_text()
    )


def test_the_delivered_model_answers_for_faces(drawn_faces):
    classifier = load_classifier()
    images = drawn_faces.images[:8]
    probabilities = classifier.predict_proba(images)
    assert probabilities.shape == (8, len(EMOTIONS))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    if classifier.test_time_augmentation == "flip":
        np.testing.assert_allclose(classifier.predict_proba(images[:, :, ::-1]), probabilities, atol=1e-5)


def test_a_history_is_read_as_it_was_written(tmp_path):
    rows = [{"epoch": 1, "loss": 1.5}, {"epoch": 2, "loss": 1.25}]
    write_history(tmp_path, rows)
    assert read_history(tmp_path) == rows
    assert (tmp_path / "history.csv").read_text() == "epoch,loss\n1,1.5\n2,1.25\n"
    assert read_metrics(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "cannot be read"), ("{", "cannot be read"), ("7", "lacks model"), ('{"model": "a"}', "lacks class_names")],
)
def test_a_damaged_configuration_is_named(tmp_path, text, sentence):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match=rf"config\.json {sentence}"):
        load_classifier(tmp_path)


def test_a_folder_without_a_model_is_named(run_dir):
    with pytest.raises(ArtifactError, match="holds no model"):
        load_classifier(run_dir)
    with pytest.raises(ArtifactError, match="has no Keras network"):
        load_keras_model(run_dir)


def test_a_pipeline_that_would_run_foreign_code_is_refused(run_dir):
    pipeline = make_pipeline(FunctionTransformer(subprocess.check_output)).fit([["touch", "owned"]])
    skops.io.dump(pipeline, run_dir / "model.skops")
    with pytest.raises(ArtifactError, match=r"model\.skops cannot be loaded .*check_output"):
        load_classifier(run_dir)


def test_a_network_that_would_run_foreign_code_is_refused(run_dir):
    import keras

    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Lambda(lambda x: x[:, 0, :7, 0])])
    model.save(run_dir / "model.keras")
    with pytest.raises(ArtifactError, match=r"model\.keras cannot be loaded .*Lambda"):
        load_classifier(run_dir)
