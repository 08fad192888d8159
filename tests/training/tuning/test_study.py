"""Studies train, prune, stop, continue and confirm."""

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest

from ferlib.core.errors import ArtifactError, DataError, FerlibError, OptionError
from ferlib.evaluation.studies import COLUMNS, summarize_confirmation
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.training import TrainingOptions
from ferlib.training.tuning import storage
from ferlib.training.tuning.plan import TuningPlan
from ferlib.training.tuning.space_file import read_space
from ferlib.training.tuning.study import TuningStudy
from ferlib.training.tuning.trainer import describe_seconds

TINY = {"width": 8, "depth": 2, "dense": 8}
NETWORK = """
learning_rate = {low = 1e-3, high = 1e-2, log = true}
batch_size = {choices = [16, 32]}
augmentation.shift = {low = 0.0, high = 0.2}
model.dropout = {low = 0.0, high = 0.5}
"""
WORDS = """
model.n_words = {choices = [5, 10, 20]}
model.C = {low = 0.5, high = 5, log = true}
"""
SMALL_BAG = {"n_words": 10, "flip_invariant": False, "classifier": "logistic"}


@pytest.fixture
def make_plan(tmp_path):
    def make_plan(text=NETWORK, model="plain_cnn", **changes):
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        training = TrainingOptions(
            optimizer="adam", schedule="constant", epochs=1, precision="float32", augmentation=Augmentation()
        )
        training = dataclasses.replace(training, **changes.pop("training", {}))
        options = changes.pop("model_options", TINY if model == "plain_cnn" else SMALL_BAG)
        space = read_space(path, model, training, options)
        defaults = {"trials": 2, "confirm": 0}
        return TuningPlan(model=model, space=space, training=training, model_options=options, **{**defaults, **changes})

    return make_plan


@pytest.fixture
def small_faces(drawn_faces):
    """Every fifth of the drawn faces, in all splits."""
    return drawn_faces.select(np.arange(0, len(drawn_faces), 5))


@pytest.mark.slow
def test_a_network_is_tuned_and_confirmed(make_plan, drawn_faces, tmp_path):
    plan = make_plan(trials=6, train_size=140, confirm=1, confirm_seeds=2, confirm_epochs=2)
    study = TuningStudy(tmp_path / "mine")
    assert study.run(plan, drawn_faces)
    table = study.table()
    trials, confirmation = (table[table["stage"] == stage] for stage in ("trial", "confirmation"))
    assert trials["trial"].tolist() == list(range(6))
    assert set(trials["state"]) == {"complete"}
    assert set(trials["train_images"]) == {140}
    # A trial is an ordinary run, without knowledge of test.
    for number, value in zip(trials["trial"], trials["value"], strict=True):
        run = Run(tmp_path / "mine" / f"trial-{number:04d}")
        assert list(run.metrics) == ["val"]
        assert run.metrics["val"].accuracy == value
        assert "test" not in run.config.image_counts
    assert trials["test_accuracy"].isna().all()
    # The first trial has the model's defaults, the others their own settings.
    first = Run(tmp_path / "mine" / "trial-0000").config
    assert first.training == plan.training.to_config()
    assert first.model_options == TINY
    assert trials["note"].tolist() == ["defaults"] + [""] * 5
    last = Run(tmp_path / "mine" / "trial-0005").config
    row = trials.iloc[5]
    assert last.training["learning_rate"] == row["learning_rate"] != plan.training.learning_rate
    assert last.training["augmentation"]["shift"] == row["augmentation.shift"]
    assert last.model_options["dropout"] == row["model.dropout"]
    assert trials["learning_rate"].nunique() == 6
    # The best and the defaults are trained in full, with the same seeds.
    best = trials[1:].nlargest(1, "value", keep="first")["trial"].tolist()
    assert set(confirmation["trial"]) == {0, *best}
    assert confirmation.groupby("trial")["seed"].apply(list).tolist() == [[0, 1]] * 2
    assert set(confirmation["train_images"]) == {300}
    assert set(confirmation["epochs"]) == {2}
    assert confirmation["test_accuracy"].notna().all()
    summary = summarize_confirmation(table)
    assert set(summary.index) == {0, *best}
    for number in summary.index:
        values = confirmation.loc[confirmation["trial"] == number, "value"]
        assert summary.loc[number, "value"] == pytest.approx(values.mean())
        assert summary.loc[number, "low"] <= values.mean() <= summary.loc[number, "high"]
    run = Run(tmp_path / "mine" / f"confirmed-{best[0]:04d}-seed-1")
    assert run.config.training["seed"] == 1
    assert load_classifier(run.path).predict_proba(drawn_faces.images[:2]).shape == (2, 7)
    with pytest.raises(ArtifactError, match="begun with 2 epochs, now 3: continue it with --confirm-epochs 2"):
        study.run(dataclasses.replace(plan, confirm_epochs=3), drawn_faces)
    # A complete study is not trained again.
    began = time.monotonic()
    assert TuningStudy(tmp_path / "mine").run(plan, drawn_faces)
    assert time.monotonic() - began < 5
    pd.testing.assert_frame_equal(study.table(), table)


