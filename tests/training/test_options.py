"""What the options of a training change, seen in what the training leaves behind."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlib.core.errors import ArtifactError, DataError, FerlibError
from ferlib.data import SplitInfo
from ferlib.data.votes import FERPLUS_EMOTIONS, FERPLUS_OTHERS
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import read_config, read_history
from ferlib.training import TrainingOptions, train_model
from ferlib.training.run_config import require_same_run
from ferlib.training.targets import append_votes, blend_with_teacher

SMALL = {"widths": (8, 16, 24)}
QUICK = TrainingOptions(epochs=2, batch_size=32, precision="float32")


def train(dataset, run_dir, model="compact_cnn", options=QUICK, model_options=SMALL, **more):
    return train_model(model, dataset, run_dir, options, model_options=model_options, **more)


@pytest.fixture(scope="module")
def plain_run(drawn_faces, tmp_path_factory):
    return train(drawn_faces, tmp_path_factory.mktemp("runs") / "plain")


def rates(run_dir):
    return [row["learning_rate"] for row in read_history(run_dir)]


def test_schedules_set_the_learning_rate(drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, epochs=6, patience=10)
    constant = dataclasses.replace(options, epochs=3, schedule="constant", optimizer="sgd", learning_rate=0.01)
    assert rates(train(drawn_faces, tmp_path / "constant", options=constant)) == pytest.approx([0.01] * 3)
    cosine = rates(train(drawn_faces, tmp_path / "cosine", options=dataclasses.replace(options, epochs=3)))
    assert cosine[0] > cosine[1] > cosine[2]
    # So small a rate lowers no loss for three epochs in a row.
    plateau = dataclasses.replace(options, schedule="plateau", optimizer="adam", learning_rate=1e-12)
    history = read_history(train(drawn_faces, tmp_path / "plateau", options=plateau))
    losses = [row["val_loss"] for row in history]
    waits = [losses[i] >= min(losses[:i]) for i in range(1, 6)]
    assert (history[-1]["learning_rate"] < 1e-12) == any(all(waits[i : i + 3]) for i in range(2))


def test_averaged_weights_are_what_is_kept(drawn_faces, tmp_path):
    # With a momentum this high, the average hardly leaves what the network was at first.
    options = dataclasses.replace(QUICK, ema=0.9999, schedule="constant", learning_rate=0.01)
    run_dir = train(drawn_faces, tmp_path / "run", options=options)
    from ferlib.models import get_model

    start = get_model("compact_cnn").build(7, seed=0, **SMALL).trainable_weights
    kept = load_keras_model(run_dir).trainable_weights
    moved = [float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(start, kept, strict=True)]
    assert 0 < max(moved) < 0.02


def test_averaged_weights_survive_an_interruption(drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, epochs=3, ema=0.9)

    def interrupt(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    through = train(drawn_faces, tmp_path / "through", options=options)
    with pytest.raises(KeyboardInterrupt):
        train(drawn_faces, tmp_path / "stopped", options=options, on_epoch=interrupt)
    resumed = train(drawn_faces, tmp_path / "stopped", options=options, resume=True)
    first, second = ([row["val_loss"] for row in read_history(run)] for run in (through, resumed))
    assert first == pytest.approx(second, abs=0.02)


def test_a_crop_trains_on_less_and_predicts_on_all(drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, augmentation=Augmentation(crop=0.75))
    run_dir = train(drawn_faces, tmp_path / "run", options=options)
    assert load_keras_model(run_dir).input_shape == (None, 48, 48, 1)
    assert load_classifier(run_dir).predict_proba(drawn_faces.images[:3]).shape == (3, 7)
    with pytest.raises(FerlibError, match="plain_cnn takes images of one size only"):
        train(drawn_faces, tmp_path / "other", "plain_cnn", options=options, model_options={})


def test_a_teacher_s_probabilities_become_targets(plain_run, drawn_faces, tmp_path):
    images, one_hot = drawn_faces.images[:20], np.eye(7, dtype=np.float32)[drawn_faces.labels[:20]]
    said = load_classifier(plain_run).predict_proba(images)

    answers = tmp_path / "checkpoint" / "teacher.npy"

    def targets(**options):
        options = TrainingOptions(teacher=str(plain_run), **options)
        return blend_with_teacher(images, one_hot, drawn_faces.class_names, options, answers)

    np.testing.assert_allclose(targets(distillation_weight=0.25), 0.25 * said + 0.75 * one_hot, atol=1e-5)
    warm = said**0.5 / (said**0.5).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(targets(distillation_weight=1, distillation_temperature=2), warm, atol=1e-5)
    np.testing.assert_array_equal(targets(distillation_weight=0), one_hot)


def test_a_teacher_is_asked_once(plain_run, drawn_faces, tmp_path, capsys):
    options = dataclasses.replace(QUICK, teacher=str(plain_run))

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(drawn_faces, tmp_path / "run", options=options, on_epoch=interrupt)
    assert "ask the teacher" in capsys.readouterr().err
    train(drawn_faces, tmp_path / "run", options=options, resume=True)
    assert "ask the teacher" not in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_a_student_comes_to_agree_with_its_teacher(plain_run, drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, epochs=4, augmentation=None, teacher=str(plain_run), distillation_weight=1.0)
    student = train(drawn_faces, tmp_path / "student", options=options)
    config = read_config(student)
    assert config["teacher"]["model"] == "compact_cnn"
    assert len(config["teacher"]["weights_sha256"][0]) == 64
    # It is trained on what the teacher says about each image, labels play no part.
    assert read_history(student)[-1]["loss"] < read_history(student)[0]["loss"]


def test_a_teacher_of_other_emotions_is_refused(plain_run, drawn_faces, tmp_path):
    other = dataclasses.replace(drawn_faces, class_names=(*drawn_faces.class_names[:-1], "contempt"))
    with pytest.raises(ArtifactError, match="tells apart angry"):
        train(other, tmp_path / "run", options=dataclasses.replace(QUICK, teacher=str(plain_run)))


@pytest.fixture
def ballots(drawn_faces, tmp_path):
    """A file of ten raters' votes for the drawn faces: nine as the label says, one neutral; the first two left out."""
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


