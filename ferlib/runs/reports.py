"""Recorded results: the tables in the project's folder ``reports``."""

from pathlib import Path

import pandas as pd

from ferlib.core.errors import DataError
from ferlib.data.locate import default_data_dir


def default_reports_dir(here: str | Path | None = None) -> Path:
    """Return the folder ``reports`` of the project that contains a folder, by default the current one."""
    return default_data_dir(here).parent / "reports"


def read_report(name: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Return a CSV file of the folder ``reports``, with its first column as the index.

    Parameters
    ----------
    name : str
        Such as ``"measurements.csv"``.
    folder : path, optional
        `default_reports_dir` by default.

    Raises
    ------
    DataError
        There is no such file, because the notebook is not inside a copy of the project.
    """
    path = Path(folder or default_reports_dir()) / name
    if not path.is_file():
        raise DataError(f"There is no {path}: recorded results are in the folder reports of the project's repository.")
    return pd.read_csv(path, index_col=0)
