"""Parquet files with a column of images and one of labels, as Hugging Face exports datasets."""

import bisect
import contextlib
import itertools
import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ferlib.core.color_depth import scale_to_uint8
from ferlib.core.decoding import decode_image
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArchiveError, DataError, ImageError
from ferlib.core.words import counted
from ferlib.data.archive import MAX_FILES, MAX_RATIO, RATIO_FREE_BYTES, FileTree
from ferlib.data.index import ImageIndex, ReadOptions, describe_tree
from ferlib.data.labels import convert_labels
from ferlib.data.layouts.fer2013 import FER2013_USAGES, is_fer2013, matches_counts, parse_pixels, split_of_value
from ferlib.data.layouts.folders import settle_test
from ferlib.data.layouts.splits import chosen_split, split_of_name, split_of_usage, usage_of_name
from ferlib.data.layouts.tables import IMAGE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS

_MAGIC = b"PAR1"

# The size of a group of rows, and of the images that are decoded from it at once, of which each may be as large as the
# group. Texts are kept as a dictionary, so that a long one that is repeated is in memory once.
_MAX_GROUP_BYTES, _BATCH_BYTES = 1 << 30, 256 << 20

_MAX_LABEL = 100
_USAGES = {usage.lower(): usage for usage in FER2013_USAGES}


@dataclass(frozen=True)
class _Row:
    """Where an image is, what the file calls it, and its label, split and FER2013 usage ("" for none)."""

    file: str
    number: int
    path: str
    label: str
    split: str
    usage: str


