"""Backbones of keras.applications: by name, with weights from a file, and without a network."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ferlib.core.errors import FerlibError
from ferlib.models.transfer import BACKBONES, transfer
from ferlib.synthetic.generate import write_synthetic

RANDOM = {"weights": None, "upscale": 1}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_answers_for_gray_images(backbone):
    model = transfer(7, backbone=backbone, **RANDOM)
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype(np.float32)
    probabilities = model.predict_on_batch(images)
    assert probabilities.shape == (2, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # What is trained first is the head alone.
    model.get_layer("backbone").trainable = False
    assert len(model.trainable_weights) == 2


@pytest.mark.parametrize(
    ("backbone", "prepared"),
    [
        # VGG16 and ResNet50 were trained on blue, green, red, each less its mean; the others prepare images inside.
        ("VGG16", lambda red: red[..., ::-1] - np.float32([103.939, 116.779, 123.68])),
        ("ResNet50", lambda red: red[..., ::-1] - np.float32([103.939, 116.779, 123.68])),
        ("MobileNetV3Small", lambda red: red),
    ],
)
def test_a_backbone_sees_the_images_that_it_was_made_for(backbone, prepared):
    model = transfer(7, backbone=backbone, channels=3, image_size=(32, 32), **RANDOM)
    red = np.zeros((1, 32, 32, 3), np.float32)
    red[..., 0] = np.arange(32) * 8
    features = model.get_layer("backbone").predict_on_batch(prepared(red)).mean(axis=(1, 2))
    kernel, bias = model.get_layer("probabilities").get_weights()
    exponent = np.exp(features @ kernel + bias)
    np.testing.assert_allclose(model.predict_on_batch(red), exponent / exponent.sum(), atol=1e-5)


def test_the_seed_decides_the_weights_and_the_policy_is_put_back():
    import keras

    before = keras.config.dtype_policy()
    first, again = (transfer(7, seed=3, dtype="mixed_bfloat16", **RANDOM).get_weights() for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert keras.config.dtype_policy() == before


def test_weights_come_from_a_file(tmp_path):
    source = transfer(7, seed=1, **RANDOM)
    file = tmp_path / "mobilenet.weights.h5"
    source.get_layer("backbone").save_weights(file)
    model = transfer(4, seed=2, weights=str(file), upscale=1)
    for ours, theirs in zip(
        model.get_layer("backbone").get_weights(), source.get_layer("backbone").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_backbone_or_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        FerlibError, match=r"Invalid value 'ResNet9000' for transfer option 'backbone': expected one of .*ResNet50"
    ):
        transfer(7, backbone="ResNet9000")
    with pytest.raises(FerlibError, match=r"Invalid value 'missing\.h5' for transfer option 'weights'"):
        transfer(7, weights="missing.h5")
    other = tmp_path / "other.weights.h5"
    transfer(7, backbone="VGG16", **RANDOM).get_layer("backbone").save_weights(other)
    with pytest.raises(FerlibError, match="does not fit MobileNetV3Small"):
        transfer(7, weights=str(other), upscale=1)


@pytest.mark.slow
def test_without_a_network_it_says_how_to_supply_the_weights(tmp_path):
    data = write_synthetic(tmp_path / "faces.zip", train_size=70, test_size=14)
    closed = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-m", "ferlib.train", "--model", "transfer", "--data", str(data), "--run-dir", "run"],
        cwd=tmp_path,
        env=os.environ | {"KERAS_HOME": str(tmp_path / "cache"), "https_proxy": closed, "http_proxy": closed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "error: The ImageNet weights of MobileNetV3Small could not be downloaded" in done.stderr
    assert "--model-option weights=MobileNetV3Small.weights.h5" in done.stderr
    assert "Traceback" not in done.stderr