def test_an_interrupted_network_continues_after_its_epoch(make_plan, small_faces, tmp_path):
    plan = make_plan(trials=1, training={"epochs": 3})
    study = TuningStudy(tmp_path / "mine")
    assert not study.run(plan, small_faces, timeout=1e-6)
    assert study.table()["state"].tolist() == ["waiting"]
    # It ends at the end of an epoch at the earliest.
    assert not (tmp_path / "mine" / "trial-0000").exists()
    original = TuningStudy._search

    def search(self, queue, trainer, dataset):
        # The time is over while the first epoch is trained.
        original(self, queue, dataclasses.replace(trainer, deadline=time.monotonic() + 0.2), dataset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TuningStudy, "_search", search)
        assert not study.run(plan, small_faces)
    run = Run(tmp_path / "mine" / "trial-0000")
    before = run.history
    assert 1 <= len(before) < 3
    assert TuningStudy(tmp_path / "mine").run(plan, small_faces)
    assert run.history[: len(before)] == before
    assert len(run.history) == 3
    assert study.table()[["trial", "state", "epochs"]].to_numpy().tolist() == [[0, "complete", 3]]


@pytest.fixture
def black_and_white(drawn_faces):
    """Images that one epoch is enough to tell apart, and that the untrained network confuses: black and white ones."""
    rows = drawn_faces.select(np.arange(0, len(drawn_faces), 3))
    labels = np.arange(len(rows)) % 2
    images = np.broadcast_to(
        255 * (1 - labels).astype(np.uint8)[:, np.newaxis, np.newaxis, np.newaxis], rows.images.shape
    )
    return dataclasses.replace(rows, images=images.copy(), labels=labels, class_names=("happy", "sad"))


def test_bad_trials_are_pruned(make_plan, black_and_white, tmp_path, monkeypatch):
    import ferlib.training.tuning.study as module

    monkeypatch.setattr(module, "_PRUNER_STARTUP", 1)
    # The first trial has the default rate, the others do not learn.
    space = "learning_rate = {choices = [1e-9, 2e-9]}"
    plan = make_plan(space, trials=3, training={"epochs": 2, "learning_rate": 3e-3, "augmentation": None})
    study = TuningStudy(tmp_path / "mine")
    assert study.run(plan, black_and_white)
    table = study.table().set_index("trial")
    assert table.loc[0, ["state", "val_accuracy"]].tolist() == ["complete", 1.0]
    pruned = table[table["state"] == "pruned"]
    assert pruned.index.tolist() == [1, 2]
    assert set(pruned["epochs"]) == {1}
    assert pruned["value"].isna().all()
    for number in pruned.index:
        folder = tmp_path / "mine" / f"trial-{number:04d}"
        assert not (folder / "checkpoint").exists()
        assert [row["val_accuracy"] for row in Run(folder).history] == [table.loc[number, "val_accuracy"]]


def test_a_diverging_trial_does_not_end_the_study(make_plan, small_faces, tmp_path):
    plan = make_plan("learning_rate = {choices = [1e38, 2e38]}", trials=2, training={"augmentation": None})
    study = TuningStudy(tmp_path / "mine")
    assert study.run(plan, small_faces)
    table = study.table()
    # The first trial has the default rate.
    assert table["state"].tolist() == ["complete", "pruned"]
    assert "lower --learning-rate" in table["note"][1]


