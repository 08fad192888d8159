"""Order of the notebooks, their parameters, failing cells and published copies."""

import os
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import run_notebooks

from ferlib.core.errors import FerlibError
from ferlib.synthetic.generate import write_synthetic


def _write_notebook(path: Path, *cells: str, parameters: str = "SEED = 0\nSAMPLE_SIZE = 0", tags: tuple = ()) -> Path:
    """Write a notebook with a parameters cell and code cells; the last has `tags`."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    notebook.cells[-1].metadata.setdefault("tags", []).extend(tags)
    nbformat.write(notebook, path)
    return path


def _printed(path: Path) -> str:
    """Return all text that the cells of an executed notebook wrote."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "notebooks"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=14, test_size=7, seed=0)


@pytest.mark.notebooks
def test_notebooks_run_in_order_and_write_only_to_the_output(folder, faces, tmp_path, capsys, monkeypatch):
    note = "with open('../order.txt', 'a') as file:\n    file.write('{}')"
    _write_notebook(folder / "01_second.ipynb", note.format("second "), "print(SAMPLE_SIZE, SEED)")
    _write_notebook(
        folder / "00_first.ipynb",
        note.format("first "),
        "import os, sys\nprint(RUN_DIR, os.environ['FER2013_ARCHIVE'], os.environ.get('EXPW_ARCHIVE'), sys.executable)",
        parameters="RUN_DIR = ''",
    )
    (folder / "scratch.ipynb").write_text("not a notebook of the series")
    monkeypatch.chdir(faces.parent)
    monkeypatch.setenv("FER2013_ARCHIVE", "other.zip")
    # Real faces must not get into copies on drawn ones.
    monkeypatch.setenv("EXPW_ARCHIVE", "expw.zip")

    status = run_notebooks.main(
        ["--data", "faces.zip", "--folder", str(folder), "--output", str(tmp_path / "out"), "--parameter", "SEED", "7"]
    )

    assert status == 0
    assert (os.environ["FER2013_ARCHIVE"], os.environ["EXPW_ARCHIVE"]) == ("other.zip", "expw.zip")
    assert (tmp_path / "order.txt").read_text() == "first second "
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SYNTHETIC")
    assert [line for line in lines if "done in" in line][1].startswith("[2/2] 01_second.ipynb")
    assert _printed(tmp_path / "out" / "00_first.ipynb").split() == ["../out/runs", str(faces), "None", sys.executable]
    assert _printed(tmp_path / "out" / "01_second.ipynb").split() == [
        str(run_notebooks.SIZES["demo"]["SAMPLE_SIZE"]),
        "7",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["00_first.ipynb", "01_second.ipynb", "scratch.ipynb"]


def test_solutions_become_cells(folder, tmp_path):
    notebook = nbformat.v4.new_notebook()
    exercise = "1. Add.\n\n<details><summary>Solutions</summary>\n\n```python\nprint(1 + 1)\n```\n\n</details>"
    notebook.cells = [nbformat.v4.new_markdown_cell(exercise), nbformat.v4.new_markdown_cell("```python\n1 / 0\n```")]
    nbformat.write(notebook, folder / "00_first.ipynb")
    copy = nbformat.read(run_notebooks.add_solutions(folder / "00_first.ipynb", tmp_path / "copy.ipynb"), as_version=4)
    assert [cell.cell_type for cell in copy.cells] == ["markdown", "code", "markdown"]
    assert copy.cells[1].source == "print(1 + 1)"


@pytest.mark.notebooks
def test_failing_cell_stops_the_series(folder, faces, tmp_path):
    _write_notebook(folder / "00_works.ipynb", "print('fine')")
    _write_notebook(folder / "01_fails.ipynb", "print('so far')", "# why\nvalue = 1 / 0")
    _write_notebook(folder / "02_never.ipynb", "print('never')")
    output = tmp_path / "out"

    with pytest.raises(FerlibError) as caught:
        run_notebooks.main(["--data", str(faces), "--folder", str(folder), "--output", str(output)])

    message = str(caught.value)
    assert "01_fails.ipynb failed in cell In [4]" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "\n" not in message
    assert "so far" in _printed(output / "01_fails.ipynb")
    assert not (output / "02_never.ipynb").exists()


@pytest.mark.notebooks
def test_dead_kernel_is_reported(folder, tmp_path):
    notebook = _write_notebook(folder / "00_dies.ipynb", "import os\nos._exit(9)")
    with pytest.raises(FerlibError, match=r"executed 00_dies\.ipynb died"):
        run_notebooks.execute_notebook(notebook, tmp_path / "00_dies.ipynb", {})


def test_unknown_parameter_is_refused_before_execution(folder, faces, tmp_path):
    _write_notebook(folder / "00_first.ipynb", "print(SEED)")
    with pytest.raises(FerlibError, match=r"--parameter: expected one of SAMPLE_SIZE, SEED, got SED\."):
        run_notebooks.main(
            ["--data", str(faces), "--folder", str(folder), "--output", str(tmp_path), "--parameter", "SED", "1"]
        )
    assert not (tmp_path / "00_first.ipynb").exists()


def test_notebook_without_parameters_is_refused(folder, tmp_path):
    notebook = _write_notebook(folder / "00_first.ipynb", "print(1)", parameters="# nothing is set here")
    with pytest.raises(FerlibError, match=r"00_first\.ipynb has no parameters"):
        run_notebooks.plan_parameters([notebook], "demo", tmp_path, {})


def test_notebooks_get_their_own_parameters_and_relative_paths(folder, tmp_path):
    one = _write_notebook(folder / "00_a.ipynb", parameters="SEED = 0\nSAMPLE_SIZE = 0\nEPOCHS = 9\nFIGURES_DIR = ''")
    two = _write_notebook(folder / "01_b.ipynb", parameters="RUN_DIR = ''\nEMOTIONS = []")
    output = tmp_path / "build" / "demo"

    demo = run_notebooks.plan_parameters([one, two], "demo", output, {"EMOTIONS": '["happy", "sad"]'})
    full = run_notebooks.plan_parameters([one, two], "full", output, {})

    assert demo[one] == {**run_notebooks.SIZES["demo"], "FIGURES_DIR": "../build/demo/figures"}
    assert demo[two] == {"RUN_DIR": "../build/demo/runs", "EMOTIONS": ["happy", "sad"]}
    assert full == {one: {"FIGURES_DIR": "../build/demo/figures"}, two: {}}


def test_notebooks_are_chosen_by_number(folder):
    for name in ("10_late", "02_b", "01_a"):
        _write_notebook(folder / f"{name}.ipynb")
    assert [path.name[:2] for path in run_notebooks.find_notebooks(folder)] == ["01", "02", "10"]
    assert [path.name[:2] for path in run_notebooks.find_notebooks(folder, ["10", "1"])] == ["01", "10"]
    with pytest.raises(FerlibError, match=r"expected numbers of 01_a\.ipynb, .*, got 07\."):
        run_notebooks.find_notebooks(folder, ["07"])
    with pytest.raises(FerlibError, match="has no notebook"):
        run_notebooks.find_notebooks(folder.parent)


def _executed(path: Path, plot: str, faces: str, greeting: str) -> Path:
    """Write a notebook whose second and third code cells have these outputs; the third shows images."""
    _write_notebook(path, "greet()", "plot()", "show()", tags=(run_notebooks.IMAGES_TAG,))
    notebook = nbformat.read(path, as_version=4)
    texts = ("", greeting, plot, faces)
    for cell, text in zip(notebook.cells, texts, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", data={"text/plain": text})]
    notebook.cells[2].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="train: 100%"))
    notebook.metadata["papermill"] = {"output_path": "/home/somebody/out.ipynb"}
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    return path


