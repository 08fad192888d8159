"""Batches of training images."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlib.models import get_model
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier
from ferlib.training import TrainingOptions
from ferlib.training.batches import TrainingBatches, mix_batch
from ferlib.training.trainer import training_images

# Images of one gray level each, equal to their number.
FLAT = np.broadcast_to(np.arange(8, dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis], (8, 20, 20, 1))
LABELS = {"label": np.eye(8, dtype=np.float32)}


def make_batches(images, **options):
    """Batches of 32 whose targets are the numbers of the images."""
    numbers = np.arange(len(images), dtype=np.float32)[:, np.newaxis]
    first_epoch = options.pop("first_epoch", 0)
    options = TrainingOptions(**{"batch_size": 32, "augmentation": None, **options})
    return TrainingBatches(images, {"label": numbers}, np.ones(len(images), np.float32), options, first_epoch)


def collect(batches):
    """The images and their numbers in one epoch, in the order of the batches."""
    parts = [batches[i] for i in range(len(batches))]
    numbers = np.concatenate([targets["label"] for _, targets, _ in parts])
    return np.concatenate([images for images, _, _ in parts]), numbers[:, 0].astype(int)


def test_each_epoch_has_every_image_in_a_new_order(drawn_faces):
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


def test_a_resumed_training_sees_the_same_batches(drawn_faces):
    options = {"augmentation": Augmentation(), "seed": 5}
    uninterrupted = make_batches(drawn_faces.images[:70], **options)
    first, _ = collect(uninterrupted)
    uninterrupted.on_epoch_end()
    second, _ = collect(uninterrupted)
    resumed, _ = collect(make_batches(drawn_faces.images[:70], **options, first_epoch=1))
    np.testing.assert_array_equal(resumed, second)
    assert (first != second).any()


@pytest.fixture
def echo(tmp_path):
    """A classifier that returns every third pixel of its input, one row per image; a run may have 1,000 classes."""
    spec = get_model("compact_cnn")
    size = spec.image_size[0] * spec.image_size[1] * spec.channels
    kept = np.arange(0, size, 3)
    nodes = [
        helper.make_node("Reshape", ["images", "flat"], ["all"]),
        helper.make_node("Gather", ["all", "kept"], ["pixels"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "echo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *spec.image_size, spec.channels])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", len(kept)])],
        [numpy_helper.from_array(np.array([-1, size]), "flat"), numpy_helper.from_array(kept, "kept")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "model.onnx"
    )
    names = [str(number) for number in range(len(kept))]
    config = {"model": "echo", "kind": "cnn", "class_names": names, "image_size": spec.image_size, "channels": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return load_classifier(tmp_path)


@pytest.mark.parametrize("shape", [(48, 48, 1), (48, 48, 3), (90, 61, 3), (20, 33, 1)])
def test_training_and_prediction_preprocess_identically(echo, drawn_faces, shape):
    images = np.random.default_rng(0).integers(0, 256, (len(drawn_faces), *shape), dtype=np.uint8)
    dataset = dataclasses.replace(drawn_faces, images=images)
    images, _ = training_images(get_model("compact_cnn"), dataset, TrainingOptions())
    shown, numbers = collect(make_batches(images))
    predicted = echo.predict_proba(dataset.split("train").images)
    np.testing.assert_array_equal(predicted[numbers], shown.reshape(len(shown), -1)[:, ::3])
    assert predicted.dtype == shown.dtype == np.float32


def test_mixup_blends_images_and_targets_alike():
    mixed, targets = mix_batch(FLAT, LABELS, np.random.default_rng(0), 1.0)
    np.testing.assert_allclose(mixed[:, 0, 0, 0], targets["label"] @ np.arange(8), rtol=1e-5)
    np.testing.assert_allclose(targets["label"].sum(axis=1), 1, rtol=1e-5)
    assert (targets["label"] > 0).sum() > 8


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_images_without_votes_have_no_weight(drawn_faces, mixup):
    one_hot = np.eye(7, dtype=np.float32)[drawn_faces.labels[:16]]
    votes = one_hot.copy()
    votes[:8] = 0
    weight = np.linspace(0.5, 1.5, 16).astype(np.float32)
    options = TrainingOptions(batch_size=16, augmentation=None, mixup=mixup)
    targets = {"label": one_hot, "votes": votes}
    _, targets, weights = TrainingBatches(drawn_faces.images[:16], targets, weight, options)[0]
    assert sorted(weights["label"]) == pytest.approx(weight)
    np.testing.assert_array_equal(weights["votes"] > 0, targets["votes"].any(axis=1))
    if not mixup:
        assert (weights["votes"] > 0).sum() == 8
