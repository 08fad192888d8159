"""TensorFlow's fused batch normalization trains what Keras's own layer trains."""

import numpy as np
import pytest

from ferlib.core.backend import import_keras
from ferlib.models import get_model

keras = import_keras()

from ferlib.training.fused_batch_norm import fuse_normalization  # noqa: E402

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the fused operation is TensorFlow's")


def train(fused, *, frozen=False):
    """Weights and loss after three steps of plain gradient descent, and the network's answers before and after."""
    model = get_model("compact_cnn").build(3, widths=(4, 8), dropout=0.0)
    if fused:
        fuse_normalization(model)
    for layer in model.layers:
        layer.trainable = not (frozen and isinstance(layer, keras.layers.BatchNormalization))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 48, 48, 1)).astype(np.float32)
    before = model.predict(images, verbose=0)
    model.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    losses = [float(model.train_on_batch(images, np.eye(3)[np.arange(16) % 3])) for _ in range(3)]
    return model.get_weights(), losses, before, model.predict(images, verbose=0)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_same_is_learned(frozen):
    for ours, theirs in zip(train(True, frozen=frozen), train(False, frozen=frozen), strict=True):
        for our_values, their_values in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our_values, their_values, rtol=2e-3, atol=2e-4)


def test_it_is_the_fused_operation_that_runs():
    import tensorflow as tf

    model = get_model("compact_cnn").build(3, widths=(4, 8))
    images = np.zeros((2, 48, 48, 1), np.float32)

    def operations():
        graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(images).graph
        return [operation.type for operation in graph.get_operations()]

    assert "FusedBatchNormV3" not in operations()
    fuse_normalization(model)
    n_layers = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert operations().count("FusedBatchNormV3") == n_layers > 0


def test_what_is_saved_needs_no_ferlib(tmp_path):
    model = get_model("compact_cnn").build(3, widths=(4, 8))
    fuse_normalization(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype(np.float32)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
