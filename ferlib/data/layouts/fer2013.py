"""FER2013's own CSV files, and its published counts."""

from collections.abc import Iterator, Sequence

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions, describe_tree, report_unreadable
from ferlib.data.labels import convert_labels
from ferlib.data.layouts.delimited import is_table, read_header, read_rows
from ferlib.data.layouts.splits import FER2013_USAGES, split_of_name, split_of_usage

#: The published number of images of each usage, in the order of `EMOTIONS`.
FER2013_COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}

_SIDE = 48
_LABEL_COLUMNS, _USAGE_COLUMNS = ("emotion", "label", "emotions", "class"), ("usage", "split", "set")
_USAGES = {usage.lower(): usage for usage in FER2013_USAGES}


def matches(tree: FileTree) -> bool:
    """Return whether there is a CSV file with a column ``pixels``."""
    return _find_csv(tree) is not None


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index ``fer2013.csv``, ``icml_face_data.csv`` or another CSV with columns emotion, pixels and optionally Usage.

    Column names may have spaces around them and any case. The images are gray, of 48 x 48 pixels. Labels are names or
    FER2013's numbers. Without a Usage column all are train. Rows whose pixels cannot be read are left out.

    Raises
    ------
    DataError
        A column is missing, the file is not a CSV, or a label or a usage is unknown.
    """
    name = _find_csv(tree) or ""
    header = read_header(tree, name)
    label = next((column for column in _LABEL_COLUMNS if column in header), None)
    if label is None:
        raise DataError(f"{name} has no column 'emotion'; its columns are {', '.join(header[:20])}.")
    usage = next((column for column in _USAGE_COLUMNS if column in header), None)
    texts, raw_usages, rows, pixels, left_out = _read(tree, name, header, (label, usage))
    usages = [_USAGES.get(text.lower(), text) for text in raw_usages]
    splits = [split_of_value(text, name) for text in usages] if usage else ["train"] * len(texts)
    # The columns are those of FER2013's own files, or the values of its usages are.
    is_own = label == "emotion" or (usage is not None and set(usages) <= set(FER2013_USAGES))
    codes, notes, others = convert_labels(
        texts,
        source=name,
        order=options.label_order,
        proven="fer2013" if is_own else None,
        what="The label",
        skip_unknown=options.skip_unknown,
    )
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, _SIDE, _SIDE, 1)
    kept = np.flatnonzero(codes >= 0)
    numbered = zip(usages if usage else [""] * len(rows), splits, rows, strict=True)
    names = [f"{text or ('train' if usage else 'row')}_{row:07d}" for text, _, row in numbered]
    return ImageIndex(
        names=np.array(names, dtype=str)[kept],
        labels=codes[kept],
        splits=np.array(splits, dtype=str)[kept],
        source_splits=np.array(usages, dtype=str)[kept] if usage else None,
        read=lambda row: images[kept[row]],
        info=describe_tree(tree, title="FER2013", layout="csv"),
        notes=notes if usage else [f"{name} has no Usage column: all images are train.", *notes],
        left_out=left_out + others,
    )


def is_fer2013(labels: np.ndarray, usages: np.ndarray) -> bool:
    """Return whether images are FER2013's by their labels (n,), codes into `EMOTIONS`, and usages (n,), "" for none.

    All have a usage, or the counts per class are the published totals.
    """
    return bool((usages != "").all()) or matches_counts(np.bincount(labels, minlength=len(EMOTIONS)).tolist())


def matches_counts(counts: Sequence[int]) -> bool:
    """Return whether numbers of images per class, in the order of `EMOTIONS`, are those published for all of FER2013.

    Training alone, and Training with PublicTest, count too.
    """
    published = np.cumsum(list(FER2013_COUNTS.values()), axis=0)
    return any(np.array_equal(counts, total) for total in published)


def matches_both_tests(labels: np.ndarray) -> bool:
    """Return whether labels (n,), codes into `EMOTIONS`, have the published counts of both tests together."""
    both = np.add(FER2013_COUNTS["PublicTest"], FER2013_COUNTS["PrivateTest"])
    return np.array_equal(np.bincount(labels, minlength=len(EMOTIONS)), both)


def _find_csv(tree: FileTree) -> str | None:
    """Return the CSV file with a column ``pixels``, preferably one with ``emotion`` and ``Usage`` too, or None."""
    # A single file is a table whatever its name.
    names = tree.names if tree.kind == "file" else [name for name in tree.names if is_table(name)]
    headers = {name: read_header(tree, name) for name in names}
    found = [name for name, header in headers.items() if "pixels" in header]
    found.sort(key=lambda name: ("emotion" not in headers[name], "usage" not in headers[name]))
    return found[0] if found else None


def _read(
    tree: FileTree, name: str, header: list[str], columns: tuple[str, str | None]
) -> tuple[list[str], list[str], list[int], bytearray, list[str]]:
    """Return labels, usages ("" without a column), row numbers and pixels of readable rows, and what was left out."""
    label_at, pixels_at = header.index(columns[0]), header.index("pixels")
    usage_at = None if columns[1] is None else header.index(columns[1])
    texts, usages, rows, pixels, failures = [], [], [], bytearray(), []
    n = 0
    for n, (line, cells) in enumerate(_with_progress(tree, name), start=1):
        try:
            if len(cells) <= max(label_at, pixels_at, usage_at or 0):
                raise DataError(f"{len(cells)} columns, expected {len(header)}.")
            image = parse_pixels(cells[pixels_at])
            text = cells[label_at].strip()
            if not text:
                raise DataError("there is no label.")
        except DataError as error:
            failures.append(f"{name}, line {line}: {error}")
            continue
        texts.append(text)
        usages.append("" if usage_at is None else cells[usage_at].strip())
        rows.append(n - 1)
        pixels += image
    left_out = report_unreadable(failures, n)
    if not texts:
        raise DataError(f"{name} has no images{' that can be read' if n else ''}. {' '.join(left_out)}".strip())
    return texts, usages, rows, pixels, left_out


def _with_progress(tree: FileTree, name: str) -> Iterator[tuple[int, list[str]]]:
    yield from progress_bar(read_rows(tree, name), desc=f"Reading {name}", unit=" rows", delay=1)


def split_of_value(usage: str, name: str) -> str:
    """Return the split that a value of the column Usage means."""
    split = split_of_usage(usage) if usage in FER2013_USAGES else split_of_name(usage)
    if split is None:
        raise DataError(f"{name}: '{usage}' is not a Usage; expected one of {', '.join(FER2013_USAGES)}.")
    return split


def _parse_floats(text: str) -> np.ndarray:
    """Return numbers such as 70.0, which pandas writes for columns with gaps, as integers."""
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not (np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 1e6)).all():
        raise DataError("pixels must be integers separated by spaces.")
    return values.astype(np.int64)


def parse_pixels(text: str) -> bytes:
    """Return the 2,304 gray values in a text of numbers separated by spaces, with or without brackets and commas."""
    # pandas writes lists so.
    text = text.strip().strip("[]").replace(",", " ")
    try:
        # NumPy's text mode (with `sep`) is current; only its binary mode is deprecated.
        values = np.fromstring(text, dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        values = _parse_floats(text)
    if values.size != _SIDE * _SIDE:
        raise DataError(f"{values.size:,} pixels, expected {_SIDE * _SIDE:,} ({_SIDE} x {_SIDE}).")
    if values.min() < 0 or values.max() > 255:
        raise DataError("pixels must be from 0 to 255.")
    return values.astype(np.uint8).tobytes()
