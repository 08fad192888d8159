"""Choose the data that a notebook or a command works on."""

import os
from pathlib import Path

from ferlib.core.errors import DataError
from ferlib.data.archive import open_tree
from ferlib.data.kaggle import DEFAULT_DATASET, dataset_path, fetch_dataset, has_credentials
from ferlib.synthetic import is_synthetic

#: The environment variable with the path of FER2013: a zip, a folder or a CSV file.
ARCHIVE_VARIABLE = "FER2013_ARCHIVE"

#: The environment variable with the path of ExpW: a zip or a folder.
EXPW_VARIABLE = "EXPW_ARCHIVE"


def default_data_dir(here: str | Path | None = None) -> Path:
    """Return the folder ``data`` of the project that contains a folder, or else of the current folder.

    The project is the nearest folder, upwards from `here` (the current folder by default), with a ``Pipfile``.
    """
    here = Path(here).resolve() if here else Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "Pipfile").is_file():
            return folder / "data"
    return Path("data")


def manifest_path(path: Path) -> Path:
    """Return the path of the manifest of a raw data file: ``fer2013.manifest.json`` for ``fer2013.zip``."""
    return path.with_suffix(".manifest.json")


def locate_data(
    data: str | Path | None = None, *, data_dir: str | Path | None = None, allow_download: bool = True
) -> Path:
    """Return the path of the data to work on, after downloading or drawing them if necessary.

    The first of these that exists: `data`, if it is not empty; the path in the environment variable
    ``FER2013_ARCHIVE``; what ``ferlib download`` put last into ``data_dir/raw``; FER2013 from Kaggle, if there are
    credentials and `allow_download` is set; drawn faces, which are written to ``data_dir/raw/synthetic.zip``.

    Raises DataError if a given path does not exist, and DownloadError if there are Kaggle credentials, but the download
    fails.
    """
    if named := _existing(data, ARCHIVE_VARIABLE):
        return named
    data_dir = Path(data_dir) if data_dir else default_data_dir()
    latest = _latest_raw(data_dir)
    if latest is not None:
        return latest
    if allow_download and has_credentials():
        return fetch_dataset(data_dir=data_dir)
    return synthetic_sample(data_dir)


def locate_expw(data: str | Path | None = None) -> Path | None:
    """Return the path of ExpW: `data`, or the path in ``EXPW_ARCHIVE``, or None; raise DataError if it is missing."""
    return _existing(data, EXPW_VARIABLE)


def synthetic_sample(data_dir: str | Path, *, force: bool = False) -> Path:
    """Return the zip of drawn faces in ``data_dir/raw``; draw them if it does not exist or `force` is set."""
    # Drawing needs OpenCV, which nothing else here does.
    from ferlib.synthetic.generate import write_synthetic

    path = Path(data_dir) / "raw" / "synthetic.zip"
    return path if path.is_file() and not force else write_synthetic(path)


def describe_source(path: str | Path) -> str:
    """Return one sentence on the data at a path, starting with SYNTHETIC if the faces are drawn."""
    with open_tree(path) as tree:
        count = f"{len(tree.names):,} file{'s' if len(tree.names) > 1 else ''}"
        if is_synthetic(tree.names):
            return f"SYNTHETIC faces, drawn by ferlib and not photographed: {tree.path.name} ({tree.kind}, {count})."
        return f"Data of {tree.path.name} ({tree.kind}, {count})."


def _existing(path: str | Path | None, variable: str) -> Path | None:
    """Return `path`, or the path in an environment variable, or None; raise if it does not exist."""
    named, origin = (path, "") if path else (os.environ.get(variable), f"{variable}: ")
    if not named:
        return None
    found = Path(named).expanduser()
    if not found.exists():
        raise DataError(f"{origin}{found}: no such file or folder.")
    return found


def _latest_raw(data_dir: Path) -> Path | None:
    """Return the newest file in ``raw`` that `ferlib download`, or `locate_data` from Kaggle, put there."""
    manifests = (data_dir / "raw").glob("*.manifest.json")
    names = [manifest.name.removesuffix(".manifest.json") for manifest in manifests]
    files = {data_dir / "raw" / f"{name}{suffix}" for name in names for suffix in (".zip", ".csv", ".parquet")}
    files.add(dataset_path(DEFAULT_DATASET, data_dir))

    def last_written(file: Path) -> tuple[int, str]:
        return max(part.stat().st_mtime_ns for part in (file, manifest_path(file)) if part.is_file()), file.name

    return max(filter(Path.is_file, files), key=last_written, default=None)
