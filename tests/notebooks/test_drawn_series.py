"""The notebooks run in order on drawn faces, and by the command papermill."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from execution import ROOT, read_text, run_papermill, run_series

pytestmark = [pytest.mark.notebooks, pytest.mark.slow]


@pytest.fixture(scope="module")
def drawn_series(tmp_path_factory):
    """Return the folder of the series executed on drawn faces."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        # As on a machine that has no data at all.
        for variable in ("FER2013_ARCHIVE", "EXPW_ARCHIVE", "FERPLUS_VOTES"):
            patch.delenv(variable, raising=False)
        data = subprocess.run(
            [sys.executable, "-m", "ferlib.download", "--synthetic", "--data-dir", str(folder / "data")],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        assert b"SYNTHETIC" in data.stdout
        archive = folder / "data" / "raw" / "synthetic.zip"
        return run_series(folder / "out", folder / "data", "--data", str(archive), "--reports", str(folder / "reports"))


def test_every_notebook_shows_that_data_are_synthetic(drawn_series):
    # 06 is about photographs and videos.
    for path in sorted(drawn_series.glob("0[0-578]*.ipynb")):
        assert "SYNTHETIC" in read_text(path), path.name


def test_in_the_wild_writes_annotated_files(drawn_series):
    made = drawn_series.parent / "data" / "interim"
    assert {"annotated.png", "annotated.mp4", "tracks.csv"} <= {path.name for path in made.iterdir()}
    tracks = pd.read_csv(made / "tracks.csv")
    assert tracks["track_id"].tolist() == [1]
    assert tracks["frames"].tolist() == [150]
    assert "5 of 5 in the group" in read_text(drawn_series / "06_in_the_wild.ipynb")


def test_tables_and_model_card_are_published(drawn_series):
    reports = drawn_series.parent / "reports"
    assert (reports / "series.csv").read_bytes() == (drawn_series / "runs" / "evaluation.csv").read_bytes()
    assert (reports / "errors.csv").read_bytes() == (drawn_series / "runs" / "errors.csv").read_bytes()
    assert "Intended use" in (reports / "model_card.md").read_text(encoding="utf-8")


def test_trained_runs_are_evaluated(drawn_series):
    table = pd.read_csv(drawn_series / "runs" / "evaluation.csv", index_col="model")
    trained = {"plain_cnn", "compact_cnn", "bovw", "bovw_spatial"}
    assert trained | {"always the same"} == set(table.index[~table.index.str.contains("pretrained")])
    assert table.index.str.contains("(pretrained)", regex=False).sum() == 1
    for name in ("plain_cnn", "compact_cnn", "bovw"):
        metrics = json.loads((drawn_series / "runs" / name / "metrics.json").read_text())["test"]
        assert table.loc[name, "accuracy"] == pytest.approx(metrics["accuracy"])
        assert table.loc[name, "n"] == metrics["n"]
    assert table.loc["bovw", "macro_f1"] > 2 * table.loc["always the same", "macro_f1"]


def test_runs_that_have_seen_test_images_are_left_out(drawn_series, tmp_path):
    runs = shutil.copytree(drawn_series / "runs", tmp_path / "runs")
    (runs / "evaluation.csv").unlink()
    archive = drawn_series.parent / "data" / "raw" / "synthetic.zip"
    options = ["--data", str(archive), "--notebooks", "04", "05", "--parameter", "RUN_DIR", str(runs)]
    options += ["--parameter", "SPLIT", "70/15/15", "--parameter", "SEED", "1"]
    output = run_series(tmp_path / "out", drawn_series.parent / "data", *options, trains=False)
    first, *others = pd.read_csv(runs / "evaluation.csv")["model"]
    assert first == "always the same"
    assert all("pretrained" in name for name in others)
    n_own = len(list(runs.glob("*/config.json")))
    for name in ("04_evaluate", "05_errors"):
        shown = read_text(output / f"{name}.ipynb")
        assert shown.count("nothing") == n_own


def test_every_error_is_listed(drawn_series):
    errors = pd.read_csv(drawn_series / "runs" / "errors.csv")
    assert (errors["true"] != errors["predicted"]).all()
    assert errors["probability"].is_monotonic_decreasing
    table = pd.read_csv(drawn_series / "runs" / "evaluation.csv", index_col="model")
    wrong = ((1 - table["accuracy"]) * table["n"]).round().astype(int)
    assert len(errors) in wrong.to_list()


def test_figures_are_shown_and_saved(drawn_series):
    saved = {path.stem for path in (drawn_series / "figures").glob("*.png")}
    assert {
        "class_counts",
        "mean_faces",
        "brightness",
        "curves_of_training",
        "confusion_matrix",
        "confidence",
    } <= saved
    for path in sorted(drawn_series.glob("0[1-5]*.ipynb")):
        # Cells that need data which are not available may be skipped.
        cells = [
            cell
            for cell in nbformat.read(path, as_version=4).cells
            if "plots.save_figure" in cell.source and not re.search("^(if|else)", cell.source, re.MULTILINE)
        ]
        assert cells
        for cell in cells:
            assert any("image/png" in out.get("data", {}) for out in cell.outputs), cell.source


@pytest.mark.parametrize(
    ("folder", "name", "parameters"),
    [("notebooks", "00_download.ipynb", {}), (".", "notebooks/01_eda.ipynb", {"SAMPLE_SIZE": "700"})],
)
def test_papermill_works_in_any_folder(folder, name, parameters, tmp_path, drawn_series):
    data = drawn_series.parent / "data"
    parameters = {"DATA": str(data / "raw" / "synthetic.zip"), "DATA_DIR": str(data), **parameters}
    assert "SYNTHETIC" in run_papermill(ROOT / folder, name, tmp_path / "out.ipynb", parameters)
