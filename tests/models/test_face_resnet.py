"""face_resnet computes what the network that it was converted from computes."""

import convert_dlib
import cv2
import keras
import numpy as np
import pytest

from ferlib.core.errors import OptionError
from ferlib.models import get_model
from ferlib.models.face_resnet import WEIGHTS, build_trunk


@pytest.fixture(scope="module")
def tensors():
    """Random tensors with the names and shapes of the source."""
    rng = np.random.default_rng(0)
    inputs, features = build_trunk()
    tensors = {}
    for layer in keras.Model(inputs, features).layers:
        if isinstance(layer, keras.layers.Conv2D):
            name, shape = layer.name.replace("_conv", "/conv"), layer.kernel.shape
            shape = (7, 7, 3, 32) if name == "conv32_down" else tuple(shape)
            tensors[f"{name}/conv/filters"] = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32)
            tensors[f"{name}/conv/bias"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
            tensors[f"{name}/scale/weights"] = rng.uniform(0.5, 1.5, shape[-1]).astype(np.float32)
            tensors[f"{name}/scale/biases"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
    return tensors


def test_stem_equals_the_original_on_the_enlarged_image(tensors, drawn_faces):
    image = drawn_faces.images[0]
    enlarged = cv2.resize(image.astype(np.float32)[..., 0], (96, 96), interpolation=cv2.INTER_LINEAR)
    color = (np.repeat(enlarged[..., np.newaxis], 3, axis=2) - convert_dlib.MEAN_COLOR) / 255
    kernel, bias = convert_dlib.fold_scale(tensors, "conv32_down")
    expected = np.asarray(keras.ops.conv(color[np.newaxis].astype(np.float32), kernel, strides=2)) + bias
    small, small_bias = convert_dlib.fold_stem(kernel, bias)
    pixels = image[np.newaxis].astype(np.float32)
    found = np.asarray(keras.ops.conv(pixels, small.astype(np.float32))) + small_bias
    # The original has 45 positions, ours 44: it starts one pixel later.
    np.testing.assert_allclose(found[0, :43, :43], expected[0, 1:44, 1:44], atol=1e-3)


@pytest.mark.slow
def test_normalized_layers_equal_the_scaled_layers_of_the_original(tensors, drawn_faces):
    arrays = convert_dlib.convert(tensors, drawn_faces.images[:32])
    assert set(arrays) >= {"conv32_down", "conv256_2_conv2", "conv256_2_conv2_gamma"}
    rng = np.random.default_rng(1)
    for name in ("conv32_1_conv1", "conv64_down_conv1", "conv256_2_conv2"):
        kernel, bias = convert_dlib.fold_scale(tensors, name.replace("_conv", "/conv"))
        x = rng.normal(size=(1, 8, 8, kernel.shape[2])).astype(np.float32)
        convolved = np.asarray(keras.ops.conv(x, kernel, padding="same"))
        gamma, beta, mean, variance = (arrays[f"{name}_{part}"] for part in ("gamma", "beta", "mean", "variance"))
        normalized = (convolved - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        np.testing.assert_allclose(normalized, convolved + bias, atol=1e-3)


def test_packed_kernels_keep_two_digits(tensors):
    kernel, _ = convert_dlib.fold_scale(tensors, "conv32_1/conv1")
    packed = convert_dlib.pack({"conv": kernel})
    assert packed["conv"].dtype == np.int8
    assert np.abs(packed["conv"] * packed["conv_scale"] - kernel).max() < 0.01 * np.abs(kernel).max()


def test_pretrained_weights_ship_and_load():
    assert WEIGHTS.stat().st_size < 6_000_000
    assert (WEIGHTS.parent / "README.md").exists()
    spec = get_model("face_resnet")
    pretrained, random = spec.build(7), spec.build(7, pretrained=False)
    assert pretrained.count_params() == pytest.approx(4.4e6, rel=0.02)
    kernels = [model.get_layer("conv256_2_conv2").get_weights()[0] for model in (pretrained, random)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1


@pytest.mark.real_data
def test_pretrained_features_tell_people_apart_better_than_random_ones(photos_dir):
    """Features of one face under two exposures are closer than those of two faces."""
    from ferlib.core.images import crop, fit_to_model, read_image
    from ferlib.faces import make_detector

    detector, faces = make_detector("mtcnn"), []
    for name in ("ivan.jpg", "hopper.jpg"):
        image = read_image(photos_dir / name)
        box = crop(image, detector.detect(image)[0].box, margin=0.1)
        faces.append(fit_to_model(box[np.newaxis], image_size=(48, 48), channels=1)[0])
    images = np.stack([*faces, *(np.clip(face * 0.7 + 10, 0, 255).astype(np.uint8)[:, ::-1] for face in faces)])
    model = get_model("face_resnet").build(7)
    pooled = keras.Model(model.input, model.layers[-3].output).predict(images.astype(np.float32), verbose=0)
    pooled = (pooled - pooled.mean(axis=0)) / np.linalg.norm(pooled - pooled.mean(axis=0), axis=1, keepdims=True)
    similarity = pooled @ pooled.T
    assert similarity[0, 2] > similarity[0, 1]
    assert similarity[1, 3] > similarity[1, 0]


def test_color_input_is_refused():
    with pytest.raises(OptionError, match="expected channels 1, got 3"):
        get_model("face_resnet").build(7, channels=3)
