"""Layers for training on TensorFlow compute the same as Keras's own."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ferlib.core.backend import import_keras
from ferlib.models import get_model

keras = import_keras()

from ferlib.training.tensorflow_layers import (  # noqa: E402
    FusedBatchNormalization,
    SubsampledConvolution,
    adapt_to_tensorflow,
)

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the layers are TensorFlow's")


COMPACT = ("compact_cnn", {"widths": (4, 8)})
STRIDED = ("fast_cnn", {"stem": 8, "widths": (8,), "depths": (1,)})


def train(adapted, name, options, *, frozen=False):
    """Weights and losses of three steps of gradient descent, and the predictions before and after."""
    model = get_model(name).build(3, **options, dropout=0.0)
    if adapted:
        model = adapt_to_tensorflow(model)
    for layer in model.layers:
        layer.trainable = not (frozen and isinstance(layer, keras.layers.BatchNormalization))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 48, 48, 1)).astype(np.float32)
    before = model.predict(images, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    losses = [float(model.train_on_batch(images, np.eye(3)[np.arange(16) % 3])) for _ in range(3)]
    return model.get_weights(), losses, before, model.predict(images, verbose=0)


@pytest.mark.parametrize(("network", "frozen"), [(COMPACT, False), (COMPACT, True), (STRIDED, False)])
def test_training_gives_the_same_weights(network, frozen):
    for ours, theirs in zip(train(True, *network, frozen=frozen), train(False, *network, frozen=frozen), strict=True):
        for our_values, their_values in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our_values, their_values, rtol=2e-3, atol=2e-4)


def test_all_plain_layers_are_fused():
    model = get_model("transfer").build(3, weights="none", upscale=1)
    fused = adapt_to_tensorflow(model)
    expected = [layer.name for layer in model._flatten_layers() if type(layer) is keras.layers.BatchNormalization]
    assert [layer.name for layer in fused._flatten_layers() if isinstance(layer, FusedBatchNormalization)] == expected
    assert len(expected) > 10
    assert [layer.name for layer in fused.layers] == [layer.name for layer in model.layers]
    for before, after in zip(model.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_special_layers_are_not_fused():
    images = keras.Input((8, 8, 2))
    unscaled = keras.layers.BatchNormalization(scale=False)(images)
    flat = keras.layers.BatchNormalization()(keras.layers.Flatten()(unscaled))
    assert not any(
        isinstance(layer, FusedBatchNormalization) for layer in adapt_to_tensorflow(keras.Model(images, flat)).layers
    )


@pytest.mark.parametrize(("stem", "replaced"), [(8, {"stage1_1_conv1"}), (16, set())])
def test_strided_convolutions_of_few_channels_are_replaced(stem, replaced):
    model = adapt_to_tensorflow(get_model("fast_cnn").build(3, stem=stem, widths=(16, 32), depths=(1, 1)))
    assert {layer.name for layer in model.layers if isinstance(layer, SubsampledConvolution)} == replaced


@pytest.mark.slow
def test_a_batch_of_one_image_does_not_crash_with_few_channels():
    code = (
        "import numpy as np; from ferlib.core.backend import import_keras; keras = import_keras()\n"
        "from ferlib.models import get_model\n"
        "from ferlib.training.tensorflow_layers import adapt_to_tensorflow\n"
        f"model = adapt_to_tensorflow(get_model('fast_cnn').build(3, **{STRIDED[1]}))\n"
        "model.compile('sgd', 'categorical_crossentropy')\n"
        "for _ in range(5): model.train_on_batch(np.ones((1, 48, 48, 1)), np.eye(3)[:1])\n"
        "print('trained')"
    )
    threads = {"OMP_NUM_THREADS": "2", "TF_NUM_INTRAOP_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | threads, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
