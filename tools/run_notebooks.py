"""Execute the series of notebooks, one after the other, and keep the executed copies."""

import argparse
import ast
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write, write_text
from ferlib.data.locate import default_data_dir, describe_source, locate_data
from ferlib.runs.folder import MODEL_CARD, pretrained_run_dir

#: The notebooks' parameters that each size sets; a notebook is given those that it has.
SIZES: dict[str, dict[str, Any]] = {
    "demo": {"SAMPLE_SIZE": 2100, "EPOCHS": 12},
    "full": {},
}

#: The tag of cells that show images of the data set, whose outputs are not published.
IMAGES_TAG = "images"

#: The tables that notebooks leave beside the runs, and what they are called in the reports.
TABLES = {"evaluation.csv": "results.csv", "errors.csv": "errors.csv"}

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
    parser.add_argument("--size", choices=sorted(SIZES), default="demo", help="how much data and training (demo)")
    parser.add_argument("--data", type=Path, metavar="PATH", help="a zip, folder or CSV (what is at hand)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the executed copies (build/demo or build/series)")
    parser.add_argument("--reports", type=Path, metavar="DIR", help="also write copies fit to publish, as HTML")
    parser.add_argument("--notebooks", nargs="+", metavar="NN", help="only those of these numbers")
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
        help="the folder of the notebooks (the project's own)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Execute the notebooks and return the exit status."""
    arguments = build_parser().parse_args(argv)
    folder = arguments.folder.resolve()
    output = (arguments.output or Path("build") / ("demo" if arguments.size == "demo" else "series")).resolve()
    # Notebooks run in their own folder: what was named from here must still be found from there.
    data = Path(locate_data(arguments.data)).resolve()
    _say(describe_source(data))
    os.environ["FER2013_ARCHIVE"] = str(data)

    notebooks = find_notebooks(folder, arguments.notebooks)
    plan = plan_parameters(notebooks, arguments.size, output, dict(arguments.parameter))
    started = time.monotonic()
    for number, notebook in enumerate(notebooks, start=1):
        place = f"[{number}/{len(notebooks)}] {notebook.name}"
        _say(f"{place} ...")
        begun = time.monotonic()
        execute_notebook(notebook, output / notebook.name, plan[notebook])
        now = time.monotonic()
        _say(f"{place} done in {_duration(now - begun)} ({_duration(now - started)} in all)")
    _say(f"executed notebooks: {output}")
    if arguments.reports:
        real = not describe_source(data).startswith("SYNTHETIC")
        executed = [output / notebook.name for notebook in notebooks]
        publish(executed, output / "figures", arguments.reports, drop_images=real)
        for notebook in notebooks:
            publish_tables(notebook, plan[notebook], arguments.reports)
        _say(f"copies to publish: {arguments.reports}")
    return EXIT_OK


def find_notebooks(folder: Path, numbers: Sequence[str] | None = None) -> list[Path]:
    """Return the notebooks ``NN_*.ipynb`` of `folder` in the order of their numbers.

    Parameters
    ----------
    folder : Path
    numbers : sequence of str, optional
        Only these, ``"3"`` being ``"03"``; all by default.

    Raises
    ------
    FerlibError
        The folder holds no numbered notebook, or none of a number that was asked for.
    """
    found = sorted(path for path in folder.glob("*.ipynb") if re.match(r"\d\d_", path.name))
    if not found:
        raise FerlibError(f"{folder} holds no notebook with a name such as 00_download.ipynb.")
    if numbers is None:
        return found
    wanted = {number.zfill(2) for number in numbers}
    missing = wanted - {path.name[:2] for path in found}
    if missing:
        present = ", ".join(path.name for path in found)
        raise FerlibError(f"There is no notebook {', '.join(sorted(missing))}; there are {present}.")
    return [path for path in found if path.name[:2] in wanted]


