"""Executes the notebooks at small size and reads what they show."""

import subprocess
import sys
from pathlib import Path

import nbformat
import run_notebooks

ROOT = Path(__file__).parents[2]
SMALL = ["--parameter", "SAMPLE_SIZE", "700"]
SHORT = ["--parameter", "EPOCHS", "1"]


def read_text(path: Path) -> str:
    """Return all text outputs of an executed notebook."""
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    return "\n".join(out.get("text", "") + out.get("data", {}).get("text/plain", "") for out in outputs)


def run_series(output: Path, data_dir: Path, *options: str, trains: bool = True) -> Path:
    """Execute notebooks with their data in `data_dir` instead of the project's folder; return `output`.

    Without notebook 03, which `trains`, none has a number of epochs.
    """
    small = [*SMALL, *SHORT] if trains else SMALL
    arguments = ["--output", str(output), "--parameter", "DATA_DIR", str(data_dir), *small, *options]
    assert run_notebooks.main(arguments) == 0
    return output


def run_papermill(folder: Path, name: str, output: Path, parameters: dict[str, str]) -> str:
    """Execute a notebook with the command papermill in `folder`; return its text outputs."""
    words = [word for name_and_value in parameters.items() for word in ("-p", *name_and_value)]
    command = [sys.executable, "-m", "papermill", name, str(output), "-k", "python3", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return read_text(output)
