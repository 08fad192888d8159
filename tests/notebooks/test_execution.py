"""The notebooks run through papermill, in order, on drawn faces and on the real FER2013."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import run_notebooks

ROOT = Path(__file__).parents[2]
SMALL = ["--parameter", "SAMPLE_SIZE", "700", "--parameter", "EPOCHS", "1"]


def _text(path: Path) -> str:
    """Return all text that an executed notebook shows."""
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    return "\n".join(out.get("text", "") + out.get("data", {}).get("text/plain", "") for out in outputs)


def _run_series(output: Path, data_dir: Path, *options: str) -> Path:
    """Execute all notebooks at small size, with their data away from the project's."""
    assert (
        run_notebooks.main(["--output", str(output), "--parameter", "DATA_DIR", str(data_dir), *SMALL, *options]) == 0
    )
    return output


@pytest.fixture(scope="module")
def drawn_series(tmp_path_factory):
    """The executed series on drawn faces."""
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
        return _run_series(
            folder / "out", folder / "data", "--data", str(archive), "--reports", str(folder / "reports")
        )


@pytest.mark.notebooks
@pytest.mark.slow
def test_every_notebook_says_that_the_faces_are_drawn(drawn_series):
    # 06 is about photographs and videos.
    for path in sorted(drawn_series.glob("0[0-5]*.ipynb")):
        assert "SYNTHETIC" in _text(path), path.name


@pytest.mark.notebooks
@pytest.mark.slow
def test_the_wild_ends_with_an_annotated_image_and_video(drawn_series):
    made = drawn_series.parent / "data" / "interim"
    assert {"annotated.png", "annotated.mp4", "tracks.csv"} <= {path.name for path in made.iterdir()}
    tracks = pd.read_csv(made / "tracks.csv")
    assert tracks["track_id"].tolist() == [1]
    assert tracks["frames"].tolist() == [150]
    assert "5 of 5 in the group" in _text(drawn_series / "06_in_the_wild.ipynb")


@pytest.mark.notebooks
@pytest.mark.slow
def test_the_tables_and_the_card_are_published(drawn_series):
    reports = drawn_series.parent / "reports"
    assert (reports / "results.csv").read_bytes() == (drawn_series / "runs" / "evaluation.csv").read_bytes()
    assert (reports / "errors.csv").read_bytes() == (drawn_series / "runs" / "errors.csv").read_bytes()
    assert "Intended use" in (reports / "model_card.md").read_text(encoding="utf-8")


@pytest.mark.notebooks
@pytest.mark.slow
def test_the_runs_that_were_trained_are_those_that_were_evaluated(drawn_series):
    table = pd.read_csv(drawn_series / "runs" / "evaluation.csv", index_col="model")
    assert {"plain_cnn", "compact_cnn", "bovw", "compact_cnn (pretrained)", "always the same"} == set(table.index)
    for name in ("plain_cnn", "compact_cnn", "bovw"):
        metrics = json.loads((drawn_series / "runs" / name / "metrics.json").read_text())["test"]
        assert table.loc[name, "accuracy"] == pytest.approx(metrics["accuracy"])
        assert table.loc[name, "n"] == metrics["n"]
    assert table.loc["bovw", "macro_f1"] > 2 * table.loc["always the same", "macro_f1"]


@pytest.mark.notebooks
@pytest.mark.slow
def test_the_list_of_errors_is_complete(drawn_series):
    errors = pd.read_csv(drawn_series / "runs" / "errors.csv")
    assert (errors["true"] != errors["predicted"]).all()
    assert errors["probability"].is_monotonic_decreasing
    table = pd.read_csv(drawn_series / "runs" / "evaluation.csv", index_col="model")
    wrong = ((1 - table["accuracy"]) * table["n"]).round().astype(int)
    assert len(errors) in wrong.to_list()


