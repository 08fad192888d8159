"""Fused batch normalization trains like Keras's own layer."""

import numpy as np
import pytest

from ferlib.core.backend import import_keras
from ferlib.models import get_model

keras = import_keras()

from ferlib.training.fused_batch_norm import FusedBatchNormalization, fuse_batch_norm  # noqa: E402

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the fused operation is TensorFlow's")


def train(fused, *, frozen=False):
    """Weights and losses of three steps of gradient descent, and the predictions before and after."""
    model = get_model("compact_cnn").build(3, widths=(4, 8), dropout=0.0)
    if fused:
        model = fuse_batch_norm(model)
    for layer in model.layers:
        layer.trainable = not (frozen and isinstance(layer, keras.layers.BatchNormalization))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 48, 48, 1)).astype(np.float32)
    before = model.predict(images, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    losses = [float(model.train_on_batch(images, np.eye(3)[np.arange(16) % 3])) for _ in range(3)]
    return model.get_weights(), losses, before, model.predict(images, verbose=0)


@pytest.mark.parametrize("frozen", [False, True])
def test_training_gives_the_same_weights(frozen):
    for ours, theirs in zip(train(True, frozen=frozen), train(False, frozen=frozen), strict=True):
        for our_values, their_values in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our_values, their_values, rtol=2e-3, atol=2e-4)


def test_all_plain_layers_are_fused():
    model = get_model("transfer").build(3, weights="none", upscale=1)
    fused = fuse_batch_norm(model)
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
        isinstance(layer, FusedBatchNormalization) for layer in fuse_batch_norm(keras.Model(images, flat)).layers
    )