def plan_parameters(
    notebooks: Sequence[Path], size: str, output: Path, chosen: dict[str, str]
) -> dict[Path, dict[str, Any]]:
    """Return what each notebook is to be given: the values of `size`, the folders of `output`, then `chosen`.

    A notebook is given only the parameters that it has. Folders are written as seen from the notebook, so that
    an executed copy holds no path of this machine.

    Parameters
    ----------
    notebooks : sequence of Path
    size : {"demo", "full"}
    output : Path
    chosen : dict of str to str
        A person's own choices as text: a Python literal such as ``5`` or ``["angry", "happy"]``, or else a string.

    Raises
    ------
    FerlibError
        A notebook has no cell tagged ``parameters``, or a name in `chosen` is a parameter of none.
    """
    from papermill import inspect_notebook

    logging.getLogger("papermill").setLevel(logging.WARNING)
    plan, known = {}, set()
    for notebook in notebooks:
        names = set(inspect_notebook(notebook))
        if not names:
            raise FerlibError(f"{notebook.name} has no parameters: no cell of it is tagged 'parameters'.")
        values = SIZES[size] | {"FIGURES_DIR": _seen_from(notebook, output / "figures")}
        if size == "demo":
            # A demonstration leaves the runs in data/ as they are.
            values["RUN_DIR"] = _seen_from(notebook, output / "runs")
        values |= {name: _literal(value) for name, value in chosen.items()}
        plan[notebook] = {name: value for name, value in values.items() if name in names}
        known |= names
    unknown = sorted(chosen.keys() - known)
    if unknown:
        raise FerlibError(
            f"No notebook has a parameter {', '.join(unknown)}; the names they have are {', '.join(sorted(known))}."
        )
    return plan


def execute_notebook(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Execute one notebook in its own folder, on this interpreter, into the file `output`.

    Raises
    ------
    FerlibError
        A cell failed or the kernel died; `output` then holds the notebook as far as it came.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    _prefer_own_kernel()
    interactive = sys.stderr.isatty()
    # Other people of this machine must not read along; the kernel warns when they could.
    encrypted = Config({"KernelManager": {"transport_encryption": "auto"}})
    bar = {"desc": notebook.stem, "mininterval": 0.2 if interactive else 10.0, "dynamic_ncols": interactive}
    try:
        papermill.execute_notebook(
            notebook,
            output,
            parameters,
            kernel_name=_KERNEL,
            cwd=notebook.parent,
            progress_bar=bar,
            config=encrypted,
            coalesce_streams=True,  # a progress bar's updates leave only the last
        )
    except papermill.PapermillExecutionError as error:
        line = next((line for line in error.source.splitlines() if line.strip()), "")
        reason = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise FerlibError(
            f"{notebook.name} failed in cell In [{error.exec_count}], which begins `{line}`, with {reason} "
            f"({output} holds the notebook up to there)."
        ) from error
    except DeadKernelError as error:
        raise FerlibError(
            f"The Python that executed {notebook.name} died, often for want of memory "
            f"({output} holds the notebook up to there)."
        ) from error


def publish(executed: Sequence[Path], figures: Path, reports: Path, *, drop_images: bool) -> None:
    """Write copies of executed notebooks as HTML, and of their figures, into the folder `reports`.

    Parameters
    ----------
    executed : sequence of Path
    figures : Path
        The folder of the notebooks' figures, copied to ``reports/figures``; may be missing.
    reports : Path
    drop_images : bool
        Leave out the outputs of cells tagged ``images``, because they show images that are not ours to publish.
    """
    import nbformat
    from nbconvert import HTMLExporter

    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        # Without their state, progress bars are left out, and the page loads no script to draw them.
        notebook.metadata.pop("widgets", None)
        if drop_images:
            for cell in notebook.cells:
                if cell.cell_type == "code" and IMAGES_TAG in cell.metadata.get("tags", []):
                    cell.outputs = [nbformat.v4.new_output("stream", text="(images of the data set: not published)\n")]
        html, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": path.stem}})
        write_text(reports / f"{path.stem}.html", html)
    for figure in sorted(path for path in figures.rglob("*") if path.is_file()):
        with atomic_write(reports / "figures" / figure.relative_to(figures)) as temporary:
            shutil.copyfile(figure, temporary)


def publish_tables(notebook: Path, parameters: dict[str, Any], reports: Path) -> None:
    """Copy into the folder `reports` what a notebook left beside the runs, and the delivered model's card.

    Parameters
    ----------
    notebook : Path
    parameters : dict
        What it was given; its folder of runs is looked for as the notebook does.
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
    """Let Jupyter find this environment's kernels before those of any other."""
    own = str(Path(sys.prefix) / "share" / "jupyter")
    others = [path for path in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if path not in ("", own)]
    os.environ["JUPYTER_PATH"] = os.pathsep.join([own, *others])


def _seen_from(notebook: Path, folder: Path) -> str:
    """Return the path of `folder` relative to the notebook's own, with forward slashes."""
    return Path(os.path.relpath(folder, notebook.parent)).as_posix()


def _literal(text: str) -> Any:
    """Return the Python literal that a text spells, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _duration(seconds: float) -> str:
    """Return a duration as ``34 s`` or ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _say(text: str) -> None:
    """Write one line to standard output at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main)