def test_votes_stand_beside_the_labels(drawn_faces, ballots):
    one_hot = np.eye(7, dtype=np.float32)[drawn_faces.labels]
    options = TrainingOptions(votes=ballots)
    targets = append_votes(one_hot, drawn_faces.names, drawn_faces.class_names, options)
    np.testing.assert_array_equal(targets[:, :7], one_hot)
    assert not targets[:2, 7:].any()
    expected = 0.9 * one_hot + 0.1 * np.eye(7)[drawn_faces.class_names.index("neutral")]
    np.testing.assert_allclose(targets[2:, 7:], expected[2:], atol=1e-6)


def test_images_that_most_raters_see_no_class_in_have_no_say(drawn_faces, ballots):
    table = pd.read_csv(ballots)
    table.loc[0, [*FERPLUS_EMOTIONS, *FERPLUS_OTHERS]] = 0
    table.loc[0, ["neutral", "anger", "NF"]] = [3, 1, 6]
    table.to_csv(ballots, index=False)
    one_hot = np.eye(7, dtype=np.float32)[drawn_faces.labels]
    targets = append_votes(one_hot, drawn_faces.names, drawn_faces.class_names, TrainingOptions(votes=ballots))
    assert not targets[2, 7:].any()
    assert targets[3, 7:].sum() == pytest.approx(1)


def test_a_network_learns_votes_by_an_output_that_is_dropped(drawn_faces, ballots, plain_run, tmp_path):
    options = dataclasses.replace(QUICK, votes=ballots)

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(drawn_faces, tmp_path / "run", options=options, on_epoch=interrupt)
    run_dir = train(drawn_faces, tmp_path / "run", options=options, resume=True)
    assert load_keras_model(run_dir).output_shape == (None, 7)
    assert read_config(run_dir)["parameters"] == read_config(plain_run)["parameters"]
    assert len(read_config(run_dir)["votes"]["sha256"]) == 64
    # The loss of training is of both outputs, that of validation of the labels alone.
    with_votes, without = read_history(run_dir), read_history(plain_run)
    assert with_votes[0]["loss"] > 1.5 * without[0]["loss"]
    assert with_votes[-1]["val_loss"] < 1.5 * without[-1]["val_loss"]
    # What is written predicts as what was validated.
    val = drawn_faces.split("val")
    network = load_keras_model(run_dir)
    found = network.predict(val.images.astype(np.float32), verbose=0).argmax(axis=1)
    best = max(row["val_accuracy"] for row in with_votes)
    assert (found == val.labels).mean() == pytest.approx(best, abs=1e-6)


