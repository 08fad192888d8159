"""FER2013's own CSV files, and its published counts."""

import csv
import io

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.emotions import EMOTIONS, parse_emotion
from ferlib.core.errors import DataError
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, describe_tree

#: FER2013's own names of its splits, the values of the column ``Usage``.
FER2013_USAGES = ("Training", "PublicTest", "PrivateTest")

#: The published number of images of each usage, in the order of `EMOTIONS`.
FER2013_COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}

_SIDE = 48
_HEADER_BYTES = 4096


def split_of_usage(usage: str) -> str:
    """Return the split of one of FER2013's usages: ``"train"`` or ``"test"``."""
    return "train" if usage == "Training" else "test"


def matches(tree: FileTree) -> bool:
    """Return whether there is a CSV file with a column ``pixels``."""
    return _find_csv(tree) is not None


def index_images(tree: FileTree, *, crop_margin: float, skip_unknown: bool) -> ImageIndex:  # noqa: ARG001
    """Index ``fer2013.csv``, ``icml_face_data.csv`` or another CSV with columns emotion, pixels and optionally Usage.

    Column names may have spaces around them and any case. The images are gray, of 48 x 48 pixels. Without a Usage
    column all are train. Raises DataError if a column is missing, the file is truncated, or a line cannot be parsed
    (the message names it).
    """
    name = _find_csv(tree) or ""
    header = _read_header(tree, name)
    if "emotion" not in header:
        raise DataError(f"{name} has no column 'emotion'; its columns are {', '.join(header)}.")
    columns = {column: header.index(column) for column in header if column in ("emotion", "pixels", "usage")}
    pixels, usages, labels = bytearray(), [], []
    try:
        with tree.open(name) as stream:
            lines = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
            next(lines)
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
    return ImageIndex(
        names=np.array([f"{usage or 'row'}_{row:07d}" for row, usage in enumerate(usages)], dtype=str),
        labels=np.array(labels, dtype=np.int64),
        splits=np.array([split_of_usage(usage or "Training") for usage in usages], dtype=str),
        source_splits=np.array(usages, dtype=str) if "usage" in columns else None,
        read=images.__getitem__,
        info=describe_tree(tree, title="FER2013", layout="csv"),
        notes=[] if "usage" in columns else [f"{name} has no Usage column: all images are train."],
    )


def is_fer2013(labels: np.ndarray, usages: np.ndarray) -> bool:
    """Return whether images are FER2013's by their labels (n,), codes into `EMOTIONS`, and usages (n,), "" for none.

    All have a usage, or the counts per class are the published totals.
    """
    totals = np.sum(list(FER2013_COUNTS.values()), axis=0)
    return bool((usages != "").all() or np.array_equal(np.bincount(labels, minlength=len(EMOTIONS)), totals))


def _find_csv(tree: FileTree) -> str | None:
    """Return the CSV file with a column ``pixels``, preferably one with ``emotion`` and ``Usage`` too, or None."""
    headers = {name: _read_header(tree, name) for name in tree.names if name.lower().endswith(".csv")}
    found = [name for name, header in headers.items() if "pixels" in header]
    found.sort(key=lambda name: ("emotion" not in headers[name], "usage" not in headers[name]))
    return found[0] if found else None


def _read_header(tree: FileTree, name: str) -> list[str]:
    """Return the column names of a CSV, in lower case and without spaces around them."""
    with tree.open(name) as stream:
        line = stream.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    return [cell.strip(' \t\r\n"').lower() for cell in line.split(",")]


def _parse_line(cells: list[str], columns: dict[str, int]) -> tuple[str, str, bytes]:
    """Return the emotion, usage ("" without that column) and pixels of a line."""
    if len(cells) <= max(columns.values()):
        raise DataError(f"{len(cells)} columns, expected at least {max(columns.values()) + 1}.")
    usage = cells[columns["usage"]].strip() if "usage" in columns else ""
    if "usage" in columns and usage not in FER2013_USAGES:
        raise DataError(f"'{usage}' is not a Usage; expected one of {', '.join(FER2013_USAGES)}.")
    return parse_emotion(cells[columns["emotion"]]), usage, _parse_pixels(cells[columns["pixels"]])


def _parse_pixels(text: str) -> bytes:
    """Return the 2,304 gray values in a text of numbers separated by spaces."""
    try:
        # NumPy's text mode (with `sep`) is current; only its binary mode is deprecated.
        values = np.fromstring(text, dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        raise DataError("pixels must be integers separated by spaces.") from None
    if values.size != _SIDE * _SIDE:
        raise DataError(f"{values.size:,} pixels, expected {_SIDE * _SIDE:,} ({_SIDE} x {_SIDE}).")
    if values.min() < 0 or values.max() > 255:
        raise DataError("pixels must be from 0 to 255.")
    return values.astype(np.uint8).tobytes()