def matches(tree: FileTree) -> bool:
    """Return whether there is a Parquet file."""
    return bool(_find_files(tree))


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index the rows of Parquet files, ``train-00000-of-00002.parquet`` for example.

    Images are encoded files, in a column of bytes or with the field ``bytes`` as Hugging Face stores them, or gray
    values. Labels are names, or numbers whose names are in the metadata of the file; other numbers need a label order.
    A column such as ``split`` gives the split, else the name of the file or of a folder.

    Raises
    ------
    DataError
        pyarrow is not installed, a file is damaged, a column is missing, the numbers have no known meaning, or the
        split of a file is unknown.
    """
    _import_pyarrow(tree.path)
    files = _find_files(tree)
    splits, notes = _splits_of_files(tree, files, options)
    files = [name for name in files if splits[name] != "none"]
    readers = {name: _Reader(tree, name) for name in files}
    rows: list[_Row] = []
    unlabeled = 0
    for name, reader in readers.items():
        own = "" if options.split_folders else _usage_of_name(name)
        reader.open()
        for number, (label, value, path) in enumerate(reader.read_labels()):
            if label is None:
                unlabeled += 1
                continue
            usage = _USAGES.get(value.lower(), "") if value else own or usage_of_name(path)
            by_usage = split_of_usage(usage) if usage else "train"
            split = split_of_value(value, name) if value else splits[name] or by_usage
            rows.append(_Row(name, number, path, label, split, usage))
        reader.close()
    if not rows:
        raise DataError(f"{tree.path} has no labeled images.")
    texts = [row.label for row in rows]
    codes, label_notes, others = convert_labels(
        texts,
        source=str(tree.path),
        order=options.label_order,
        proven=_proven_order(texts, readers),
        what="The label",
        skip_unknown=options.skip_unknown,
    )
    left_out = [f"Left out: {counted(unlabeled, 'image')} without a label."] if unlabeled else []
    kept = [row for row, code in zip(rows, codes, strict=True) if code >= 0]
    codes = codes[codes >= 0]
    usages = np.array([row.usage for row in kept], dtype=str)
    title = "FER2013" if is_fer2013(codes, usages) else "table"
    current = ""

    def read(row: int) -> np.ndarray:
        nonlocal current
        image = kept[row]
        if current and current != image.file:  # a process may open fewer files than there are
            readers[current].close()
        current = image.file
        return readers[current].read_image(image.number)

    return ImageIndex(
        names=_name_rows(kept),
        labels=codes,
        splits=settle_test([row.split for row in kept], notes),
        source_splits=usages if usages.any() else None,
        read=read,
        info=describe_tree(tree, title=title, layout="parquet"),
        notes=[*notes, *label_notes],
        left_out=[*left_out, *others],
    )


def _find_files(tree: FileTree) -> list[str]:
    """Return the Parquet files: by suffix, and a single file by its content."""
    if tree.kind == "file":
        with tree.open(tree.names[0]) as stream:
            return list(tree.names) if stream.read(len(_MAGIC)) == _MAGIC else []
    return [name for name in tree.names if name.lower().endswith((".parquet", ".pq"))]


def _import_pyarrow(source: object) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError:
        raise DataError(f"{source} has Parquet files, which need pyarrow: pip install pyarrow.") from None


def _splits_of_files(tree: FileTree, files: Sequence[str], options: ReadOptions) -> tuple[dict[str, str], list[str]]:
    """Return the split of each file ("none" to leave it out, "" if unknown), and notes; raise if only some have one."""
    splits: dict[str, str] = {}
    for name in files:
        parts = (*posixpath.dirname(name).split("/"), posixpath.basename(name))
        parts = tuple(part for part in parts if part)
        found = chosen_split(parts, options.split_folders)
        splits[name] = found or next((split for part in reversed(parts) if (split := split_of_name(part))), "")
    unknown = [name for name in files if not splits[name]]
    # Files of one table differ in numbers only.
    tables = {re.sub(r"\d+", "0", posixpath.basename(name)) for name in unknown}
    if unknown and (len(unknown) < len(files) or len(tables) > 1):
        raise DataError(
            f"{tree.path}: the name '{unknown[0]}' does not say which split it is; name it with --split-folder, such "
            f"as --split-folder '{posixpath.basename(unknown[0])}=train' (train, val, test, or none to leave it out)."
        )
    return splits, ["No file names a split: images without one are train."] if unknown else []


def _usage_of_name(name: str) -> str:
    """Return the FER2013 usage that the name of a file begins with, in any case, or ""."""
    return _USAGES.get(re.split(r"[^a-z]", posixpath.basename(name).lower())[0], "")


def _proven_order(texts: Sequence[str], readers: "Mapping[str, _Reader]") -> str | None:
    """Return FER2013 where the columns are its own, or the counts of all numbers are the published ones."""
    if all(reader.is_fer2013 for reader in readers.values()):
        return "fer2013"
    counts = Counter(texts)
    return "fer2013" if matches_counts([counts[str(code)] for code in range(len(EMOTIONS))]) else None


def _name_rows(rows: Sequence[_Row]) -> np.ndarray:
    """Return a name for each row, by the path that the file gives the image if these paths are unique."""
    paths = [f"{row.file}/{row.path}" for row in rows]
    if len(set(paths)) < len(paths) or not all(row.path for row in rows):
        paths = [f"{row.file}#{row.number}" for row in rows]
    return np.array(paths, dtype=str)


class _Reader:
    """Reads one Parquet file in small parts."""

    def __init__(self, tree: FileTree, name: str) -> None:
        self._tree, self._name = tree, name
        self._where = f"{tree.path}: '{name}'" if tree.kind != "file" else str(tree.path)
        self._stream: IO[bytes] | None = None
        # The group of rows that is read, its next parts, the last part with its first row, and groups that are damaged.
        self._group = -1
        self._batches: Iterator[tuple[int, Any]] = iter(())
        self._batch: tuple[int, Any] = (0, [])
        self._damaged: set[int] = set()
        self._n_bytes = 0

    def open(self) -> None:
        """Open the file and choose its columns."""
        import pyarrow.parquet

        with self._damage():
            self._stream = self._tree.open_seekable(self._name)
            self._file = pyarrow.parquet.ParquetFile(self._stream)
            self._schema = self._file.schema_arrow
            texts = [name for name, kind in self._leaves() if str(kind) in ("string", "large_string")]
            self._file = pyarrow.parquet.ParquetFile(self._stream, read_dictionary=texts)
            metadata = self._file.metadata
            n_rows = metadata.num_rows
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if n_rows > MAX_FILES:
            raise ArchiveError(f"{self._where} has {n_rows:,} rows, over the limit of {MAX_FILES:,}.")
        self._group_starts = [0, *itertools.accumulate(sizes)][:-1]
        columns = {column.strip().lower(): column for column in self._schema.names}
        self._names = self._names_of_numbers()
        self._label = self._find_label(columns)
        self._split = next((columns[name] for name in SPLIT_COLUMNS if name in columns), None)
        self._image = self._find_image(columns)
        #: Whether the columns are those of FER2013's own CSV file.
        self.is_fer2013 = {"emotion", "pixels"} <= set(columns) and not self._names

    def close(self) -> None:
        """Close the file, which `read_image` opens again."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._group, self._batch, self._batches = None, -1, (0, []), iter(())

    def read_labels(self) -> Iterator[tuple[str | None, str, str]]:
        """Yield the label of each row, None if it has none, its split ("" without a column) and the image's path."""
        split = self._texts(self._split) if self._split else None
        path = self._texts(f"{self._image}.path") if self._has_field("path") else None
        names = self._names.get(self._label)
        for label in self._values(self._label):
            value, file = ((next(column, None) or "") if column else "" for column in (split, path))
            yield self._text_of_label(label, names), value, file

    def read_image(self, number: int) -> np.ndarray:
        """Return the image of a row; raise ImageError. Rows are best read in ascending order."""
        if self._stream is None:
            self.open()
        name = f"{self._where}, row {number + 1}"
        if self._n_bytes > max(RATIO_FREE_BYTES, MAX_RATIO * self._tree.size(self._name)):
            raise ArchiveError(f"{self._where} expands to over {MAX_RATIO} times its size, like a decompression bomb.")
        group = bisect.bisect(self._group_starts, number) - 1
        if group in self._damaged:
            raise ImageError(f"{name}: this part of the file is damaged.")
        start, batch = self._batch
        if group != self._group or number < start:
            self._group, self._batches, start, batch = group, self._iterate(self._image, [group]), 0, []
        try:
            with self._damage():
                while number >= start + len(batch):
                    start, batch = next(self._batches)
        except (ArchiveError, StopIteration) as error:
            self._damaged.add(group)  # not to be tried again for each of its rows
            if isinstance(error, ArchiveError):
                raise
            raise ImageError(f"{name}: the row is missing.") from None
        self._batch = start, batch
        value = batch[number - start].as_py()
        value = value.get("bytes") if isinstance(value, dict) else value
        self._n_bytes += len(value) if isinstance(value, bytes) else 0
        return _decode(value, name)

    def _names_of_numbers(self) -> dict[str, list[str]]:
        """Return the names of the classes of each column that Hugging Face's metadata give."""
        with contextlib.suppress(ValueError, AttributeError, TypeError, KeyError):
            recorded = json.loads((self._schema.metadata or {})[b"huggingface"])
            features = recorded["info"]["features"]
            return {
                column: [str(name) for name in feature["names"]]
                for column, feature in features.items()
                if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
            }
        return {}

    def _find_label(self, columns: Mapping[str, str]) -> str:
        known = [columns[name] for name in LABEL_COLUMNS if name in columns]
        named = [column for column in self._names if column in self._schema.names]
        best = [column for column in known if column in named] or known or (named if len(named) == 1 else [])
        if not best:
            raise DataError(f"{self._where} has no column of labels; its columns are {self._list_columns()}.")
        return best[0]

    def _find_image(self, columns: Mapping[str, str]) -> str:
        """Return the column of images: with a field of bytes, of bytes, or of gray values."""
        import pyarrow

        kinds: dict[int, list[str]] = {0: [], 1: [], 2: []}
        for name, column in columns.items():
            kind = self._schema.field(column).type
            kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
            if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                kinds[0].append(column)
            elif pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
                kinds[1].append(column)
            elif name == "pixels" or (name in IMAGE_COLUMNS and pyarrow.types.is_nested(kind)):
                kinds[2].append(column)
        for found in kinds.values():
            preferred = [column for column in found if column.strip().lower() in IMAGE_COLUMNS]
            if len(preferred or found) == 1:
                return (preferred or found)[0]
        raise DataError(f"{self._where} has no column of encoded images; its columns are {self._list_columns()}.")

    def _list_columns(self) -> str:
        return ", ".join(f"{field.name} ({str(field.type)[:30]})" for field in list(self._schema)[:12])

    def _leaves(self) -> Iterator[tuple[str, Any]]:
        """Yield the name and the type of each column, and of each field of one."""
        import pyarrow

        for field in self._schema:
            if pyarrow.types.is_struct(field.type):
                yield from ((f"{field.name}.{inner.name}", inner.type) for inner in field.type)
            else:
                yield field.name, field.type

    def _has_field(self, name: str) -> bool:
        kind = self._schema.field(self._image).type
        return hasattr(kind, "get_field_index") and kind.get_field_index(name) >= 0

    def _text_of_label(self, label: object, names: Sequence[str] | None) -> str | None:
        """Return a label as text: its name if the metadata give one."""
        if label is None or label == "" or label != label:  # not a number
            return None
        if names is not None and isinstance(label, int):
            if label == -1:  # Hugging Face's sign for no label
                return None
            if not 0 <= label < len(names):
                raise DataError(f"{self._where}: the label {label} has no name; the names are {', '.join(names)}.")
            return names[label]
        return _cut(label)

    def _texts(self, column: str) -> Iterator[str | None]:
        return (None if value is None else _cut(value) for value in self._values(column))

    def _values(self, column: str) -> Iterator[Any]:
        """Yield the values of a column, which may be a field such as ``image.path``."""
        import pyarrow.compute

        with self._damage():
            for _, batch in self._iterate(column, range(len(self._group_starts))):
                values = batch.flatten()[0] if pyarrow.types.is_struct(batch.type) else batch
                if pyarrow.types.is_dictionary(values.type):
                    texts = pyarrow.compute.utf8_slice_codeunits(values.dictionary, 0, _MAX_LABEL).to_pylist()
                    yield from (None if code is None else texts[code] for code in values.indices.to_pylist())
                else:
                    yield from (value.as_py() for value in values)

    def _iterate(self, column: str, groups: Iterable[int]) -> Iterator[tuple[int, Any]]:
        """Yield the row number of the first value, and the values, of small parts of a column in groups of rows."""
        for group in groups:
            start = self._group_starts[group]
            # The sizes of single columns are not asked for: for damaged files pyarrow 26 then ends the process.
            size = self._file.metadata.row_group(group).total_byte_size
            if size > _MAX_GROUP_BYTES:
                raise ArchiveError(f"{self._where}: a group of rows has {size:,} bytes, over {_MAX_GROUP_BYTES:,}.")
            n = max(1, min(1024, _BATCH_BYTES // max(1, size))) if column == self._image else 1024
            for batch in self._file.iter_batches(batch_size=n, row_groups=[group], columns=[column], use_threads=False):
                yield start, batch.column(0)
                start += len(batch)

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        """Raise pyarrow's errors as ArchiveError."""
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise ArchiveError(f"{self._where} is damaged or cannot be read as Parquet ({lines[0][:120]}).") from error


def _cut(value: object) -> str:
    return str(value)[:_MAX_LABEL]


def _decode(value: object, name: str) -> np.ndarray:
    """Return the image that a cell holds: an encoded file, or gray values as text or as lists."""
    if value is None:
        raise ImageError(f"{name}: there is no image; the file may only have the path of one.")
    if isinstance(value, bytes):
        return decode_image(value, name=name)
    try:
        if isinstance(value, str):
            return np.frombuffer(parse_pixels(value), np.uint8).reshape(48, 48, 1)
        array = np.asarray(value)
        side = round(array.size**0.5)
        if array.ndim == 1 and side * side == array.size:
            array = array.reshape(side, side)
        array = array if array.ndim == 3 else array[..., None]
        if array.ndim != 3 or array.shape[-1] not in (1, 3) or array.dtype.kind not in "uif":
            raise ValueError(f"the shape is {array.shape}")
    except (DataError, ValueError, TypeError) as error:
        raise ImageError(f"{name}: not an image ({error}).") from None
    return scale_to_uint8(array)
