"""Networks of keras.applications with a new head."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ferlib.core.errors import FerlibError, OptionError
from ferlib.models import get_model
from ferlib.synthetic.generate import write_synthetic

RANDOM = {"weights": None, "upscale": 1}
BACKBONES = ("MobileNetV3Small", "EfficientNetV2B0", "ResNet50", "VGG16")
transfer = get_model("transfer").build


def slow_to_build(name):
    return name in ("EfficientNetV2B0", "ResNet50")


@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=[pytest.mark.slow] * slow_to_build(name)) for name in BACKBONES]
)
def test_backbones_take_gray_images(backbone):
    model = transfer(7, backbone=backbone, **RANDOM)
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype(np.float32)
    probabilities = model.predict_on_batch(images)
    assert probabilities.shape == (2, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # With a frozen backbone only kernel and bias of the head are trained.
    model.get_layer("backbone").trainable = False
    assert len(model.trainable_weights) == 2


def test_face_backbone_has_the_weights_that_ship():
    faces = get_model("face_resnet").build(7)
    model = transfer(7, backbone="face_resnet")
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype(np.float32)
    trunk = model.get_layer("backbone")
    model.get_layer("probabilities").set_weights(faces.get_layer("probabilities").get_weights())
    np.testing.assert_allclose(model.predict_on_batch(images), faces.predict_on_batch(images), atol=1e-5)
    trunk.trainable = False
    assert len(model.trainable_weights) == 2
    random = transfer(7, backbone="face_resnet", weights="none").get_layer("backbone")
    assert random.count_params() == trunk.count_params()
    assert any(np.abs(a - b).max() > 0.01 for a, b in zip(random.get_weights(), trunk.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("backbone", "preprocess"),
    [
        # VGG16 and ResNet50 expect BGR minus the channel means; MobileNetV3 rescales inside.
        ("VGG16", lambda red: red[..., ::-1] - np.float32([103.939, 116.779, 123.68])),
        pytest.param(
            "ResNet50",
            lambda red: red[..., ::-1] - np.float32([103.939, 116.779, 123.68]),
            marks=pytest.mark.slow,
        ),
        ("MobileNetV3Small", lambda red: red),
    ],
)
def test_backbone_gets_its_own_preprocessing(backbone, preprocess):
    model = transfer(7, backbone=backbone, channels=3, image_size=(32, 32), **RANDOM)
    red = np.zeros((1, 32, 32, 3), np.float32)
    red[..., 0] = np.arange(32) * 8
    features = model.get_layer("backbone").predict_on_batch(preprocess(red)).mean(axis=(1, 2))
    kernel, bias = model.get_layer("probabilities").get_weights()
    exponent = np.exp(features @ kernel + bias)
    np.testing.assert_allclose(model.predict_on_batch(red), exponent / exponent.sum(), atol=1e-5)


def test_seed_determines_weights_and_dtype_policy_is_restored():
    import keras

    before = keras.config.dtype_policy()
    first, again = (transfer(7, seed=3, dtype="mixed_bfloat16", **RANDOM).get_weights() for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert keras.config.dtype_policy() == before


def test_weights_come_from_a_file_that_fits(tmp_path):
    source = transfer(7, seed=1, **RANDOM).get_layer("backbone")
    file = tmp_path / "mobilenet.weights.h5"
    source.save_weights(file)
    loaded = transfer(4, seed=2, weights=str(file), upscale=1).get_layer("backbone")
    for ours, theirs in zip(loaded.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(FerlibError, match="does not fit VGG16"):
        transfer(7, backbone="VGG16", weights=str(file), upscale=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"backbone": "ResNet9000"}, "'ResNet9000' for transfer option 'backbone': expected one of .*ResNet50"),
        ({"backbone": "face_resnet", "channels": 3}, "takes gray images, .* got 3 channels"),
        ({"backbone": "face_resnet", "weights": "a.h5"}, "pretrained or none; got 1 channels and weights=a.h5"),
        ({"weights": "missing.h5"}, r"'missing\.h5' for transfer option 'weights': expected 'pretrained', 'none' or"),
    ],
)
def test_missing_backbone_or_weights_file_is_refused(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        transfer(7, **options)


@pytest.mark.slow
def test_failed_download_explains_how_to_get_the_weights(tmp_path):
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