def test_published_copies_show_drawn_faces_in_place_of_real_ones(folder, tmp_path):
    real = _executed(folder / "01_eda.ipynb", "a curve to keep", "a face of the dataset", "FER2013")
    (tmp_path / "demo").mkdir()
    _executed(tmp_path / "demo" / "01_eda.ipynb", "a drawn curve", "a drawn face", "SYNTHETIC faces")
    published = tmp_path / "series" / "01_eda.ipynb"
    run_notebooks.publish(real, published, real=True, stand_ins=tmp_path / "demo")
    text = published.read_text(encoding="utf-8")
    for shown, expected in {
        **{"a curve to keep": True, "a drawn curve": False, "a face of the dataset": False, "a drawn face": True},
        **{"drawn faces stand in": True, "/home/somebody": False, "100%": False},
    }.items():
        assert (shown in text) is expected, shown
    run_notebooks.publish(real, published, real=True, stand_ins=tmp_path / "missing")
    assert "drawn faces stand in" in published.read_text(encoding="utf-8")
    run_notebooks.publish(tmp_path / "demo" / "01_eda.ipynb", published, real=False)
    assert "a drawn face" in published.read_text(encoding="utf-8")


def test_links_of_published_copies_lead_out_of_their_folder(folder, tmp_path):
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(metadata=about)
    notebook.cells = [nbformat.v4.new_markdown_cell("[a](../docs/glossary.md), [b](01_eda.ipynb)")]
    nbformat.write(notebook, folder / "00_first.ipynb")
    published = tmp_path / "reports" / "series" / "00_first.ipynb"
    run_notebooks.publish(folder / "00_first.ipynb", published, real=False)
    copy = nbformat.read(published, as_version=4)
    assert copy.cells[0].source == "[a](../../docs/glossary.md), [b](01_eda.ipynb)"


