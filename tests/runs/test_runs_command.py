"""The command `ferlib runs`."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from ferlib.core.errors import ArtifactError, DataError, OptionError
from ferlib.runs.__main__ import main
from ferlib.runs.folder import Run


@pytest.fixture
def runs(network_run, bovw_run, tmp_path):
    """Return a folder with two measured runs, one that is not finished and one that is not measured."""
    folder = tmp_path / "runs"
    shutil.copytree(network_run, folder / "network")
    shutil.copytree(bovw_run, folder / "bovw")
    shutil.copytree(bovw_run, folder / "unmeasured", ignore=shutil.ignore_patterns("metrics.json"))
    stopped = Run(shutil.copytree(bovw_run, folder / "stopped"))
    stopped.write_config(replace(stopped.config, status="training"))
    return folder


def test_table_has_finished_and_measured_runs(runs, tmp_path, capsys):
    file = tmp_path / "experiments.csv"
    assert main([str(runs), "--output-csv", str(file)]) == 0
    assert "n_words=20" in capsys.readouterr().out
    table = pd.read_csv(file, index_col="run")
    assert list(table.index) == ["bovw", "network"]
    run, row = Run(runs / "network"), table.loc["network"]
    assert row["test accuracy"] == pytest.approx(run.metrics["test"].accuracy, abs=1e-5)
    assert row["val macro_f1"] == pytest.approx(run.metrics["val"].macro_f1, abs=1e-5)
    assert row["parameters"] == run.config.parameters
    assert (row["model"], row["epochs"], row["views"]) == ("compact_cnn", 2, "none")


def test_table_keeps_other_runs_and_replaces_known_ones(runs, tmp_path):
    file = tmp_path / "experiments.csv"
    main([str(runs), "--output-csv", str(file)])
    before = file.read_text()
    table = pd.read_csv(file)
    table.loc[table["run"] == "bovw", "test accuracy"] = 0.999
    older = table[table["run"] == "network"].assign(run="an older one")
    pd.concat([table, older]).to_csv(file, index=False)
    main([str(runs / "bovw"), "--output-csv", str(file)])
    again = pd.read_csv(file, index_col="run")
    assert set(again.index) == {"bovw", "network", "an older one"}
    assert again.loc["bovw", "test accuracy"] < 0.999
    main([str(runs), "--output-csv", str(tmp_path / "new.csv")])
    assert (tmp_path / "new.csv").read_text() == before


def test_recorded_table_is_shown(runs, tmp_path, capsys):
    file = tmp_path / "experiments.csv"
    main([str(runs), "--output-csv", str(file)])
    before = file.read_text()
    capsys.readouterr()
    assert main(["--output-csv", str(file)]) == 0
    assert "compact_cnn" in capsys.readouterr().out
    assert file.read_text() == before


def test_wrong_arguments_are_named(runs, tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv cannot be read as a table of runs"):
        main([str(runs), "--output-csv", str(tmp_path / "a.csv")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="is not a run folder and contains none"):
        main([str(tmp_path / "empty")])
    with pytest.raises(ArtifactError, match="There is no folder"):
        main([str(tmp_path / "missing")])
    with pytest.raises(OptionError, match="DIR or --output-csv is required"):
        main([])
