"""The variants of the ablation and their training."""

import ablation_experiment
import pytest

from ferlib.models import get_model
from ferlib.runs.folder import Run
from ferlib.training.ablation import CHANGES


def test_every_variant_can_be_trained():
    assert list(CHANGES) == sorted(CHANGES)
    assert set(ablation_experiment.TRAINING) <= set(CHANGES)
    for variant in CHANGES:
        model, options = ablation_experiment.model_of(variant)
        get_model(model).check_options(options)


@pytest.mark.slow
def test_variants_are_trained_once(drawn_faces, tmp_path, monkeypatch):
    tiny = {"depth": 2, "width": 4, "dense": 8}
    monkeypatch.setattr(ablation_experiment, "CHANGES", {"09_squeeze": "", "14_distilled": "", "16_votes": ""})
    monkeypatch.setattr(ablation_experiment, "model_of", lambda variant: ("plain_cnn", tiny))
    table = ablation_experiment.train_variants(drawn_faces, tmp_path, epochs=1)
    assert table.index.tolist() == ["09_squeeze", "14_distilled"]  # Without votes, the last is skipped.
    assert table["epochs"].tolist() == [1, 1]
    assert table["val accuracy"].between(0, 1).all()
    assert Run(tmp_path / "14_distilled").config.training["teacher"] == str(tmp_path / "09_squeeze")
    before = (tmp_path / "09_squeeze" / "model.keras").stat().st_mtime_ns
    ablation_experiment.train_variants(drawn_faces, tmp_path, epochs=1)
    assert (tmp_path / "09_squeeze" / "model.keras").stat().st_mtime_ns == before
