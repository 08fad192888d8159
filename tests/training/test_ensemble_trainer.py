"""Ensembles of copied or trained members."""

import dataclasses
import shutil

import numpy as np
import pytest

from ferlib.core.errors import ArtifactError
from ferlib.runs.classifier import Ensemble, load_classifier
from ferlib.runs.folder import Run
from ferlib.training import TrainingOptions, tabulate_runs, train_model

QUICK = TrainingOptions(epochs=1, batch_size=32, precision="float32")
SMALL = {"model": "compact_cnn", "size": 2, "member_options": {"widths": (4, 8)}}


@pytest.fixture(scope="module")
def ensemble_run(network_run, bovw_run, drawn_faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "both"
    members = [str(network_run), str(bovw_run)]
    return train_model("ensemble", drawn_faces, folder, model_options={"members": members})


def test_finished_runs_are_averaged(network_run, bovw_run, ensemble_run, drawn_faces):
    images = drawn_faces.images[:12]
    parts = [load_classifier(run).predict_proba(images) for run in (network_run, bovw_run)]
    ensemble = load_classifier(ensemble_run, calibrated=False)
    np.testing.assert_allclose(ensemble.predict_proba(images), np.mean(parts, axis=0), atol=1e-6)
    assert ensemble.predict_proba(images[:0]).shape == (0, 7)
    assert isinstance(ensemble, Ensemble)
    assert [member.config.model for member in ensemble.members] == ["compact_cnn", "bovw"]


def test_an_ensemble_is_self_contained(ensemble_run, drawn_faces, tmp_path):
    moved = Run(shutil.copytree(ensemble_run, tmp_path / "elsewhere"))
    images = drawn_faces.images[:5]
    np.testing.assert_array_equal(
        load_classifier(moved).predict_proba(images), load_classifier(ensemble_run).predict_proba(images)
    )
    row = tabulate_runs([moved]).iloc[0]
    assert row["test accuracy"] == moved.metrics["test"].accuracy
    files = [path for name in ("*.onnx", "*.skops") for path in moved.path.rglob(name)]
    assert row["MB"] == pytest.approx(sum(path.stat().st_size for path in files) / 1e6)


def test_members_are_trained_with_different_seeds_and_resumed(drawn_faces, tmp_path):
    def train(**more):
        return train_model("ensemble", drawn_faces, tmp_path / "run", QUICK, model_options=SMALL, export=False, **more)

    run = train()
    assert [member.name for member in run.members] == ["0-compact_cnn", "1-compact_cnn"]
    assert [member.config.training["seed"] for member in run.members] == [0, 1]
    assert run.config.parameters == sum(member.config.parameters for member in run.members)
    # As if it had been interrupted before the second member.
    shutil.rmtree(run.members[1])
    run.write_config(dataclasses.replace(run.config, status="training"))
    first = run.members[0].path / "model.keras"
    before = first.stat().st_mtime_ns
    with pytest.raises(ArtifactError, match="--resume"):
        load_classifier(run)
    assert len(load_classifier(train(resume=True)).members) == 2
    assert first.stat().st_mtime_ns == before


def test_members_must_have_the_same_classes(network_run, bovw_run, drawn_faces, tmp_path):
    other = dataclasses.replace(drawn_faces, class_names=(*drawn_faces.class_names[:-1], "contempt"))
    with pytest.raises(ArtifactError, match="trained on the classes"):
        train_model("ensemble", other, tmp_path / "run", model_options={"members": [str(network_run), str(bovw_run)]})
    with pytest.raises(ArtifactError, match="no run folder"):
        train_model("ensemble", drawn_faces, tmp_path / "run", model_options={"members": "gone,lost"})
