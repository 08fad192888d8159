"""A folded network computes the same as the original with fewer layers."""

from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers

from ferlib.export.folding import fold_network
from ferlib.models import get_model, list_models


def randomize(model):
    """Give batch normalizations and biases values as after a training."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        elif getattr(layer, "use_bias", False):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(size=bias.shape)])
    return model


def fold(model):
    """Return how many layers of each type the folded network has, after comparing its results."""
    randomize(model)
    folded = fold_network(model)
    images = np.random.default_rng(0).integers(0, 256, (4, *model.input_shape[1:])).astype(np.float32)
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(folded.predict_on_batch(images), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    return Counter(type(layer).__name__ for layer in folded.layers)


def normalized(x, width, kernel_size, strides=1):
    """Apply a convolution and batch normalization."""
    x = layers.Conv2D(width, kernel_size, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


@pytest.mark.parametrize("name", [name for name in list_models() if get_model(name).kind == "cnn"])
def test_every_network_keeps_its_probabilities(name):
    spec = get_model(name)
    options = {"weights": None} if "weights" in spec.defaults else {}
    counts = fold(spec.build(7, image_size=spec.image_size, channels=spec.channels, **options))
    assert counts["Dense"] >= 1


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("strides", [1, 2])
def test_repvgg_blocks_become_one_convolution(strides, size):
    inputs = keras.Input((size, size, 3))
    x = inputs
    for width, step in ((8, strides), (8, 1)):
        branches = [normalized(x, width, 3, step), normalized(x, width, 1, step)]
        if step == 1 and x.shape[-1] == width:
            branches.append(layers.BatchNormalization()(x))
        x = layers.ReLU()(layers.Add()(branches))
    assert fold(keras.Model(inputs, x)) == {"InputLayer": 1, "Conv2D": 2, "ReLU": 2}


def test_fast_cnn_becomes_a_plain_network():
    counts = fold(get_model("fast_cnn").build(7))
    assert (counts["Conv2D"], counts["Add"], counts["BatchNormalization"]) == (9, 0, 0)


def test_residual_blocks_end_in_an_addition_and_relu():
    counts = fold(get_model("face_resnet").build(7, pretrained=False))
    assert counts["BatchNormalization"] == counts["Rescaling"] == counts["Concatenate"] == 0
    # 27 convolutions of the network, and one for each of the three shortcuts that append zeros.
    assert (counts["Conv2D"], counts["Add"]) == (30, 13)


def test_gates_multiply_pooled_features():
    counts = fold(get_model("compact_cnn").build(7, widths=(8, 16)))
    assert (counts["Dense"], counts["Multiply"], counts["BatchNormalization"]) == (1, 2, 0)
    model = fold_network(get_model("compact_cnn").build(7, widths=(8, 16)))
    assert [layer.output.shape[1:] for layer in model.layers if isinstance(layer, layers.Multiply)] == [
        (12, 12, 8),
        (16,),
    ]


def test_rescaling_is_folded_where_padding_allows_it():
    def network(offset, padding):
        inputs = keras.Input((9, 9, 2))
        x = layers.Rescaling([0.5, 2.0], offset)(inputs)
        return keras.Model(inputs, layers.Conv2D(4, 3, padding=padding, activation="relu")(x))

    assert fold(network(0.0, "same"))["Rescaling"] == 0
    assert fold(network(1.0, "same"))["Rescaling"] == 1


def test_a_layer_that_is_used_twice_is_kept():
    inputs = keras.Input((8, 8, 4))
    x = normalized(inputs, 4, 3)
    fold(keras.Model(inputs, layers.Add()([layers.ReLU()(x), layers.MaxPooling2D(3, 1, "same")(x), inputs])))


def test_a_network_for_any_image_size_is_unchanged():
    model = get_model("gap_cnn").build(7, image_size=(None, None))
    assert fold_network(model) is model