@pytest.mark.notebooks
@pytest.mark.slow
def test_figures_are_shown_and_saved(drawn_series):
    saved = {path.stem for path in (drawn_series / "figures").glob("*.png")}
    assert {"class_counts", "mean_faces", "light", "history_compact_cnn", "confusion_matrix", "confidence"} <= saved
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


@pytest.mark.notebooks
@pytest.mark.slow
def test_plain_papermill_from_the_notebooks_folder(tmp_path, drawn_series):
    values = {"SAMPLE_SIZE": "700", "EPOCHS": "1", "RUN_DIR": str(tmp_path / "runs")}
    shown = _papermill(ROOT / "notebooks", "03_train.ipynb", tmp_path / "out.ipynb", values, drawn_series)
    assert "compact_cnn, trained on synthetic faces" in shown
    assert (tmp_path / "runs" / "bovw" / "model_card.md").exists()


@pytest.mark.notebooks
@pytest.mark.slow
def test_plain_papermill_from_the_root(tmp_path, drawn_series):
    shown = _papermill(ROOT, "notebooks/01_eda.ipynb", tmp_path / "out.ipynb", {"SAMPLE_SIZE": "700"}, drawn_series)
    assert "SYNTHETIC" in shown


def _papermill(folder: Path, name: str, output: Path, values: dict[str, str], drawn_series: Path) -> str:
    """Return what a notebook shows that papermill's own command executed in a folder."""
    data = drawn_series.parent / "data"
    values = {"DATA": str(data / "raw" / "synthetic.zip"), "DATA_DIR": str(data), **values}
    parameters = [word for name_and_value in values.items() for word in ("-p", *name_and_value)]
    subprocess.run(
        [sys.executable, "-m", "papermill", name, str(output), "-k", "python3", *parameters],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return _text(output)


@pytest.mark.notebooks
@pytest.mark.slow
@pytest.mark.real_data
def test_expw_goes_through_the_same_notebooks_by_parameters(expw_archive, tmp_path):
    values = {"SPLIT": "70/15/15", "MARGIN": "0.1", "MODEL": "three_block_cnn", "RESAMPLE": "smote"}
    parameters = [word for name, value in values.items() for word in ("--parameter", name, value)]
    output = _run_series(
        tmp_path / "out", tmp_path / "data", "--data", str(expw_archive), "--notebooks", "02", "03", "04", *parameters
    )
    config = json.loads((output / "runs" / "three_block_cnn" / "config.json").read_text())
    assert (config["data"]["title"], config["image_size"], config["channels"]) == ("ExpW", [64, 64], 3)
    assert config["training"]["resample"] == "smote"
    table = pd.read_csv(output / "runs" / "evaluation.csv", index_col="model")
    assert {"three_block_cnn", "bovw", "compact_cnn (pretrained)"} <= set(table.index)
    assert (table["n"] == table["n"].iloc[0]).all()


@pytest.mark.notebooks
@pytest.mark.slow
@pytest.mark.real_data
def test_the_series_on_real_faces_publishes_none_of_them(fer2013_archive, tmp_path):
    output = _run_series(
        tmp_path / "out", tmp_path / "data", "--data", str(fer2013_archive), "--reports", str(tmp_path / "reports")
    )
    for path in sorted(output.glob("*.ipynb")):
        assert "SYNTHETIC" not in _text(path), path.name
    assert "28,709" in _text(output / "00_download.ipynb")
    tagged = 0
    for path in sorted(output.glob("*.ipynb")):
        html = (tmp_path / "reports" / f"{path.stem}.html").read_text(encoding="utf-8")
        for cell in nbformat.read(path, as_version=4).cells:
            if "images" in cell.metadata.get("tags", []):
                shown = [out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})]
                tagged += len(shown)
                assert not [png for png in shown if png.strip()[:200] in html]
    assert tagged >= 3
    table = pd.read_csv(output / "runs" / "evaluation.csv", index_col="model")
    # At chance this fails; 90 test images put 95 % of such samples above 0.54 for 0.66.
    assert table.loc["compact_cnn (pretrained)", "accuracy"] > 0.5
