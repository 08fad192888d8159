"""List the files of a job, in an order that does not change, without keeping them in memory."""

import csv
import hashlib
import io
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ferlib.core.errors import DataError, FerlibError
from ferlib.core.images import IMAGE_SUFFIXES
from ferlib.core.signatures import sniff_kind
from ferlib.inference.inputs import expand_pattern
from ferlib.scoring.storage import Storage, is_address
from ferlib.video import AMBIGUOUS_SUFFIXES, VIDEO_SUFFIXES
from ferlib.video.kinds import read_head

logger = logging.getLogger(__name__)

#: Suffixes of lists of files.
LIST_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet"})

# The columns of a table that are tried when no name is given: ours, and that of the tables of `ferlib predict`.
_PATH_COLUMNS = ("path", "file")

# Paths that are read from a Parquet file at once.
_BATCH_ROWS = 65_536


class InputList:
    """The files that several inputs stand for; iterate over it for each path, once.

    An input is a file, a folder, a pattern, the address of a file or folder, or a list: text with one path per line, or
    a CSV or Parquet table with a column of paths. Relative paths in a list are relative to the folder of the list.
    Folders are searched by suffix, and by content for files on this machine that have none. Files whose names start
    with a dot are left out.

    Parameters
    ----------
    inputs : sequence of str
        Paths and addresses without options.
    storage : Storage
    videos : bool
        List videos instead of images.
    column : str, optional
        The column of paths; ``path`` or ``file`` if None.
    known : iterable of str
        Paths that are left out.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        storage: Storage,
        *,
        videos: bool = False,
        column: str | None = None,
        known: Iterable[str] = (),
    ) -> None:
        self._inputs = inputs
        self._storage = storage
        self._suffixes = VIDEO_SUFFIXES if videos else IMAGE_SUFFIXES
        self._kind = "video" if videos else "image"
        self._column = column
        self._known = {_digest(path) for path in known}
        self._left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        """Yield each path once.

        Raises
        ------
        FerlibError
            An input cannot be read.
        """
        expanded = [path for text in self._inputs for path in self._expand(text)]
        # One folder has no duplicates. Elsewhere 16 bytes per path tell; a set of them takes about 100.
        unique = len(expanded) == 1 and not self._known and not _is_list(expanded[0])
        seen = self._known
        for text in expanded:
            for path in self._list(text):
                if not _is_text(path):
                    self._left_out["with a name that is not UTF-8"] += 1
                    continue
                if not unique:
                    digest = _digest(path)
                    if digest in seen:
                        continue
                    seen.add(digest)
                yield path
        if self._left_out:
            ordered = sorted(self._left_out.items(), key=lambda item: (-item[1], item[0]))
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in ordered[:8])
            number = "1 file was" if self._left_out.total() == 1 else f"{self._left_out.total():,} files were"
            logger.info("%s left out (%s)", number, kinds)

    def _expand(self, text: str) -> list[str]:
        if is_address(text):
            return [text]
        return [str(path) for path in expand_pattern(self._storage.local_path(text))] if "*" in text else [text]

    def _list(self, text: str) -> Iterator[str]:
        if _is_list(text):
            return self._read_list(text)
        if is_address(text):
            return self._list_store(text)
        path = self._storage.local_path(text)
        if path.is_dir():
            return self._walk(text, path)
        if not path.exists():
            raise DataError(f"{text}: there is no such file or folder.")
        return iter([text])

    def _walk(self, name: str, folder: Path) -> Iterator[str]:
        """Yield the files below a folder, one folder after the other."""
        names: list[str] = []
        folders: set[str] = set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.add(entry.name)
                    elif not entry.is_file() or not self._is_wanted(entry.name, Path(entry.path)):
                        continue
                    # Names alone: a folder may have millions of entries.
                    names.append(entry.name)
        except OSError as error:
            raise DataError(f"{name}: the folder cannot be read ({error.strerror}).") from None
        for entry_name in sorted(names):
            path = os.path.join(name, entry_name)  # noqa: PTH118  (a Path per file takes ten times as long)
            if entry_name not in folders:
                yield path
            # The output of a job may lie inside its input.
            elif not (folder / entry_name / "_ferlib" / "job.json").exists():
                yield from self._walk(path, folder / entry_name)

    def _list_store(self, address: str) -> Iterator[str]:
        """Yield the objects below an address, or that of the object itself."""
        from pyarrow.fs import FileSelector, FileType

        file_system, base = self._storage.locate(address)
        root = address.rstrip("/")[: len(address.rstrip("/")) - len(base)]
        try:
            if file_system.get_file_info(base).type == FileType.File:
                yield address
                return
            # Folder by folder, because the information on all objects of a store would not fit in memory.
            folders = [base]
            while folders:
                infos = sorted(file_system.get_file_info(FileSelector(folders.pop())), key=lambda info: info.path)
                for info in infos:
                    if info.base_name.startswith("."):
                        continue
                    if info.type == FileType.File and self._is_wanted(info.base_name):
                        yield f"{root}{info.path}"
                folders += [
                    info.path
                    for info in reversed(infos)
                    if info.type == FileType.Directory and not info.base_name.startswith((".", "_"))
                ]
        except FileNotFoundError:
            raise DataError(f"{address}: there is no such object or folder.") from None
        except OSError as error:
            raise DataError(f"{address} cannot be listed ({str(error).splitlines()[0][:300]}).") from None

    def _is_wanted(self, name: str, path: Path | None = None) -> bool:
        """Return whether a file in a folder is one of ours, and count it otherwise."""
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
        wanted = suffix in self._suffixes
        if path is not None and (not suffix or suffix in AMBIGUOUS_SUFFIXES):
            wanted = sniff_kind(read_head(path)) == self._kind
        if not wanted:
            self._left_out[suffix or "without suffix"] += 1
        return wanted

    def _read_list(self, text: str) -> Iterator[str]:
        """Yield the paths in a list, relative ones below the list's folder."""
        folder = text.rpartition("/")[0]
        if not is_address(text):
            folder = str(Path(text).parent)
        suffix = Path(text).suffix.lower()
        try:
            with self._open(text) as file:
                entries = self._parquet_paths(text, file) if suffix == ".parquet" else self._text_paths(text, file)
                for entry in entries:
                    if not entry:
                        continue
                    if is_address(entry) or entry.startswith("/") or folder in ("", "."):
                        yield entry
                    else:
                        yield f"{folder}/{entry}"
        except FileNotFoundError:
            raise DataError(f"{text}: there is no such file.") from None
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(
                f"{text} cannot be read as a list ({(str(error).splitlines() or [''])[0][:300]})."
            ) from None

    def _open(self, text: str) -> Any:
        if not is_address(text):
            return self._storage.local_path(text).open("rb")
        file_system, path = self._storage.locate(text)
        return file_system.open_input_file(path)

    def _text_paths(self, text: str, file: Any) -> Iterator[str]:
        """Yield the lines of a text file, or a column of a CSV file."""
        suffix = Path(text).suffix.lower()
        buffer = file if hasattr(file, "peek") else io.BufferedReader(file)
        with io.TextIOWrapper(buffer, "utf-8-sig", newline="") as lines:
            if suffix == ".txt":
                for line in lines:
                    yield line.rstrip("\r\n")
                return
            table = csv.reader(lines, delimiter="\t" if suffix == ".tsv" else ",")
            header = next(table, [])
            position = header.index(self._choose_column(text, header))
            for row in table:
                yield row[position] if position < len(row) else ""

    def _parquet_paths(self, text: str, file: Any) -> Iterator[str]:
        """Yield a column of a Parquet file."""
        import pyarrow.parquet as pq

        table = pq.ParquetFile(file)
        column = self._choose_column(text, table.schema_arrow.names)
        for batch in table.iter_batches(_BATCH_ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                yield "" if value is None else str(value)

    def _choose_column(self, text: str, names: Sequence[str]) -> str:
        for name in _PATH_COLUMNS if self._column is None else (self._column,):
            if name in names:
                return name
        wanted = "path or file" if self._column is None else self._column
        raise DataError(f"{text} has no column {wanted}; --path-column names one of {', '.join(map(str, names))}.")


def _is_list(path: str) -> bool:
    return Path(path).suffix.lower() in LIST_SUFFIXES


def _is_text(path: str) -> bool:
    """Return whether a path can be stored as UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digest(path: str) -> bytes:
    return hashlib.blake2b(path.encode(), digest_size=16).digest()


def check_not_empty(n_files: int, inputs: Sequence[str], kind: str) -> None:
    """Raise a `FerlibError` if there is nothing to score."""
    if not n_files:
        raise FerlibError(f"{', '.join(inputs)}: no {kind} found.")
