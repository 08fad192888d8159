"""Training of Keras networks, and the effect of its options."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlib.core.backend import import_keras
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArtifactError, DataError, OptionError
from ferlib.data.votes import FERPLUS_EMOTIONS, FERPLUS_OTHERS
from ferlib.models import ModelSpec, get_model
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import Run
from ferlib.runs.records import RunConfig
from ferlib.training import TrainingOptions

keras = import_keras()

from ferlib.training.keras_trainer import (  # noqa: E402
    KerasTrainer,
    build_for_training,
    compile_network,
    freeze_backbone,
    make_optimizer,
    name_outputs,
    sample_weight,
)
from ferlib.training.photographs import VOTES_WEIGHT, add_photographs_output, photographs_shares  # noqa: E402

QUICK = TrainingOptions(epochs=2, batch_size=64, precision="float32", augmentation=None)


def tiny(n_classes, *, image_size, channels, seed, dtype):
    """A network with a backbone that trains in a second."""
    init = keras.initializers.GlorotUniform(seed)
    inputs = keras.Input((*image_size, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 5, strides=4, activation="relu", kernel_initializer=init, name="backbone")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(n_classes, activation="softmax", kernel_initializer=init, dtype=dtype)(x)
    return keras.Model(inputs, outputs, name="tiny")


TINY = ModelSpec("tiny", "A tiny network.", "cnn", tiny, (48, 48), 1)
SIZES = {"n_classes": 7, "image_size": (48, 48), "channels": 1}


def fit(dataset, folder, options=QUICK, *, resume=False, **more):
    """Train the tiny network into a folder."""
    KerasTrainer(TINY, options, {}, export=False, **more).fit(dataset, Run(folder), resume=resume)
    return Run(folder)


def weights(model):
    return [np.asarray(weight) for weight in model.trainable_weights]


def interrupt(history):
    """Interrupt a training after its first epoch."""
    raise KeyboardInterrupt


def rates(schedule, steps, **options):
    """The learning rate of each step."""
    optimizer = make_optimizer(TrainingOptions(schedule=schedule, **options), steps, 0.01)
    values = []
    for step in range(steps):
        optimizer.iterations.assign(step)
        values.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return values


def test_the_cosine_schedule_warms_up_and_decays():
    values = rates("cosine", 100, epochs=10, warmup_epochs=2)
    assert np.argmax(values) == 20
    assert values[20] == pytest.approx(0.01)
    assert values[0] < 0.001
    assert values[20:] == sorted(values[20:], reverse=True)
    assert values[-1] < 1e-5
    assert rates("constant", 3) == pytest.approx([0.01] * 3)


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_optimizers_average_weights(name):
    optimizer = make_optimizer(TrainingOptions(optimizer=name, ema=0.9), 10, 0.01)
    assert type(optimizer).__name__.lower() == name
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.9)
    assert not make_optimizer(TrainingOptions(optimizer=name), 10, 0.01).use_ema


def test_averaged_weights_are_kept_and_survive_interruption(drawn_faces, tmp_path):
    # With this momentum, the average stays close to the initial weights.
    options = dataclasses.replace(QUICK, ema=0.9999, schedule="constant", learning_rate=0.01)
    with pytest.raises(KeyboardInterrupt):
        fit(drawn_faces, tmp_path, options, on_epoch=interrupt)
    run = fit(drawn_faces, tmp_path, options, resume=True)
    pairs = zip(weights(tiny(**SIZES, seed=0, dtype="float32")), weights(load_keras_model(run)), strict=True)
    assert 0 < max(float(np.abs(before - after).max()) for before, after in pairs) < 0.02
    assert [row["epoch"] for row in run.history] == [1, 2]


def test_a_resumed_training_ends_like_an_uninterrupted_one(drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, epochs=3, ema=0.9, mixup=0.4)
    with pytest.raises(KeyboardInterrupt):
        fit(drawn_faces, tmp_path / "stopped", options, on_epoch=interrupt)
    stopped = fit(drawn_faces, tmp_path / "stopped", options, resume=True)
    through = fit(drawn_faces, tmp_path / "through", options)
    for name in ("loss", "val_loss", "learning_rate"):
        assert [row[name] for row in stopped.history] == pytest.approx([row[name] for row in through.history], rel=1e-3)


def test_cropped_training_predicts_whole_images(drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, augmentation=Augmentation(crop=0.75))
    assert build_for_training(TINY, options, SIZES).input_shape == (None, None, None, 1)
    assert load_keras_model(fit(drawn_faces, tmp_path, options)).input_shape == (None, 48, 48, 1)
    with pytest.raises(OptionError, match="plain_cnn needs images of a fixed size"):
        build_for_training(get_model("plain_cnn"), options, SIZES)


@pytest.fixture
def votes_csv(drawn_faces, tmp_path):
    """Votes for the drawn faces: nine for the label and one for neutral; the first two images have none."""
    rows = []
    for name, label in list(zip(drawn_faces.names, drawn_faces.labels, strict=True))[2:]:
        row = dict.fromkeys([*FERPLUS_EMOTIONS.values(), *FERPLUS_OTHERS], 0)
        row[drawn_faces.class_names[label]] += 9
        row["neutral"] += 1
        rows.append({"file_stem": Path(name).stem, **row})
    columns = {emotion: column for column, emotion in FERPLUS_EMOTIONS.items()}
    path = tmp_path / "votes.csv"
    pd.DataFrame(rows).rename(columns=columns).to_csv(path, index=False)
    return str(path)


def test_the_loss_adds_weighted_votes():
    options = dataclasses.replace(QUICK, votes="votes.csv", aux_loss_weight=0.5, label_smoothing=0)
    model = name_outputs(build_for_training(TINY, options, SIZES), 7, options)
    compile_network(model, options, 10, 0.001)
    images = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 1)).astype(np.float32)
    targets = {name: np.eye(7, dtype=np.float32)[:6] for name in ("label", "votes")}
    sample_weight = {"label": np.ones(6, np.float32), "votes": np.repeat(np.float32([1, 0]), 3)}
    found = model.evaluate(images, targets, sample_weight=sample_weight, verbose=0, return_dict=True)
    predictions = {name: np.asarray(values) for name, values in model(images).items()}
    losses = {name: -np.log((values * targets[name]).sum(axis=1)) for name, values in predictions.items()}
    votes_loss = losses["votes"][:3].sum() / 6
    assert found["votes_loss"] == pytest.approx(votes_loss, rel=1e-3)
    assert found["loss"] == pytest.approx(losses["label"].mean() + 0.5 * votes_loss, rel=1e-3)
    assert found["label_accuracy"] == pytest.approx((predictions["label"].argmax(axis=1) == np.arange(6)).mean())


def test_votes_are_learned_by_an_auxiliary_output(drawn_faces, votes_csv, tmp_path):
    options = dataclasses.replace(QUICK, votes=votes_csv, learning_rate=0.02)
    with pytest.raises(KeyboardInterrupt):
        fit(drawn_faces, tmp_path, options, on_epoch=interrupt)
    run = fit(drawn_faces, tmp_path, options, resume=True)
    first, last = run.history
    assert last["loss"] == pytest.approx(last["label_loss"] + last["votes_loss"], rel=0.05)
    assert last["votes_loss"] < first["votes_loss"]
    # Validation measures the labels alone.
    assert last["val_loss"] < 0.7 * last["loss"]
    # The saved network predicts as it was validated.
    network, val = load_keras_model(run), drawn_faces.split("val")
    assert network.output_shape == (None, 7)
    predicted = network.predict(val.images.astype(np.float32), verbose=0).argmax(axis=1)
    best = max(row["val_accuracy"] for row in run.history)
    assert (predicted == val.labels).mean() == pytest.approx(best, abs=1e-6)


def test_votes_give_other_answers_for_photographs(drawn_faces, votes_csv, tmp_path):
    run, val = Run(tmp_path / "run"), drawn_faces.split("val")
    run.path.mkdir()
    options = dataclasses.replace(QUICK, votes=votes_csv, learning_rate=0.02)
    result = KerasTrainer(TINY, options, {}).fit(drawn_faces, run, resume=False)
    counts = drawn_faces.counts().to_dict()
    sizes = {"class_names": drawn_faces.class_names, "image_size": (48, 48), "channels": 1}
    run.write_config(RunConfig(model="tiny", kind="cnn", image_counts=counts, photographs=result.photographs, **sizes))
    labels = load_classifier(run)
    photographs = labels.for_photographs()
    assert (labels.photographs, photographs.photographs) == (False, True)
    assert photographs.training_shares == run.config.photographs.shares
    # One vote of ten for each image is neutral.
    assert photographs.training_shares[6] > labels.training_shares[6]
    answers = photographs.predict_proba(val.images)
    assert np.abs(answers - labels.predict_proba(val.images)).max() > 0.01
    (run.path / "model.onnx").unlink()
    network_answers = load_classifier(run).for_photographs().predict_proba(val.images)
    np.testing.assert_allclose(network_answers, answers, atol=1e-4)


def test_the_output_for_photographs_is_the_weighted_mean_of_logits():
    network = get_model("plain_cnn").build(**SIZES)
    votes = keras.layers.Dense(7, activation="softmax")
    heads = keras.Model(network.input, [network.output, votes(network.layers[-1].input)])
    label_shares, vote_shares = np.full(7, 1 / 7), np.arange(1, 8) / 28
    combined = add_photographs_output(network, votes, label_shares=label_shares, vote_shares=vote_shares)
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    label, rated = (np.asarray(values, float) for values in heads(images))
    expected = rated**VOTES_WEIGHT * (label * vote_shares / label_shares) ** (1 - VOTES_WEIGHT)
    expected *= photographs_shares(vote_shares) / vote_shares
    found = combined(images)
    np.testing.assert_allclose(found["label"], label, atol=1e-5)
    np.testing.assert_allclose(found["photographs"], expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


def test_votes_for_other_classes_are_refused(drawn_faces, votes_csv, tmp_path):
    other = dataclasses.replace(drawn_faces, class_names=(*drawn_faces.class_names[:-1], "boredom"))
    with pytest.raises(DataError, match="no votes for boredom"):
        fit(other, tmp_path, dataclasses.replace(QUICK, votes=votes_csv))


def test_a_student_learns_from_a_teacher(network_run, drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, teacher=str(network_run), distillation_weight=1.0)
    with pytest.raises(KeyboardInterrupt):
        fit(drawn_faces, tmp_path, options, on_epoch=interrupt)
    cache = tmp_path / "checkpoint" / "teacher.npy"
    assert np.load(cache).shape == (300, 7)
    before = cache.stat().st_mtime_ns
    run = fit(drawn_faces, tmp_path, options, resume=True)
    # The teacher's probabilities are computed once.
    assert cache.stat().st_mtime_ns == before
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_a_backbone_is_frozen_at_first(drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, frozen_epochs=1, schedule="constant")
    run = fit(drawn_faces, tmp_path / "tuned", options)
    assert [row["learning_rate"] for row in run.history] == pytest.approx([2e-3, 2e-4])
    frozen = load_keras_model(fit(drawn_faces, tmp_path / "frozen", dataclasses.replace(options, epochs=1)))
    start = tiny(**SIZES, seed=0, dtype="float32")
    same = [np.array_equal(*pair) for pair in zip(weights(start), weights(frozen), strict=True)]
    assert same == [True, True, False, False]
    other = build_for_training(get_model("gap_cnn"), QUICK, SIZES)
    with pytest.raises(OptionError, match="gap_cnn has no backbone"):
        freeze_backbone(other, frozen=True)


def test_training_starts_with_the_weights_of_a_run(drawn_faces, tmp_path):
    first = fit(drawn_faces, tmp_path / "first")
    config = RunConfig(model="tiny", kind="cnn", class_names=EMOTIONS, image_size=(48, 48), channels=1)
    first.write_config(config)
    options = dataclasses.replace(QUICK, epochs=1, learning_rate=1e-9, init_from=str(first.path))
    tuned = fit(drawn_faces, tmp_path / "tuned", options)
    for before, after in zip(weights(load_keras_model(first)), weights(load_keras_model(tuned)), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-5)


def test_weights_of_another_network_are_refused(network_run, drawn_faces, tmp_path):
    with pytest.raises(ArtifactError, match="--model compact_cnn --model-option widths=4,8 for 7 classes"):
        fit(drawn_faces, tmp_path / "run", dataclasses.replace(QUICK, init_from=str(network_run)))
    with pytest.raises(ArtifactError, match="nothing"):
        fit(drawn_faces, tmp_path / "run", dataclasses.replace(QUICK, init_from=str(tmp_path / "nothing")))


def test_class_weights_are_one_on_average(drawn_faces):
    few = np.concatenate([np.zeros(30, int), np.ones(10, int)])
    found = sample_weight(few, "balanced")
    assert found.mean() == pytest.approx(1)
    assert found[-1] == pytest.approx(3 * found[0])
    assert (sample_weight(few, "none") == 1).all()


def test_tensorboard_logs_are_optional(drawn_faces, tmp_path):
    run = fit(drawn_faces, tmp_path, dataclasses.replace(QUICK, epochs=1), tensorboard=True)
    assert {path.name for path in (run.path / "logs").iterdir()} == {"train", "validation"}