def test_published_copies_are_the_same_each_time(folder, tmp_path):
    published = []
    for number in range(2):
        path = _executed(folder / "01_eda.ipynb", "a note", "a face", "SYNTHETIC faces")
        notebook = nbformat.read(path, as_version=4)
        for row in (1, 2):
            table = pd.DataFrame({"value": [row]}).style
            notebook.cells.append(nbformat.v4.new_code_cell(f"table({row})", id=f"cell-{row}"))
            shown = nbformat.v4.new_output("display_data", data={"text/html": table.to_html()})
            notebook.cells[-1].outputs = [shown]
        nbformat.write(notebook, path)
        run_notebooks.publish(path, tmp_path / f"{number}.ipynb", real=False)
        published.append([cell.get("outputs") for cell in nbformat.read(tmp_path / f"{number}.ipynb", 4).cells])
    assert published[0] == published[1]
    first, second = (outputs[0]["data"]["text/html"] for outputs in published[0][-2:])
    assert ('id="T_1"' in first, 'id="T_2"' in second) == (True, True)


def test_a_notebook_without_images_of_the_dataset_needs_no_stand_in(folder, tmp_path):
    real = _executed(folder / "06_in_the_wild.ipynb", "a curve to keep", "a note", "grace_hopper.jpg")
    notebook = nbformat.read(real, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("tags", None)
    for path in (real, tmp_path / "06_in_the_wild.ipynb"):
        nbformat.write(notebook, path)
    run_notebooks.publish(real, tmp_path / "series" / real.name, real=True, stand_ins=tmp_path)
    text = (tmp_path / "series" / real.name).read_text(encoding="utf-8")
    assert "a curve to keep" in text
    assert "drawn faces stand in" not in text


def test_real_images_never_stand_in(folder, tmp_path):
    real = _executed(folder / "01_eda.ipynb", "a curve", "a face of the dataset", "FER2013")
    with pytest.raises(FerlibError, match="was not executed on drawn faces"):
        run_notebooks.publish(real, tmp_path / "published.ipynb", real=True, stand_ins=folder)


def test_a_wrong_stand_in_is_refused_before_execution(folder, faces, tmp_path, monkeypatch):
    _executed(folder / "01_eda.ipynb", "a curve", "a face", "FER2013")
    monkeypatch.setattr(run_notebooks, "describe_source", lambda path: "FER2013")
    places = ["--folder", str(folder), "--output", str(tmp_path / "out"), "--stand-ins", str(folder)]
    with pytest.raises(FerlibError, match="was not executed on drawn faces"):
        run_notebooks.main(["--data", str(faces), "--reports", str(tmp_path / "reports"), *places])
    assert not (tmp_path / "out").exists()
