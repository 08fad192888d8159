"""Runs become one table, and the table becomes part of a document."""

import json
import shutil

import pandas as pd
import pytest

from ferlib.core.errors import DataError, FerlibError
from ferlib.runs.__main__ import BEGIN, END, main
from ferlib.training import TrainingOptions, record_metrics, train_model
from ferlib.training.evaluate_run import describe_options


@pytest.fixture(scope="module")
def runs(drawn_faces, tmp_path_factory):
    """A folder with two measured runs, one that is not finished and one that was not measured."""
    folder = tmp_path_factory.mktemp("runs")
    words = train_model("bovw", drawn_faces, folder / "words", model_options={"n_words": 20})
    options = TrainingOptions(epochs=1, mixup=0.4, seed=4, resample="random_over", precision="float32")
    cnn = train_model("compact_cnn", drawn_faces, folder / "cnn", options, model_options={"widths": (4, 8)})
    for run in (words, cnn):
        record_metrics(run, drawn_faces)
    shutil.copytree(words, folder / "unmeasured", ignore=shutil.ignore_patterns("metrics.json"))
    stopped = shutil.copytree(words, folder / "stopped")
    config = (stopped / "config.json").read_text().replace('"status": "finished"', '"status": "training"')
    (stopped / "config.json").write_text(config)
    return folder


def test_the_table_says_what_was_recorded(runs, tmp_path, capsys):
    file = tmp_path / "experiments.csv"
    assert main([str(runs), "--csv", str(file)]) == 0
    assert "random_over" in capsys.readouterr().out
    table = pd.read_csv(file, index_col="run")
    assert list(table.index) == ["words", "cnn"]
    measured = json.loads((runs / "cnn" / "metrics.json").read_text())
    config = json.loads((runs / "cnn" / "config.json").read_text())
    row = table.loc["cnn"]
    assert row["test accuracy"] == pytest.approx(measured["test"]["accuracy"], abs=1e-5)
    assert row["val macro_f1"] == pytest.approx(measured["val"]["macro_f1"], abs=1e-5)
    assert row["parameters"] == config["parameters"]
    assert (row["model"], row["epochs"], row["views"]) == ("compact_cnn", 1, "flip")
    assert table.loc["words", "options"] == "n_words=20"


def test_only_what_differs_from_the_model_s_own_options_is_listed(runs):
    config = json.loads((runs / "cnn" / "config.json").read_text())
    listed = dict(pair.split("=") for pair in describe_options(config).split())
    assert {"epochs": "1", "mixup": "0.4", "seed": "4", "resample": "random_over", "widths": "4,8"}.items() <= (
        listed.items()
    )
    assert "weight_decay" not in listed


def test_what_the_table_knew_stays_and_what_is_measured_anew_is_renewed(runs, tmp_path):
    file = tmp_path / "experiments.csv"
    main([str(runs), "--csv", str(file)])
    before = file.read_text()
    table = pd.read_csv(file)
    table.loc[table["run"] == "words", "test accuracy"] = 0.999
    older = table[table["run"] == "cnn"].assign(run="an older one")
    pd.concat([table, older]).to_csv(file, index=False)
    main([str(runs / "words"), "--csv", str(file)])
    again = pd.read_csv(file, index_col="run")
    assert set(again.index) == {"words", "cnn", "an older one"}
    assert again.loc["words", "test accuracy"] < 0.999
    main([str(runs), "--csv", str(tmp_path / "new.csv")])
    assert (tmp_path / "new.csv").read_text() == before


def test_a_document_shows_the_best_run_of_each_model_by_val(runs, tmp_path):
    file, readme = tmp_path / "experiments.csv", tmp_path / "README.md"
    main([str(runs), "--csv", str(file)])
    table = pd.read_csv(file)
    worse = table[table["model"] == "bovw"].assign(run="worse")
    worse["val accuracy"] -= 0.01
    worse["test accuracy"] = 1.0
    pd.concat([table, worse]).to_csv(file, index=False)
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    assert main(["--csv", str(file), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\n\n| model |")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith(("| bovw", "| compact_cnn"))]
    assert len(rows) == 2
    # What does best on test is not what is chosen.
    assert "100.0 %" not in text


def test_what_is_no_table_no_run_or_no_place_is_told(runs, tmp_path):
    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(FerlibError, match="has no place for the table"):
        main([str(runs), "--readme", str(tmp_path / "README.md")])
    assert (tmp_path / "README.md").read_text() == "nothing here"
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv cannot be read as a table of runs"):
        main([str(runs), "--csv", str(tmp_path / "a.csv")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FerlibError, match="no run folder and holds none"):
        main([str(tmp_path / "empty")])
    with pytest.raises(FerlibError, match="There is no folder"):
        main([str(tmp_path / "gone")])
    with pytest.raises(SystemExit):
        main([])
