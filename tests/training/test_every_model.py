"""Every model trains, saves and loads; also on other backends."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ferlib.data import load_images
from ferlib.models import get_model, list_models
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic
from ferlib.train import main

# Options that make a training quick, or independent of a network connection.
OPTIONS = {
    "transfer": ("weights=none", "upscale=1"),
    "ensemble": ("size=2", 'member_options={"widths": [4, 8]}'),
    "bovw": ("n_words=50",),
    "bovw_spatial": ("n_words=50",),
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=140, test_size=35)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name == "vgg_dense" else []) for name in list_models()]
)
def test_a_model_trains_saves_and_loads(name, faces, tmp_path):
    run_dir = tmp_path / "run"
    chosen = [part for option in OPTIONS.get(name, ()) for part in ("--model-option", option)]
    arguments = ["--model", name, "--data", str(faces), "--run-dir", str(run_dir), "--epochs", "1", *chosen]
    assert main(arguments) == 0
    config = Run(run_dir).config
    assert (config.model, config.status) == (name, "finished")
    assert Run(run_dir).metrics["test"].n == 35

    images = load_images(faces).split("test").images
    probabilities = load_classifier(run_dir).predict_proba(images)
    np.testing.assert_array_equal(load_classifier(run_dir).predict_proba(images), probabilities)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    if get_model(name).kind == "cnn":
        (run_dir / "model.onnx").unlink()
        np.testing.assert_allclose(load_classifier(run_dir).predict_proba(images), probabilities, atol=1e-4)
        assert config.parameters == load_keras_model(run_dir).count_params()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_too(backend, faces, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    run_dir = tmp_path / "run"
    command = ["-m", "ferlib.train", "--model", "compact_cnn", "--model-option", "widths=[8,16]", "--data", str(faces)]
    done = subprocess.run(
        [sys.executable, *command, "--run-dir", str(run_dir), "--epochs", "2", "--ema", "0.9", "--mixup", "1"],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Run(run_dir).config.backend == backend
    assert len(Run(run_dir).history) == 2
    images = load_images(faces).split("test").images
    by_onnx = load_classifier(run_dir).predict_proba(images)
    (run_dir / "model.onnx").unlink()
    # This process uses TensorFlow.
    np.testing.assert_allclose(load_classifier(run_dir).predict_proba(images), by_onnx, atol=1e-4)
