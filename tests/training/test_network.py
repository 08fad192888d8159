"""The batches that a network learns from."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlib.artifacts import load_classifier
from ferlib.errors import FerlibError
from ferlib.models import get_model
from ferlib.prepare import Augmentation
from ferlib.training import TrainingOptions, train_model
from ferlib.training.network import TrainingBatches
from ferlib.training.run import _training_pictures


def make_batches(images, *, augmentation=None, seed=0, first_epoch=0):
    """Batches of 32 whose targets are the pictures' numbers."""
    return TrainingBatches(
        images,
        np.arange(len(images), dtype=np.float32)[:, np.newaxis],
        batch_size=32,
        augmentation=augmentation,
        sample_weight=np.ones(len(images), np.float32),
        seed=seed,
        first_epoch=first_epoch,
    )


def collect(batches):
    """The pictures and numbers of one epoch, in the order of the batches."""
    images, numbers, _ = (
        np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)
    )
    return images, numbers[:, 0].astype(int)


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own(drawn_faces):
    images = drawn_faces.images[:70]
    batches = make_batches(images)
    assert [len(batches[i][0]) for i in range(len(batches))] == [32, 32, 6]
    orders = []
    for _ in range(2):
        shown, numbers = collect(batches)
        assert sorted(numbers) == list(range(70))
        np.testing.assert_array_equal(shown, images[numbers])
        orders.append(numbers.tolist())
        batches.on_epoch_end()
    assert orders[0] != orders[1]


def test_a_resumed_training_sees_what_it_would_have_seen(drawn_faces):
    images = drawn_faces.images[:70]
    through = make_batches(images, augmentation=Augmentation(), seed=5)
    first, _ = collect(through)
    through.on_epoch_end()
    second, _ = collect(through)
    resumed, _ = collect(make_batches(images, augmentation=Augmentation(), seed=5, first_epoch=1))
    np.testing.assert_array_equal(resumed, second)
    assert (first != second).any()
    assert (collect(make_batches(images, augmentation=Augmentation(), seed=6, first_epoch=1))[0] != second).any()


@pytest.fixture
def echo(tmp_path):
    """A run folder whose network answers with the very pixels that it was given, as one row a picture."""
    spec = get_model("compact_cnn")
    size = spec.image_size[0] * spec.image_size[1] * spec.channels
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["images", "flat"], ["pixels"])],
        "echo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *spec.image_size, spec.channels])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", size])],
        [numpy_helper.from_array(np.array([-1, size]), "flat")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "model.onnx"
    )
    config = {"model": "echo", "class_names": [], "image_size": spec.image_size, "channels": spec.channels}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return load_classifier(tmp_path)


@pytest.mark.parametrize("shape", [(48, 48, 1), (48, 48, 3), (90, 61, 3), (20, 33, 1)])
def test_training_and_prediction_preprocess_bit_for_bit_alike(echo, drawn_faces, shape):
    pictures = np.random.default_rng(0).integers(0, 256, (len(drawn_faces), *shape), dtype=np.uint8)
    dataset = dataclasses.replace(drawn_faces, images=pictures)
    images, _ = _training_pictures(get_model("compact_cnn"), dataset, TrainingOptions())
    shown, numbers = collect(make_batches(images))
    seen = echo.predict_proba(dataset.split("train").images)
    np.testing.assert_array_equal(seen[numbers], shown.reshape(len(shown), -1))
    assert seen.dtype == shown.dtype == np.float32


def test_a_loss_that_runs_away_is_told(drawn_faces, tmp_path):
    options = TrainingOptions(epochs=2, learning_rate=1e38, warmup_epochs=0, precision="float32")
    with pytest.raises(FerlibError, match="lower learning rate"):
        train_model("compact_cnn", drawn_faces, tmp_path / "run", options, model_options={"widths": (4, 8)})
