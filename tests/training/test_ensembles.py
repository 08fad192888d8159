"""Several runs averaged are one model."""

import dataclasses
import shutil

import numpy as np
import pytest

from ferlib.core.errors import ArtifactError
from ferlib.runs.classifier import Ensemble, load_classifier
from ferlib.runs.folder import read_config
from ferlib.training import TrainingOptions, record_metrics, tabulate_runs, train_model

QUICK = TrainingOptions(epochs=1, batch_size=32, precision="float32")
SMALL = {"model": "compact_cnn", "size": 2, "member_options": {"widths": (4, 8)}}


@pytest.fixture(scope="module")
def runs(drawn_faces, tmp_path_factory):
    """A network and a bag of visual words."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        train_model("compact_cnn", drawn_faces, folder / "cnn", QUICK, model_options={"widths": (4, 8)}),
        train_model("bovw", drawn_faces, folder / "words", model_options={"n_words": 20}),
    ]


@pytest.fixture(scope="module")
def both(runs, drawn_faces, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("ensemble") / "both"
    return train_model("ensemble", drawn_faces, run_dir, model_options={"members": list(map(str, runs))})


def test_finished_runs_of_any_kind_are_averaged(runs, both, drawn_faces):
    images = drawn_faces.images[:12]
    parts = [load_classifier(run).predict_proba(images) for run in runs]
    ensemble = load_classifier(both)
    np.testing.assert_allclose(ensemble.predict_proba(images), np.mean(parts, axis=0), atol=1e-6)
    assert ensemble.predict_proba(images[:0]).shape == (0, 7)
    assert isinstance(ensemble, Ensemble)
    assert [member.name for member in ensemble.members] == ["compact_cnn", "bovw"]


def test_it_needs_nothing_but_its_folder(both, drawn_faces, tmp_path):
    moved = shutil.copytree(both, tmp_path / "elsewhere")
    images = drawn_faces.images[:5]
    np.testing.assert_array_equal(
        load_classifier(moved).predict_proba(images), load_classifier(both).predict_proba(images)
    )
    metrics = record_metrics(moved, drawn_faces)
    row = tabulate_runs([moved]).iloc[0]
    assert row["test accuracy"] == metrics["test"]["accuracy"]
    assert row["MB"] == pytest.approx(
        sum(path.stat().st_size for name in ("*.onnx", "*.skops") for path in moved.rglob(name)) / 1e6
    )
    assert "mean of 2 models" in (moved / "model_card.md").read_text()


def test_views_can_be_chosen_for_all_members(runs, both, drawn_faces):
    images = drawn_faces.images[:4]
    plain = [load_classifier(run, test_time_augmentation="none").predict_proba(images) for run in runs]
    chosen = load_classifier(both, test_time_augmentation="none").predict_proba(images)
    np.testing.assert_allclose(chosen, np.mean(plain, axis=0), atol=1e-6)
    assert np.abs(chosen - load_classifier(both).predict_proba(images)).max() > 1e-5


def test_without_runs_it_trains_networks_of_different_seeds(drawn_faces, tmp_path):
    run_dir = train_model("ensemble", drawn_faces, tmp_path / "run", QUICK, model_options=SMALL)
    folders = sorted((run_dir / "members").iterdir())
    assert [folder.name for folder in folders] == ["0-compact_cnn", "1-compact_cnn"]
    assert [read_config(folder)["training"]["seed"] for folder in folders] == [0, 1]
    assert read_config(run_dir)["parameters"] == sum(read_config(folder)["parameters"] for folder in folders)


def test_an_interrupted_ensemble_goes_on_with_the_member_where_it_stopped(drawn_faces, tmp_path):
    run_dir = train_model("ensemble", drawn_faces, tmp_path / "run", QUICK, model_options=SMALL)
    # As it is when the second member had not begun.
    shutil.rmtree(run_dir / "members" / "1-compact_cnn")
    config = (run_dir / "config.json").read_text().replace('"status": "finished"', '"status": "training"')
    (run_dir / "config.json").write_text(config)
    first = run_dir / "members" / "0-compact_cnn" / "model.onnx"
    before = first.stat().st_mtime_ns
    with pytest.raises(ArtifactError, match="--resume"):
        load_classifier(run_dir)
    train_model("ensemble", drawn_faces, run_dir, QUICK, model_options=SMALL, resume=True)
    assert first.stat().st_mtime_ns == before
    assert len(load_classifier(run_dir).members) == 2


def test_members_must_tell_the_same_emotions_apart(runs, drawn_faces, tmp_path):
    other = dataclasses.replace(drawn_faces, class_names=(*drawn_faces.class_names[:-1], "contempt"))
    with pytest.raises(ArtifactError, match="tells apart"):
        train_model("ensemble", other, tmp_path / "run", model_options={"members": list(map(str, runs))})
    with pytest.raises(ArtifactError, match="no run folder"):
        train_model("ensemble", drawn_faces, tmp_path / "run", model_options={"members": "gone,lost"})
