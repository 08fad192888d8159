"""FER2013's own CSV files, and the counts that were published with it."""

import csv
import io

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.emotions import EMOTIONS, parse_emotion
from ferlib.core.errors import DataError
from ferlib.data.archive import FileTree
from ferlib.data.dataset import USAGES
from ferlib.data.index import ImageIndex

#: The published number of images of each part, in the order of `EMOTIONS`.
FER2013_COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}

_SIDE = 48
_HEADER_BYTES = 4096


def split_of_usage(usage: str) -> str:
    """Return the split that one of FER2013's parts belongs to: ``"train"`` or ``"test"``."""
    return "train" if usage == "Training" else "test"


def find_csv(tree: FileTree) -> str | None:
    """Return the name of the file that holds images as ``pixels``, one with a ``Usage`` first; None if none does."""
    headers = {name: _read_header(tree, name) for name in tree.names if name.lower().endswith(".csv")}
    found = [name for name, header in headers.items() if "pixels" in header]
    return min(
        found, key=lambda name: ("emotion" not in headers[name], "usage" not in headers[name], name), default=None
    )


def list_csv(tree: FileTree, name: str) -> ImageIndex:
    """Read ``fer2013.csv``, ``icml_face_data.csv`` or another file with the columns emotion, pixels and, maybe, Usage.

    Parameters
    ----------
    tree : FileTree
    name : str
        The file within `tree`; its header may have blanks and any case.

    Returns
    -------
    ImageIndex
        Gray images of 48 x 48 pixels; without a Usage column all are train.

    Raises
    ------
    DataError
        A column is missing, the file is cut short, or a line does not hold what it should; the message names the line.
    """
    pixels, usages, labels = bytearray(), [], []
    try:
        with tree.open(name) as stream:
            lines = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
            columns = _find_columns(name, next(lines, []))
            for cells in progress_bar(lines, desc=f"Reading {name}", unit=" rows", delay=1):
                if not cells:
                    continue
                try:
                    label, usage, image = _parse_line(cells, columns)
                except DataError as error:
                    raise DataError(f"{name}, line {lines.line_num}: {error}") from None
                labels.append(EMOTIONS.index(label))
                usages.append(usage)
                pixels += image
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read as a CSV ({error}).") from error
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, _SIDE, _SIDE, 1)
    notes = [] if "usage" in columns else [f"{name} has no Usage column: all its images are train."]
    return ImageIndex(
        names=np.array([f"{usage or 'row'}_{row:07d}" for row, usage in enumerate(usages)], dtype=str),
        labels=np.array(labels, dtype=np.int64),
        splits=np.array([split_of_usage(usage or "Training") for usage in usages], dtype=str),
        usages=np.array(usages, dtype=str),
        read=images.__getitem__,
        title="FER2013",
        layout="csv",
        notes=notes,
    )


def is_fer2013(labels: np.ndarray, usages: np.ndarray) -> bool:
    """Return whether images are FER2013's: they carry its parts' names, or their counts per class are its own.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Codes into `EMOTIONS`.
    usages : ndarray of shape (n,), dtype str
    """
    totals = np.sum(list(FER2013_COUNTS.values()), axis=0)
    return bool((usages != "").all() or np.array_equal(np.bincount(labels, minlength=len(EMOTIONS)), totals))


def _read_header(tree: FileTree, name: str) -> list[str]:
    """Return the column names of a CSV, in lower case and without blanks around them."""
    with tree.open(name) as stream:
        line = stream.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    return [cell.strip(' \t\r\n"').lower() for cell in line.split(",")]


def _find_columns(name: str, header: list[str]) -> dict[str, int]:
    """Return the position of each column that matters."""
    columns = {cell.strip().lower(): position for position, cell in enumerate(header)}
    missing = [column for column in ("emotion", "pixels") if column not in columns]
    if missing:
        raise DataError(f"{name} has no column '{missing[0]}'; its columns are {', '.join(header) or 'none'}.")
    return {column: columns[column] for column in ("emotion", "pixels", "usage") if column in columns}


def _parse_line(cells: list[str], columns: dict[str, int]) -> tuple[str, str, bytes]:
    """Return a line's emotion, usage ("" without that column) and pixels."""
    if len(cells) <= max(columns.values()):
        raise DataError(f"{len(cells)} columns, expected at least {max(columns.values()) + 1}.")
    usage = cells[columns["usage"]].strip() if "usage" in columns else ""
    if "usage" in columns and usage not in USAGES:
        raise DataError(f"'{usage}' is no Usage; expected {', '.join(USAGES)}.")
    return parse_emotion(cells[columns["emotion"]]), usage, _parse_pixels(cells[columns["pixels"]])


def _parse_pixels(text: str) -> bytes:
    """Return the 2,304 gray values that a text lists, parted by blanks."""
    try:
        # NumPy's text mode (a `sep`) is current; only its binary mode is deprecated.
        values = np.fromstring(text, dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        raise DataError("the pixels are not whole numbers parted by blanks.") from None
    if values.size != _SIDE * _SIDE:
        raise DataError(f"{values.size:,} pixels, expected {_SIDE * _SIDE:,} ({_SIDE} x {_SIDE}).")
    if values.min() < 0 or values.max() > 255:
        raise DataError("a pixel is outside 0 to 255.")
    return values.astype(np.uint8).tobytes()
