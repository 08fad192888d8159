"""Networks map images of 0 to 255 to probabilities."""

import numpy as np
import pytest

from ferlib.core.images import fit_to_model
from ferlib.models import get_model

compact_cnn, plain_cnn = get_model("compact_cnn").build, get_model("plain_cnn").build

# Quick to build, with the same types of layers.
SMALL = {
    "compact_cnn": {"widths": (8, 16)},
    "gap_cnn": {"widths": (8, 16), "dense": 8},
    "plain_cnn": {"depth": 2, "width": 4, "dense": 8},
    "three_block_cnn": {"widths": (4, 8, 16), "dense": (16, 8)},
    "vgg_dense": {"widths": (4, 8), "convolutions": (2, 1), "dropouts": (0.1, 0.1), "dense": (16,)},
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("image_size", "channels", "n_classes"), [((48, 48), 1, 7), ((64, 40), 3, 4)])
def test_probabilities_for_any_input_size(name, image_size, channels, n_classes):
    model = get_model(name).build(n_classes, image_size=image_size, channels=channels, **SMALL[name])
    images = np.random.default_rng(0).integers(0, 256, (3, *image_size, channels)).astype(np.float32)
    probabilities = model.predict_on_batch(images)
    assert probabilities.shape == (3, n_classes)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_seed_determines_initial_weights(name):
    first, again, other = (get_model(name).build(7, seed=s, **SMALL[name]).get_weights() for s in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_probabilities_stay_float32_in_mixed_precision(name):
    model = get_model(name).build(7, dtype="mixed_bfloat16", **SMALL[name])
    assert model.layers[-1].compute_dtype == "float32"
    assert any(layer.compute_dtype == "bfloat16" for layer in model.layers)
    assert {str(weight.dtype) for weight in model.trainable_weights} == {"float32"}


@pytest.mark.parametrize(
    ("name", "parameters"), [("compact_cnn", 1.21e6), ("vgg_dense", 10.5e6), ("gap_cnn", 0.42e6), ("plain_cnn", 0.68e6)]
)
def test_number_of_parameters_is_as_documented(name, parameters):
    assert get_model(name).build(7).count_params() == pytest.approx(parameters, rel=0.02)


def test_three_block_cnn_takes_64x64_rgb():
    spec = get_model("three_block_cnn")
    assert (spec.image_size, spec.channels) == ((64, 64), 3)
    assert spec.build(7, **SMALL["three_block_cnn"]).input_shape == (None, 64, 64, 3)


def test_weights_fit_other_image_sizes():
    free = compact_cnn(7, image_size=(None, None), widths=(8, 16))
    fixed = compact_cnn(7, widths=(8, 16), seed=1)
    fixed.set_weights(free.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype(np.float32)
    np.testing.assert_allclose(free.predict_on_batch(images), fixed.predict_on_batch(images), atol=1e-6)
    assert free.predict_on_batch(images[:, :40, :40]).shape == (2, 7)


def test_stem_and_depth_set_the_convolutions():
    def shapes(**options):
        layers = compact_cnn(7, widths=(8, 16), **options).layers
        return [layer.output.shape[1:] for layer in layers if type(layer).__name__ == "Conv2D"]

    assert shapes() == [(24, 24, 8)] * 3 + [(12, 12, 16)] * 2
    assert shapes(stem=(4,), depth=[1, 3]) == [(48, 48, 4)] + [(24, 24, 8)] * 2 + [(12, 12, 16)] * 3


def test_se_reduction_of_zero_removes_the_gates():
    names = [[type(layer).__name__ for layer in compact_cnn(7, widths=(8,), se_reduction=r).layers] for r in (4, 0)]
    assert ["Multiply" in each for each in names] == [True, False]


def test_plain_cnn_options_set_its_layers():
    def layers(**options):
        return [type(layer).__name__ for layer in plain_cnn(7, width=4, **options).layers]

    assert layers(depth=4).count("Conv2D") == 4
    assert layers(pooling="average").count("AveragePooling2D") == 3
    assert "Pooling2D" not in "".join(layers(pooling="stride"))
    assert layers(dense=0).count("Dense") == 1
    assert "BatchNormalization" in layers(batch_norm=True)
    assert "BatchNormalization" not in layers()
    # Each stage halves the image: 48 / 2 ** 3 = 6 per side, with 4 * 2 ** 2 channels.
    for pooling in ("max", "average", "stride"):
        model = plain_cnn(7, width=4, pooling=pooling)
        flat = next(layer for layer in model.layers if type(layer).__name__ == "Flatten")
        assert flat.output.shape == (None, 6 * 6 * 16)


@pytest.mark.slow
def test_three_block_cnn_does_not_collapse_to_one_class(drawn_faces):
    # Without batch normalization, Adam's first steps push its dense units below 0.
    import keras

    train = drawn_faces.split("train")
    images = fit_to_model(train.images[:140], image_size=(64, 64), channels=3).astype(np.float32)
    model = get_model("three_block_cnn").build(7)
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    model.fit(images, np.eye(7)[train.labels[:140]], batch_size=32, epochs=4, verbose=0)
    assert model.predict(images, verbose=0).std(axis=0).mean() > 0.02
