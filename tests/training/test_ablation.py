"""The ablation's variants and its table."""

import pandas as pd
import pytest

from ferlib.models import get_model
from ferlib.runs.folder import Run
from ferlib.training import TrainingOptions, ablation


def test_every_variant_can_be_trained():
    names = [variant.name for variant in ablation.VARIANTS]
    assert names == sorted(set(names))
    for number, variant in enumerate(ablation.VARIANTS):
        TrainingOptions(**{**ablation.PLAIN, **variant.training})
        get_model(variant.model).check_options(variant.model_options)
        # Baselines, which may be teachers, are trained first.
        assert not variant.baseline or names.index(variant.baseline) < number
        assert variant.baseline or not variant.uses_teacher


def test_gains_are_over_the_baseline():
    accuracies = {"01_plain": 0.5, "02_normalized": 0.53, "09_squeeze": 0.6, "10_mixup": 0.59, "14_distilled": 0.62}
    table = pd.DataFrame({"val accuracy": accuracies, "parameters": 7})
    table.loc["another run"] = [0.9, 7]
    rows = ablation.tabulate_ablation(table)
    assert rows.index.tolist() == list(accuracies)
    assert rows["baseline"].tolist() == ["", "01", "08", "09", "09"]
    assert rows["gain"].tolist() == pytest.approx([float("nan"), 3, float("nan"), -1, 2], nan_ok=True)
    assert ablation.tabulate_ablation(table.iloc[:0]).empty


@pytest.mark.slow
def test_variants_are_trained_once(drawn_faces, tmp_path, monkeypatch):
    tiny = {"depth": 2, "width": 4, "dense": 8}
    plain = ablation.Variant("01_plain", "plain network", "plain_cnn", tiny)
    student = ablation.Variant("02_distilled", "a teacher", "plain_cnn", tiny, baseline="01_plain", uses_teacher=True)
    votes = ablation.Variant("03_votes", "votes", "plain_cnn", tiny, uses_votes=True)
    monkeypatch.setattr(ablation, "VARIANTS", (plain, student, votes))
    table = ablation.train_ablation(drawn_faces, tmp_path, epochs=1)
    assert table.index.tolist() == ["01_plain", "02_distilled"]  # Without votes, the third is skipped.
    assert table["epochs"].tolist() == [1, 1]
    assert table["val accuracy"].between(0, 1).all()
    assert Run(tmp_path / "02_distilled").config.training["teacher"] == str(tmp_path / "01_plain")
    before = (tmp_path / "01_plain" / "model.keras").stat().st_mtime_ns
    ablation.train_ablation(drawn_faces, tmp_path, epochs=1)
    assert (tmp_path / "01_plain" / "model.keras").stat().st_mtime_ns == before
