"""The studies of the notebooks: one table, and trainings that continue."""

import numpy as np
import pandas as pd
import pytest
import studies

from ferlib.models import get_model


@pytest.mark.parametrize("study", studies.STUDIES)
def test_every_variant_can_be_built(study):
    names = [variant.name for variant in studies.STUDIES[study]]
    assert len(set(names)) == len(names)
    for variant in studies.STUDIES[study]:
        get_model(variant.model).check_options(variant.model_options)
        options = studies.make_options(variant, epochs=2, seed=1)
        assert (options.epochs, options.seed) == (2 * variant.n_times, 1)
        assert options.frozen_epochs in (0, 2)


@pytest.mark.slow
def test_probe_of_the_trunk_is_better_than_chance(drawn_faces):
    assert studies.probe_trunk(drawn_faces) > 2 / 7


@pytest.mark.slow
def test_study_writes_a_table_and_continues(drawn_faces, tmp_path, monkeypatch):
    tiny = tuple(studies.Variant(name, "width", "plain_cnn", {"width": n}) for name, n in (("base", 4), ("8 wide", 8)))
    monkeypatch.setattr(studies, "STUDIES", {"layers": tiny, "transfer": tiny[:1]})
    arguments = {"epochs": 1, "output": tmp_path / "layers.csv"}
    table = studies.run_study("layers", drawn_faces, tmp_path, seeds=[0], **arguments)
    assert table["variant"].tolist() == ["base", "8 wide"]
    assert (tmp_path / "8_wide-0" / "model.keras").exists()
    finished = (tmp_path / "base-0" / "model.keras").stat().st_mtime_ns
    again = studies.run_study("layers", drawn_faces, tmp_path, seeds=[0, 1], **arguments)
    assert again["seed"].tolist() == [0, 1, 0, 1]
    assert (tmp_path / "base-0" / "model.keras").stat().st_mtime_ns == finished
    written = pd.read_csv(tmp_path / "layers.csv")
    np.testing.assert_allclose(written["val_accuracy"], again["val_accuracy"], atol=1e-5)
    assert studies.summarize(again)["count"].tolist() == [2, 2]
    curves = studies.run_study("transfer", drawn_faces, tmp_path, seeds=[0], epochs=1, output=tmp_path / "curves.csv")
    assert curves[["seed", "epoch"]].to_numpy().tolist() == [[0, 1], [1, 1]]
