"""Classifiers: all kinds of models predict alike, hostile files are refused."""

import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.runs.classifier import KerasClassifier, OnnxClassifier, SklearnClassifier, load_classifier, load_keras_model
from ferlib.runs.folder import Run
from ferlib.runs.records import Calibration, RunConfig


@pytest.fixture
def empty_run(tmp_path):
    """Return a run without a model."""
    run = Run(tmp_path)
    run.write_config(RunConfig(model="custom", kind="cnn", class_names=EMOTIONS, image_size=(48, 48), channels=1))
    return run


def test_the_mean_over_mirror_images_is_symmetric(drawn_faces):
    classifier = load_classifier(test_time_augmentation="flip")
    images = drawn_faces.images[:8]
    probabilities = classifier.predict_proba(images)
    assert isinstance(classifier, OnnxClassifier)
    assert probabilities.shape == (8, len(EMOTIONS))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(images[:, :, ::-1]), probabilities, atol=1e-5)


def test_batches_progress_and_threads_do_not_matter(drawn_faces, monkeypatch):
    classifier = load_classifier(n_threads=1)
    images = drawn_faces.images[:20]
    expected = classifier.predict_proba(images)
    monkeypatch.setattr("ferlib.runs.classifier._BATCH_SIZE", 7)
    np.testing.assert_allclose(classifier.predict_proba(images, progress=True), expected, atol=1e-6)
    monkeypatch.undo()
    with ThreadPoolExecutor(4) as threads:
        for probabilities in threads.map(classifier.predict_proba, [images] * 8):
            np.testing.assert_array_equal(probabilities, expected)
    assert classifier.predict_proba(images[:0]).shape == (0, len(EMOTIONS))


def test_onnx_and_keras_predict_alike(network_run, drawn_faces, tmp_path):
    copy = shutil.copytree(network_run, tmp_path / "run", ignore=shutil.ignore_patterns("model.onnx"))
    by_keras, by_onnx = load_classifier(copy), load_classifier(network_run)
    assert isinstance(by_keras, KerasClassifier)
    images = drawn_faces.images[:9]
    np.testing.assert_allclose(by_keras.predict_proba(images), by_onnx.predict_proba(images), atol=1e-4)


def test_pipeline_predicts_like_a_network(bovw_run, drawn_faces):
    classifier = load_classifier(bovw_run)
    assert isinstance(classifier, SklearnClassifier)
    probabilities = classifier.predict_proba(drawn_faces.images[:9])
    assert probabilities.shape == (9, len(EMOTIONS))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_options_change_predictions(drawn_faces):
    images = drawn_faces.images[:5]
    plain = load_classifier(calibrated=False, test_time_augmentation="none")
    calibrated = load_classifier(test_time_augmentation="none")
    assert plain.config.calibration is None
    np.testing.assert_allclose(
        calibrated.config.calibration.apply(plain.predict_proba(images)), calibrated.predict_proba(images), rtol=1e-5
    )
    with pytest.raises(OptionError, match="expected one of none, flip, ten_crop, got 'twice'"):
        load_classifier(test_time_augmentation="twice")


def test_ensemble_is_the_mean_of_calibrated_members(network_run, drawn_faces, tmp_path):
    run = Run(tmp_path / "ensemble")
    calibration = Calibration(scales=(0.5,) * 7, biases=(0.0,) * 7)
    config = Run(network_run).config
    run.write_config(replace(config, model="ensemble", kind="ensemble", n_members=2, calibration=None))
    for number in range(2):
        shutil.copytree(network_run, run.path / "members" / f"{number}-compact_cnn")
    run.members[1].write_config(replace(config, calibration=calibration))
    images = drawn_faces.images[:5]
    parts = [load_classifier(member).predict_proba(images) for member in run.members]
    np.testing.assert_allclose(load_classifier(run).predict_proba(images), np.mean(parts, axis=0), atol=1e-6)
    run.write_config(replace(run.config, status="training"))
    shutil.rmtree(run.members[1].path)
    with pytest.raises(ArtifactError, match="is not complete"):
        load_classifier(run)


def test_run_without_a_model_is_named(empty_run):
    with pytest.raises(ArtifactError, match="contains no model"):
        load_classifier(empty_run)
    with pytest.raises(ArtifactError, match="has no Keras network"):
        load_keras_model(empty_run)


def test_pipeline_with_foreign_code_is_refused(empty_run):
    pipeline = make_pipeline(FunctionTransformer(subprocess.check_output)).fit([["touch", "owned"]])
    skops.io.dump(pipeline, empty_run.path / "model.skops")
    with pytest.raises(ArtifactError, match=r"model\.skops cannot be loaded .*check_output"):
        load_classifier(empty_run)


def test_pipeline_with_former_classes_asks_for_training(empty_run, monkeypatch):
    module = types.ModuleType("ferlib.words.bag")
    module.BagOfVisualWords = type("BagOfVisualWords", (BaseEstimator,), {"__module__": "ferlib.words.bag"})
    monkeypatch.setitem(sys.modules, "ferlib.words.bag", module)
    skops.io.dump(make_pipeline(module.BagOfVisualWords()), empty_run.path / "model.skops")
    with pytest.raises(ArtifactError, match=r"another version of ferlib .*; train the model again"):
        load_classifier(empty_run)


def test_network_with_foreign_code_is_refused(empty_run):
    import keras

    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Lambda(lambda x: x[:, 0, :7, 0])])
    model.save(empty_run.path / "model.keras")
    with pytest.raises(ArtifactError, match=r"model\.keras has a layer Lambda, which can run code"):
        load_classifier(empty_run)