def test_a_bag_of_words_is_tuned_by_macro_f1(make_plan, small_faces, tmp_path):
    plan = make_plan(WORDS, "bovw", trials=2, metric="macro_f1")
    study = TuningStudy(tmp_path / "bag")
    assert study.run(plan, small_faces)
    table = study.table()
    assert list(table.columns) == [*COLUMNS, "model.n_words", "model.C"]
    assert table["value"].tolist() == table["val_macro_f1"].tolist()
    assert Run(tmp_path / "bag" / "trial-0001").config.model_options["n_words"] == table["model.n_words"][1]
    # A further worker raises the number of trials.
    assert TuningStudy(tmp_path / "bag").run(dataclasses.replace(plan, trials=3), small_faces)
    assert len(study.table()) == 3


def test_trials_depend_on_the_seed_alone(make_plan, small_faces, tmp_path):
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        study = TuningStudy(tmp_path / name)
        study.run(make_plan(WORDS, "bovw", trials=2, training={"seed": seed}), small_faces)
        drawn.append(study.table()["model.C"].tolist())
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == drawn[2][0]
    assert drawn[0] != drawn[2]


def test_a_study_is_not_continued_as_another(make_plan, small_faces, tmp_path):
    study = TuningStudy(tmp_path / "mine")
    study.run(make_plan(WORDS, "bovw", trials=1), small_faces)
    with pytest.raises(ArtifactError, match="other settings: metric was 'accuracy', now 'macro_f1'"):
        study.run(make_plan(WORDS, "bovw", metric="macro_f1"), small_faces)
    with pytest.raises(ArtifactError, match=r"other settings: space.model.C.high was 5.0, now 9.0"):
        study.run(make_plan(WORDS.replace("high = 5", "high = 9"), "bovw"), small_faces)
    with pytest.raises(ArtifactError, match=r"other data: counts.train was 60, now 59"):
        study.run(make_plan(WORDS, "bovw"), small_faces.select(np.arange(1, len(small_faces))))


def test_a_study_is_replaced_only_with_overwrite(make_plan, small_faces, tmp_path):
    TuningStudy(tmp_path / "mine").run(make_plan(WORDS, "bovw", trials=1), small_faces)
    (tmp_path / "mine" / "notes.txt").touch()
    (tmp_path / "mine" / storage.JOURNAL).unlink()
    with pytest.raises(ArtifactError, match="contains runs of a study that is not in this storage; use --overwrite"):
        TuningStudy(tmp_path / "mine").run(make_plan(WORDS, "bovw", trials=1), small_faces)
    study = TuningStudy(tmp_path / "mine", overwrite=True)
    assert study.table().empty
    assert study.run(make_plan(WORDS, "bovw", trials=1, metric="macro_f1"), small_faces)
    assert study.table()["metric"].tolist() == ["macro_f1"]
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_tuning_needs_a_val_split(make_plan, small_faces, tmp_path):
    without = small_faces.select(small_faces.splits != "val")
    with pytest.raises(DataError, match="needs a val split"):
        TuningStudy(tmp_path / "mine").run(make_plan(WORDS, "bovw"), without)


def test_a_journal_that_was_cut_off_is_continued(make_plan, small_faces, tmp_path):
    plan = make_plan(WORDS, "bovw", trials=1)
    TuningStudy(tmp_path / "mine").run(plan, small_faces)
    journal = tmp_path / "mine" / storage.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines()[-1][:20])
    assert TuningStudy(tmp_path / "mine").run(plan, small_faces)
    # Optuna notes each process that opens a journal.
    assert journal.read_bytes().startswith(whole)


def test_missing_and_damaged_studies_are_named(tmp_path):
    with pytest.raises(ArtifactError, match="There is no study in"):
        TuningStudy(tmp_path / "nothing", create=False)
    (tmp_path / storage.JOURNAL).write_text("no journal\nat all\n")
    with pytest.raises(ArtifactError, match="damaged"):
        TuningStudy(tmp_path)
    with pytest.raises(OptionError, match="expected a URL such as postgresql"):
        TuningStudy(tmp_path / "a", "nosuch://user:secret@host/name")
    with pytest.raises(FerlibError, match=r"user:\*\*\*@127.0.0.1:1/name cannot be used") as caught:
        TuningStudy(tmp_path / "a", "postgresql+psycopg://user:secret@127.0.0.1:1/name")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (75, "1 min"), (3 * 3600 + 130, "3 h 2 min")])
def test_times_are_short(seconds, text):
    assert describe_seconds(seconds) == text
