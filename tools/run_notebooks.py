"""Execute the notebooks in order and keep the executed copies."""

import argparse
import ast
import contextlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.data.locate import ARCHIVE_VARIABLE, EXPW_VARIABLE, default_data_dir, describe_source, locate_data
from ferlib.data.votes import VOTES_VARIABLE
from ferlib.runs.folder import MODEL_CARD, pretrained_run_dir

#: The parameters that each size sets, in notebooks that have them.
SIZES: dict[str, dict[str, Any]] = {
    "demo": {"SAMPLE_SIZE": 2100, "EPOCHS": 12},
    "full": {"PHOTOS": 0},
}

#: The tag of cells that show images of the dataset; their outputs are not published.
IMAGES_TAG = "images"

#: Tables that notebooks write to the folder of runs, and their names in the reports.
TABLES = {"evaluation.csv": "series.csv", "errors.csv": "errors.csv", "expw_metrics.csv": "expw_track.csv"}

#: What published copies show in place of images of a real dataset.
STAND_IN = "SYNTHETIC: drawn faces stand in for images of the dataset, which may not be published.\n"

# A table styled by pandas has a random name.
_STYLED_TABLE = re.compile(r'<table id="(T_[0-9a-f]{5})"')

_KERNEL = "python3"

_EXAMPLES = """
examples:
  python tools/run_notebooks.py
  python tools/run_notebooks.py --data fer2013.zip --notebooks 00 01
  python tools/run_notebooks.py --size full --data fer2013.zip --reports reports
  python tools/run_notebooks.py --parameter SEED 1 --parameter EPOCHS 5
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python tools/run_notebooks.py``."""
    parser = argparse.ArgumentParser(
        prog="python tools/run_notebooks.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--size", choices=sorted(SIZES), default="demo", help="amount of data and training (default: demo)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help=f"zip, folder or CSV (default: the first dataset found); with drawn faces, {EXPW_VARIABLE} and "
        f"{VOTES_VARIABLE} are ignored",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the executed copies (default: build/demo or build/notebooks)",
    )
    parser.add_argument(
        "--reports", type=Path, metavar="DIR", help="also write copies for publication to DIR/series, and their tables"
    )
    parser.add_argument(
        "--stand-ins",
        type=Path,
        metavar="DIR",
        help="executed copies on drawn faces, whose images replace those of a real dataset (default: build/demo)",
    )
    parser.add_argument("--notebooks", nargs="+", metavar="NN", help="only the notebooks with these numbers")
    parser.add_argument(
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter in every notebook that has it",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(__file__).resolve().parent.parent / "notebooks",
        metavar="DIR",
        help="folder of the notebooks (default: notebooks/)",
    )
    parser.add_argument("--solutions", action="store_true", help="also execute the solutions of the exercises")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Execute the notebooks and return the exit status."""
    arguments = build_parser().parse_args(argv)
    folder = arguments.folder.resolve()
    output = (arguments.output or Path("build") / ("demo" if arguments.size == "demo" else "notebooks")).resolve()
    # Notebooks run in their own folder, so that the path must not be relative.
    data = Path(locate_data(arguments.data)).resolve()
    drawn = describe_source(data).startswith("SYNTHETIC")
    write_line(describe_source(data))
    notebooks = find_notebooks(folder, arguments.notebooks)
    plan = plan_parameters(notebooks, arguments.size, output, dict(arguments.parameter))
    stand_ins = None if drawn else arguments.stand_ins or Path("build") / "demo"
    if arguments.reports and stand_ins:
        # A wrong one ends the series now, not after an hour.
        for notebook in filter(_shows_images, notebooks):
            _read_stand_in(stand_ins / notebook.name)
    started = time.monotonic()
    with _data_variables(data, drawn=drawn):
        for number, notebook in enumerate(notebooks, start=1):
            place = f"[{number}/{len(notebooks)}] {notebook.name}"
            write_line(f"{place} ...")
            begun = time.monotonic()
            execute_notebook(notebook, output / notebook.name, plan[notebook], solutions=arguments.solutions)
            now = time.monotonic()
            write_line(f"{place} done in {_duration(now - begun)} ({_duration(now - started)} in all)")
    write_line(f"executed notebooks: {output}")
    if arguments.reports:
        series = arguments.reports / "series"
        for notebook in notebooks:
            publish(output / notebook.name, series / notebook.name, real=not drawn, stand_ins=stand_ins)
        copy_figures(output / "figures", arguments.reports / "figures")
        for notebook in notebooks:
            publish_tables(notebook, plan[notebook], arguments.reports)
        write_line(f"copies for publication: {arguments.reports}")
    return EXIT_OK


@contextlib.contextmanager
def _data_variables(path: Path, *, drawn: bool) -> Iterator[None]:
    """Name the data in the kernels' environment, which keeps their path out of the executed copies.

    With drawn faces, the other real datasets are not named: copies on drawn faces may be published.
    """
    earlier = dict(os.environ)
    os.environ[ARCHIVE_VARIABLE] = str(path)
    if drawn:
        for name in (EXPW_VARIABLE, VOTES_VARIABLE):
            os.environ.pop(name, None)
    try:
        yield
    finally:
        for name in (ARCHIVE_VARIABLE, EXPW_VARIABLE, VOTES_VARIABLE):
            os.environ.pop(name, None)
            if name in earlier:
                os.environ[name] = earlier[name]


def find_notebooks(folder: Path, numbers: Sequence[str] | None = None) -> list[Path]:
    """Return the notebooks ``NN_*.ipynb`` of `folder` in the order of their numbers.

    Parameters
    ----------
    folder : Path
    numbers : sequence of str, optional
        Only these (``"3"`` means ``"03"``); all by default.

    Raises
    ------
    FerlibError
        The folder has no numbered notebook, or none with a requested number.
    """
    found = sorted(path for path in folder.glob("*.ipynb") if re.match(r"\d\d_", path.name))
    if not found:
        raise FerlibError(f"{folder} has no notebook with a name such as 00_download.ipynb.")
    if numbers is None:
        return found
    wanted = {number.zfill(2) for number in numbers}
    missing = wanted - {path.name[:2] for path in found}
    if missing:
        present = ", ".join(path.name for path in found)
        raise FerlibError(f"--notebooks: expected numbers of {present}, got {', '.join(sorted(missing))}.")
    return [path for path in found if path.name[:2] in wanted]


def plan_parameters(
    notebooks: Sequence[Path], size: str, output: Path, chosen: dict[str, str]
) -> dict[Path, dict[str, Any]]:
    """Return the parameters of each notebook: those of `size`, the folders in `output`, then `chosen`.

    A notebook gets only the parameters that it has. Folders are relative to the notebook, so that an executed copy
    contains no path of this machine.

    Parameters
    ----------
    notebooks : sequence of Path
    size : {"demo", "full"}
    output : Path
    chosen : dict of str to str
        Parameters by name, as text: a Python literal such as ``5`` or ``["angry", "happy"]``, or any other string.

    Raises
    ------
    FerlibError
        A notebook has no cell tagged ``parameters``, or no notebook has a parameter in `chosen`.
    """
    from papermill import inspect_notebook

    logging.getLogger("papermill").setLevel(logging.WARNING)
    plan, known = {}, set()
    for notebook in notebooks:
        names = set(inspect_notebook(notebook))
        if not names:
            raise FerlibError(f"{notebook.name} has no parameters: tag a cell 'parameters'.")
        values = SIZES[size] | {"FIGURES_DIR": _relative_path(notebook, output / "figures")}
        if size == "demo":
            # A demonstration does not change the runs in data/.
            values["RUN_DIR"] = _relative_path(notebook, output / "runs")
        values |= {name: _literal(value) for name, value in chosen.items()}
        plan[notebook] = {name: value for name, value in values.items() if name in names}
        known |= names
    unknown = sorted(chosen.keys() - known)
    if unknown:
        raise FerlibError(f"--parameter: expected one of {', '.join(sorted(known))}, got {', '.join(unknown)}.")
    return plan


def add_solutions(notebook: Path, output: Path) -> Path:
    """Write a copy of a notebook in which the Python blocks of folded solutions are cells too; return its path."""
    import nbformat

    document = nbformat.read(notebook, as_version=4)
    cells = []
    for cell in document.cells:
        cells.append(cell)
        if cell.cell_type == "markdown" and "<details>" in cell.source:
            blocks = re.findall(r"^```python\n(.*?)^```$", cell.source, re.MULTILINE | re.DOTALL)
            cells += [nbformat.v4.new_code_cell(block.strip("\n")) for block in blocks]
    document.cells = cells
    with atomic_write(output) as temporary:
        nbformat.write(document, temporary)
    return output


def execute_notebook(notebook: Path, output: Path, parameters: dict[str, Any], *, solutions: bool = False) -> None:
    """Execute one notebook in its own folder with this interpreter and write it to `output`.

    With `solutions`, the copy also has those of the exercises, executed.

    Raises
    ------
    FerlibError
        A cell failed or the kernel died; `output` then holds the notebook up to that cell.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    _prefer_own_kernel()
    interactive = sys.stderr.isatty()
    # Without encryption, other users of this machine could read the messages; the kernel warns of it.
    encrypted = Config({"KernelManager": {"transport_encryption": "auto"}})
    bar = {"desc": notebook.stem, "mininterval": 0.2 if interactive else 10.0, "dynamic_ncols": interactive}
    try:
        papermill.execute_notebook(
            add_solutions(notebook, output) if solutions else notebook,
            output,
            parameters,
            kernel_name=_KERNEL,
            cwd=notebook.parent,
            progress_bar=bar,
            config=encrypted,
            coalesce_streams=True,  # keeps only the last update of a progress bar
        )
    except papermill.PapermillExecutionError as error:
        line = next((line for line in error.source.splitlines() if line.strip()), "")
        reason = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise FerlibError(
            f"{notebook.name} failed in cell In [{error.exec_count}], which starts with `{line}`: {reason} "
            f"({output} holds the notebook up to there)."
        ) from error
    except DeadKernelError as error:
        raise FerlibError(
            f"The Python that executed {notebook.name} died, often because memory was full "
            f"({output} holds the notebook up to there)."
        ) from error


