"""Grad-CAM and occlusion maps find the decisive region."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ferlib.core.backend import import_keras
from ferlib.evaluation.explain import average_maps, grad_cam, occlusion_maps, stage_features


def spots():
    """Return images with one bright square in a corner, and the squares' positions."""
    images = np.full((8, 48, 48, 1), 60, np.uint8)
    corners = [(4, 4), (4, 32), (32, 4), (32, 32)] * 2
    for image, (y, x) in zip(images, corners, strict=True):
        image[y : y + 12, x : x + 12] = 220
    return images, corners


@pytest.fixture(scope="module")
def network():
    """Return a network whose class 1 responds to bright regions: convolution, pooling, dropout, dense."""
    keras = import_keras()
    inputs = keras.Input((48, 48, 1))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(2, 3, strides=4, padding="same", activation="relu", name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.5)(x)
    outputs = keras.layers.Dense(2, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    bright = np.zeros((3, 3, 1, 2), np.float32)
    bright[..., 0] = 1 / 9
    model.layers[2].set_weights([bright, np.float32([-0.4, 0.3])])
    model.layers[-1].set_weights([np.float32([[0, 30], [0, 0]]), np.float32([0, -1])])
    return model


def test_stages_are_the_last_maps_of_each_size(network):
    images, [(y, x), *_] = spots()
    stages = stage_features(network, images[0])
    assert list(stages) == ["12 x 12"]
    assert stages["12 x 12"].shape == (12, 12, 2)
    bright = stages["12 x 12"][..., 0]
    assert bright[y // 4 + 1, x // 4 + 1] == bright.max() > bright[-2, -2]


def test_grad_cam_finds_the_decisive_region(network):
    images, corners = spots()
    before = network.get_weights()
    maps = grad_cam(network, images, np.ones(8, int))
    assert maps.shape == (8, 48, 48)
    for cam, (y, x) in zip(maps, corners, strict=True):
        inside = cam[y : y + 12, x : x + 12].mean()
        assert inside > 0.5
        assert cam.sum() < 1.8 * cam[y - 4 : y + 16, x - 4 : x + 16].sum()
        assert cam.max() == 1
    for ours, theirs in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # The other class has zero weights.
    assert grad_cam(network, images, np.zeros(8, int)).max() == 0
    np.testing.assert_allclose(maps, grad_cam(network, images, np.ones(8, int)), atol=1e-5)
    assert grad_cam(network, images[:0], np.ones(0, int)).shape[0] == 0


def test_occlusion_maps_find_the_decisive_region(network):
    images, corners = spots()
    predict = lambda images: np.asarray(network.predict_on_batch(images.astype(np.float32)))  # noqa: E731
    maps = occlusion_maps(predict, images, np.ones(8, int))
    for lost, (y, x) in zip(maps, corners, strict=True):
        assert lost[y : y + 12, x : x + 12].mean() > 5 * np.abs(np.delete(lost, np.s_[y - 4 : y + 16], axis=0)).mean()


def test_maps_are_averaged_per_class():
    maps = np.stack([np.full((2, 2), value, np.float32) for value in (1, 3, 10)])
    means = average_maps(maps, np.array([0, 0, 2]), 3)
    assert means[:, 0, 0].tolist() == [2, 0, 10]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_grad_cam_agrees_between_backends(backend, tmp_path, network):
    pytest.importorskip(backend)
    images, _ = spots()
    network.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import numpy as np, sys; from ferlib.runs.classifier import load_keras_model; "
        "from ferlib.evaluation.explain import grad_cam; folder = sys.argv[1]; "
        "maps = grad_cam(load_keras_model(folder), np.load(folder + '/images.npy'), np.ones(8, int)); "
        "np.save(folder + '/maps.npy', maps)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"KERAS_BACKEND": backend}, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), grad_cam(network, images, np.ones(8, int)), atol=1e-3)
