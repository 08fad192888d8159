"""Decide which data a notebook or a command works on, and say which it is."""

import os
from pathlib import Path

from ferlib.core.errors import DataError
from ferlib.data.archive import open_tree
from ferlib.data.kaggle import DEFAULT_DATASET, dataset_path, fetch_dataset, has_credentials

#: The environment variable that names an archive, a folder or a CSV file of FER2013.
ARCHIVE_VARIABLE = "FER2013_ARCHIVE"

#: The environment variable that names a zip or folder of ExpW.
EXPW_VARIABLE = "EXPW_ARCHIVE"

#: The file in an archive of drawn faces that tells that they are drawn.
SYNTHETIC_NOTE = "SYNTHETIC.txt"


def default_data_dir(here: str | Path | None = None) -> Path:
    """Return the folder ``data`` of the project that a folder lies in, else of the current folder.

    The project is the nearest folder, upwards from `here` (the current folder when None), that holds a ``Pipfile``.
    """
    here = Path(here).resolve() if here else Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "Pipfile").is_file():
            return folder / "data"
    return Path("data")


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a raw data file is: ``fer2013.manifest.json`` beside ``fer2013.zip``."""
    return path.with_suffix(".manifest.json")


def locate_data(
    data: str | Path | None = None, *, data_dir: str | Path | None = None, allow_download: bool = True
) -> Path:
    """Return the path of the data to work on, making it available first where need be.

    In this order: `data`; the environment variable ``FER2013_ARCHIVE``; what ``python -m ferlib.download`` put last
    into ``data_dir/raw``; Kaggle's FER2013, if credentials are present; a sample of synthetic faces, which is drawn
    into ``data_dir/raw/synthetic.zip``.

    Parameters
    ----------
    data : str, Path or None
        A zip, a folder, a CSV or an NPZ file; None or an empty string leaves the choice to the order above.
    data_dir : str, Path or None
        None means `default_data_dir`.
    allow_download : bool
        Whether Kaggle may be asked.

    Returns
    -------
    Path
        An existing zip, folder or file; `describe_source` says what it is.

    Raises
    ------
    DataError
        `data`, or what ``FER2013_ARCHIVE`` names, does not exist.
    DownloadError
        Kaggle's credentials are present but the download failed.
    """
    named, origin = (data, "") if data else (os.environ.get(ARCHIVE_VARIABLE), f"{ARCHIVE_VARIABLE} names ")
    if named:
        path = Path(named).expanduser()
        if not path.exists():
            raise DataError(f"{origin}{path}: there is no such file or folder.")
        return path
    data_dir = Path(data_dir) if data_dir else default_data_dir()
    latest = _latest_raw(data_dir)
    if latest is not None:
        return latest
    if allow_download and has_credentials():
        return fetch_dataset(data_dir=data_dir)
    return synthetic_sample(data_dir)


def locate_expw(data: str | Path | None = None) -> Path | None:
    """Return the path of ExpW's zip or folder: `data`, or what ``EXPW_ARCHIVE`` names, or None if neither is set.

    Raises
    ------
    DataError
        What is named does not exist.
    """
    named = data or os.environ.get(EXPW_VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder.")
    return path


def synthetic_sample(data_dir: str | Path, *, force: bool = False) -> Path:
    """Return the zip of synthetic faces in ``data_dir/raw``, which is drawn if it is not there or `force` is set."""
    # The drawing needs OpenCV, which nothing else here does.
    from ferlib.synthetic.generate import write_synthetic

    path = Path(data_dir) / "raw" / "synthetic.zip"
    return path if path.is_file() and not force else write_synthetic(path)


def describe_source(path: str | Path) -> str:
    """Return one sentence that says which data a path holds; it begins with SYNTHETIC where faces are drawn.

    Raises
    ------
    DataError
        The path is missing or holds no data set.
    """
    with open_tree(path) as tree:
        count = f"{len(tree.names):,} file{'s' if len(tree.names) > 1 else ''}"
        if is_synthetic(tree.names):
            return f"SYNTHETIC faces, drawn by ferlib and not photographed: {tree.path.name} ({tree.kind}, {count})."
        return f"Data of {tree.path.name} ({tree.kind}, {count})."


def is_synthetic(names: tuple[str, ...]) -> bool:
    """Return whether the names of a data set's files hold the note that marks drawn faces."""
    return any(name.split("/")[-1] == SYNTHETIC_NOTE for name in names)


def _latest_raw(data_dir: Path) -> Path | None:
    """Return the file that came last into ``raw`` by `python -m ferlib.download`, or from Kaggle by `locate_data`."""
    manifests = (data_dir / "raw").glob("*.manifest.json")
    names = [manifest.name.removesuffix(".manifest.json") for manifest in manifests]
    files = {data_dir / "raw" / f"{name}{suffix}" for name in names for suffix in (".zip", ".csv")}
    files.add(dataset_path(DEFAULT_DATASET, data_dir))
    return max(filter(Path.is_file, files), key=_arrival, default=None)


def _arrival(file: Path) -> tuple[int, str]:
    """Return a key to sort raw files by the time when they, or their manifests, were written."""
    newest = max(part.stat().st_mtime_ns for part in (file, manifest_path(file)) if part.is_file())
    return newest, file.name