def publish(executed: Path, published: Path, *, real: bool, stand_ins: Path | None = None) -> None:
    """Write a copy of an executed notebook that may be published.

    It has no progress bars, no times, no random names of tables and no parameters of this machine. In a copy on `real`
    data, the outputs of cells tagged ``images`` are left out, and those of the same cells in `stand_ins` take their
    place: a folder of copies executed on drawn faces.

    Raises
    ------
    FerlibError
        The stand-in was not executed on drawn faces.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    drawn = _read_stand_in(stand_ins / executed.name) if real and stand_ins and _shows_images(executed) else {}
    # Papermill records paths of this machine, and widgets need a script.
    notebook.metadata = nbformat.from_dict({name: notebook.metadata[name] for name in ("kernelspec", "language_info")})
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    n_tables = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            # The copy is one folder deeper than the notebook.
            cell.source = cell.source.replace("](../", "](../../")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type != "code":
            continue
        if real and IMAGES_TAG in tags:
            label = nbformat.v4.new_output("stream", text=STAND_IN)
            cell.outputs = [label, *(out for out in drawn.get(cell.source, []) if out.output_type != "stream")]
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        for out in cell.outputs:
            data = out.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            if table := _STYLED_TABLE.search(html := str(data.get("text/html", ""))):
                n_tables += 1
                data["text/html"] = html.replace(table[1], f"T_{n_tables}")
    with atomic_write(published) as temporary:
        nbformat.write(notebook, temporary)


def _shows_images(path: Path) -> bool:
    """Return whether a notebook has cells tagged ``images``."""
    import nbformat

    return any(IMAGES_TAG in cell.metadata.get("tags", []) for cell in nbformat.read(path, as_version=4).cells)


def _read_stand_in(path: Path) -> dict[str, list[Any]]:
    """Return the outputs of the cells tagged ``images`` in a copy on drawn faces, by source; empty without a copy."""
    import nbformat

    if not path.exists():
        return {}
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = " ".join(
        str(out.get("text", "")) + str(out.get("data", {}).get("text/plain", "")) for c in cells for out in c.outputs
    )
    if "SYNTHETIC" not in shown:
        raise FerlibError(f"{path} was not executed on drawn faces: its images may not be published.")
    return {cell.source: cell.outputs for cell in cells if IMAGES_TAG in cell.metadata.get("tags", [])}


def copy_figures(source: Path, target: Path) -> None:
    """Copy the files of a folder, which may be missing, with its subfolders."""
    for figure in sorted(path for path in source.rglob("*") if path.is_file()):
        with atomic_write(target / figure.relative_to(source)) as temporary:
            shutil.copyfile(figure, temporary)


def publish_tables(notebook: Path, parameters: dict[str, Any], reports: Path) -> None:
    """Copy the tables that a notebook wrote, and the pretrained model's card, to the folder `reports`.

    Parameters
    ----------
    notebook : Path
    parameters : dict
        The notebook's parameters, which locate its folder of runs.
    reports : Path
    """
    data_dir = parameters.get("DATA_DIR") or default_data_dir(notebook.parent)
    run_dir = notebook.parent / (parameters.get("RUN_DIR") or Path(data_dir) / "runs")
    tables = {run_dir / name: published for name, published in TABLES.items()}
    for source, published in {**tables, pretrained_run_dir() / MODEL_CARD: MODEL_CARD}.items():
        if source.exists():
            with atomic_write(reports / published) as temporary:
                shutil.copyfile(source, temporary)


def _prefer_own_kernel() -> None:
    """Make Jupyter find this environment's kernels first."""
    own = str(Path(sys.prefix) / "share" / "jupyter")
    others = [path for path in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if path not in ("", own)]
    os.environ["JUPYTER_PATH"] = os.pathsep.join([own, *others])


def _relative_path(notebook: Path, folder: Path) -> str:
    """Return the path of `folder` relative to the notebook's folder, with forward slashes."""
    return Path(os.path.relpath(folder, notebook.parent)).as_posix()


def _literal(text: str) -> Any:
    """Return the value of a Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _duration(seconds: float) -> str:
    """Return a duration as ``34 s`` or ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


if __name__ == "__main__":
    run(main)