def test_votes_that_cannot_serve_are_refused(drawn_faces, ballots, tmp_path):
    with pytest.raises(FerlibError, match="cannot be combined with --resample"):
        TrainingOptions(votes=ballots, resample="smote")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        train(drawn_faces, tmp_path / "run", options=dataclasses.replace(QUICK, votes="nowhere.csv"))
    other = dataclasses.replace(drawn_faces, class_names=(*drawn_faces.class_names[:-1], "boredom"))
    with pytest.raises(DataError, match="not asked for boredom"):
        train(other, tmp_path / "other", options=dataclasses.replace(QUICK, votes=ballots))


def test_a_run_that_is_older_than_an_option_can_be_resumed(plain_run, drawn_faces):
    config = read_config(plain_run)
    del config["training"]["votes"], config["training"]["aux_loss_weight"]
    require_same_run(config, read_config(plain_run), plain_run)
    config["training"]["seed"] += 1
    with pytest.raises(ArtifactError, match="other training"):
        require_same_run(config, read_config(plain_run), plain_run)


def test_a_backbone_is_frozen_then_tuned(drawn_faces, tmp_path):
    import keras

    kernels = []

    def watch(history):
        kernels.append(len(history))

    options = dataclasses.replace(QUICK, epochs=2, frozen_epochs=1, augmentation=None, schedule="constant")
    small = {"weights": "none", "upscale": 1}
    run_dir = train(drawn_faces, tmp_path / "run", "transfer", options, small, on_epoch=watch)
    assert kernels == [1, 2]
    assert rates(run_dir) == pytest.approx([2e-3, 2e-4])
    frozen = dataclasses.replace(options, frozen_epochs=2)
    untouched = load_keras_model(train(drawn_faces, tmp_path / "frozen", "transfer", frozen, small))
    tuned = load_keras_model(run_dir)
    from ferlib.models import get_model

    start = get_model("transfer").build(7, seed=0, **small)

    def backbone(model: keras.Model) -> np.ndarray:
        return model.get_layer("backbone").get_weights()[0]

    np.testing.assert_array_equal(backbone(untouched), backbone(start))
    assert len(read_history(run_dir)) == 2
    # The best epoch may be the first, whose backbone is still the one of the start.
    assert tuned.get_layer("backbone").trainable
    with pytest.raises(FerlibError, match="compact_cnn has no backbone"):
        train(drawn_faces, tmp_path / "none", options=options)


def test_logs_for_tensorboard_are_written_if_asked(drawn_faces, tmp_path):
    run_dir = train(drawn_faces, tmp_path / "run", tensorboard=True, options=dataclasses.replace(QUICK, epochs=1))
    assert {path.name for path in (run_dir / "logs").iterdir()} == {"train", "validation"}


def test_an_option_that_the_builder_does_not_know_is_told(drawn_faces, tmp_path):
    with pytest.raises(FerlibError, match=r"Unknown compact_cnn option 'color'; expected one of .*widths"):
        train(drawn_faces, tmp_path / "run", model_options={"color": "red"})
    assert not (tmp_path / "run").exists()


def test_a_training_starts_from_an_earlier_run_s_weights(plain_run, drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, epochs=1, learning_rate=1e-9, init_from=str(plain_run))
    tuned = train(drawn_faces, tmp_path / "tuned", options=options)
    images = drawn_faces.split("val").images
    before, after = (load_keras_model(run).trainable_weights for run in (plain_run, tuned))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-5)
    assert load_classifier(tuned).predict_proba(images).shape == (len(images), 7)
    assert read_config(tuned)["init_from"]["model"] == "compact_cnn"


def test_weights_of_another_network_are_refused(plain_run, drawn_faces, tmp_path):
    options = dataclasses.replace(QUICK, init_from=str(plain_run))
    with pytest.raises(ArtifactError, match=r"--model compact_cnn --model-option widths=8,16,24 for 7 emotions"):
        train(drawn_faces, tmp_path / "run", options=options, model_options={"widths": (8, 16, 32)})
    with pytest.raises(ArtifactError, match="nothing"):
        train(drawn_faces, tmp_path / "run", options=dataclasses.replace(QUICK, init_from=str(tmp_path / "nothing")))


def test_learning_from_a_run_that_knows_the_val_images_is_said(plain_run, drawn_faces, tmp_path, caplog):
    options = dataclasses.replace(QUICK, epochs=1, init_from=str(plain_run))
    train(drawn_faces, tmp_path / "same", options=options)
    assert "another split" not in caplog.text
    info = dataclasses.replace(drawn_faces.info, split=SplitInfo(seed=99))
    other = dataclasses.replace(drawn_faces, info=info)
    train(other, tmp_path / "other", options=options)
    assert "another split of the same images" in caplog.text
