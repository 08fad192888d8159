"""The batches that a network learns from."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlib.core.errors import FerlibError
from ferlib.models import get_model
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier
from ferlib.training import TrainingOptions, train_model
from ferlib.training.batches import TrainingBatches, blend_batch
from ferlib.training.callbacks import count_plateaus
from ferlib.training.fit import _training_images


def make_batches(images, *, augmentation=None, seed=0, first_epoch=0):
    """Batches of 32 whose targets are the images' numbers."""
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
    """The images and numbers of one epoch, in the order of the batches."""
    images, numbers, _ = (
        np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)
    )
    return images, numbers[:, 0].astype(int)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(drawn_faces):
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
    """A run folder whose network answers with the very pixels that it was given, as one row an image."""
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
    images = np.random.default_rng(0).integers(0, 256, (len(drawn_faces), *shape), dtype=np.uint8)
    dataset = dataclasses.replace(drawn_faces, images=images)
    images, _ = _training_images(get_model("compact_cnn"), dataset, TrainingOptions())
    shown, numbers = collect(make_batches(images))
    seen = echo.predict_proba(dataset.split("train").images)
    np.testing.assert_array_equal(seen[numbers], shown.reshape(len(shown), -1))
    assert seen.dtype == shown.dtype == np.float32


def test_a_loss_that_runs_away_is_told(drawn_faces, tmp_path):
    options = TrainingOptions(epochs=2, learning_rate=1e38, warmup_epochs=0, precision="float32")
    with pytest.raises(FerlibError, match="lower learning rate"):
        train_model("compact_cnn", drawn_faces, tmp_path / "run", options, model_options={"widths": (4, 8)})


def test_mixup_blends_images_and_targets_alike():
    rng = np.random.default_rng(0)
    # An image whose gray is its number tells how much of which was mixed; so does its target.
    images = np.broadcast_to(np.arange(8, dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis], (8, 4, 4, 1))
    targets = np.eye(8, dtype=np.float32)
    mixed, mixed_targets = blend_batch(images, targets, rng, mixup=1.0, cutmix=0)
    np.testing.assert_allclose(mixed[:, 0, 0, 0], mixed_targets @ np.arange(8), rtol=1e-5)
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, rtol=1e-5)
    assert (mixed_targets > 0).sum() > 8


def test_cutmix_pastes_a_rectangle_and_says_how_large():
    images = np.broadcast_to(np.arange(8, dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis], (8, 20, 20, 1))
    targets = np.eye(8, dtype=np.float32)
    areas = []
    for seed in range(20):
        mixed, mixed_targets = blend_batch(images, targets, np.random.default_rng(seed), mixup=0, cutmix=1.0)
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), mixed_targets @ np.arange(8), rtol=1e-4)
        changed = np.argwhere(mixed[..., 0] != images[..., 0])
        if len(changed):
            one = changed[changed[:, 0] == changed[0, 0], 1:]
            height, width = np.ptp(one, axis=0) + 1
            assert len(one) == height * width
            areas.append(len(one))
    assert len(set(areas)) > 5
    assert images[0, 0, 0, 0] == 0


def test_both_are_drawn_batch_by_batch(drawn_faces):
    images = drawn_faces.images[:64]
    one_hot = np.eye(7, dtype=np.float32)[drawn_faces.labels[:64]]
    settings = {"batch_size": 8, "augmentation": None, "sample_weight": np.ones(64, np.float32), "seed": 0}
    batches = TrainingBatches(images, one_hot, mixup=1.0, cutmix=1.0, **settings)
    # Only mixup gives the images of one batch different shares.
    shares = [np.unique(batches[i][1].max(axis=1).round(4)) for i in range(8)]
    assert {len(share) > 2 for share in shares} == {True, False}
    np.testing.assert_array_equal(batches[3][0], batches[3][0])


@pytest.mark.parametrize(
    ("losses", "plateaus"),
    [([], 0), ([3, 2, 1], 0), ([1, 2, 2], 0), ([1, 2, 2, 2], 1), ([1, 2, 2, 2, 0.5, 1, 1, 1], 2)],
)
def test_plateaus_are_counted(losses, plateaus):
    assert count_plateaus([{"val_loss": loss} for loss in losses]) == plateaus
