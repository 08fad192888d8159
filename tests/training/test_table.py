"""Finding and comparing runs."""

import dataclasses
import math
import shutil

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS, FOUR_EMOTIONS
from ferlib.core.errors import DataError
from ferlib.runs.folder import ASSETS, Run, pretrained_run_dir
from ferlib.training import default_options, find_runs, read_experiments, tabulate_runs
from ferlib.training.table import describe_options, describe_recipe


def test_runs_are_found_by_their_classes(bovw_run, tmp_path):
    changes = {
        "b": {},
        "a": {},
        "four": {"class_names": FOUR_EMOTIONS, "calibration": None},
        "unfinished": {"status": "training"},
    }
    for name, change in changes.items():
        run = Run(shutil.copytree(bovw_run, tmp_path / name))
        run.write_config(dataclasses.replace(run.config, **change))
    (tmp_path / "notes").mkdir()
    pretrained = {
        f"{Run(ASSETS / name).config.model} (pretrained{note})": Run(ASSETS / name)
        for name, note in (("default", ""), ("fast", ", fast"))
        if (ASSETS / name).exists()
    }
    assert find_runs(tmp_path, EMOTIONS) == {"a": Run(tmp_path / "a"), "b": Run(tmp_path / "b")} | pretrained
    assert find_runs(tmp_path, FOUR_EMOTIONS) == {"four": Run(tmp_path / "four")}
    assert find_runs(tmp_path / "missing", EMOTIONS) == pretrained


def test_runs_are_compared_in_a_table(bovw_run, network_run, tmp_path):
    unmeasured = shutil.copytree(bovw_run, tmp_path / "unmeasured", ignore=shutil.ignore_patterns("metrics.json"))
    table = tabulate_runs([bovw_run, network_run, unmeasured])
    assert list(table.index) == ["bovw_run", "network_run", "unmeasured"]
    row = table.loc["bovw_run"]
    assert (row["model"], row["data"]) == ("bovw", "synthetic faces")
    assert row["MB"] == pytest.approx((bovw_run / "model.skops").stat().st_size / 1e6)
    assert row["test accuracy"] == Run(bovw_run).metrics["test"].accuracy
    assert math.isnan(table.loc["unmeasured", "val macro_f1"])
    assert table["epochs"].isna().tolist() == [True, False, True]
    assert np.isfinite(table[["MB", "seconds"]]).all(axis=None)


def test_options_are_those_that_differ(network_run):
    config = Run(network_run).config
    shown = dict(pair.split("=") for pair in describe_options(config).split())
    assert shown == {
        **{"epochs": "2", "batch_size": "32", "precision": "float32", "widths": "4,8"},
        **{"label_smoothing": "0.1", "patience": "15"},
    }
    defaults = default_options("compact_cnn").to_config()
    plain = dataclasses.replace(config, training={**defaults, "augmentation": None}, model_options={})
    assert describe_options(plain) == "augmentation=none"


def test_recipe_names_start_teacher_and_votes(network_run):
    run = Run(network_run)
    lines = "\n".join(describe_recipe(run))
    assert "start: random weights" in lines
    assert "300 training images of synthetic faces" in lines
    assert "teacher" not in lines
    pretrained = "\n".join(describe_recipe(Run(pretrained_run_dir())))
    assert ("teacher: " in pretrained, "votes: " in pretrained) == (True, True)


def test_experiments_are_read_from_csv(tmp_path):
    assert read_experiments(tmp_path / "none.csv").empty
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"other\.csv cannot be read"):
        read_experiments(tmp_path / "other.csv")
