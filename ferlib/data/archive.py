"""Read the files of a zip, a folder or a single file through one interface, with limits on sizes."""

import contextlib
import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal, Self

from ferlib.core.console import progress_bar
from ferlib.core.errors import ArchiveError, DataError

# The largest dataset that is read, in files and uncompressed bytes, as a protection against decompression bombs.
# The full ExpW has about 92,000 faces; ``fer2013.csv`` has 0.3 GB.
_MAX_FILES, _MAX_FILE_BYTES, _MAX_TOTAL_BYTES = 500_000, 1 << 30, 32 << 30

# The largest uncompressed size as a multiple of the compressed one. Small files may be compressed further: a blank BMP
# of 48 x 48 pixels is, and is harmless.
_MAX_RATIO, _RATIO_FREE_BYTES = 200, 4 << 20

# Raised by zipfile and zlib for damaged archives; struct.error and ValueError come from bad headers.
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError)
_OPEN_ERRORS = (*_READ_ERRORS, struct.error, ValueError, OverflowError, MemoryError)

_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_ENCRYPTED = 0x1 | 0x40


@dataclass(frozen=True)
class _File:
    """A file's uncompressed size in bytes, and how to open it."""

    size: int
    open: Callable[[], IO[bytes]]


class FileTree:
    """The files of a zip, a folder or a single file, made by `open_tree` and used in a ``with`` block.

    Nothing is unpacked to disk. `names` are the files' relative names with forward slashes, sorted, without hidden
    files and files of operating systems.
    """

    def __init__(
        self,
        path: Path,
        kind: Literal["zip", "folder", "file"],
        files: dict[str, _File],
        archive: zipfile.ZipFile | None = None,
    ) -> None:
        self.path, self.kind, self.names = path, kind, tuple(sorted(files))
        self._files, self._archive = files, archive

    def __enter__(self) -> Self:
        """Return the tree."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the archive."""
        if self._archive is not None:
            self._archive.close()

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file as a binary stream; raise ArchiveError if it is damaged, also while it is read."""
        try:
            stream = self._files[name].open()
        except _OPEN_ERRORS as error:
            raise self._damage(name, error) from error
        try:
            with stream:
                yield stream
        except _READ_ERRORS as error:
            raise self._damage(name, error) from error

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; raise ArchiveError if it is damaged or has another size than listed."""
        size = self.size(name)
        with self.open(name) as stream:
            # Bounded whatever the archive claims; zipfile compares the checksum at the end of the file.
            data = stream.read(size + 1)
        if len(data) != size:
            raise ArchiveError(f"{self.path}: '{name}' does not have the {size:,} bytes that are listed.")
        return data

    def size(self, name: str) -> int:
        """Return the uncompressed size of a file in bytes."""
        return self._files[name].size

    def sha256(self) -> str:
        """Return the checksum of the file's bytes, or for a folder of its sorted names, sizes and contents."""
        if self.kind != "folder":
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256()
        for name in self.names:
            data = self.read(name)
            digest.update(f"{name}\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()

    def verify(self) -> None:
        """Read every file once, with a progress bar; raise ArchiveError if one is damaged."""
        for name in progress_bar(self.names, desc=f"Checking {self.path.name}", unit=" files", leave=False):
            self.read(name)

    def _damage(self, name: str, error: Exception) -> ArchiveError:
        return ArchiveError(f"{self.path}: '{name}' is damaged or cannot be read ({error or 'it is truncated'}).")


def open_tree(path: str | Path) -> FileTree:
    """Open a zip (recognized by its first bytes), a folder, or a single CSV or NPZ file; raise DataError for others.

    An archive that is damaged, encrypted or over a limit, or contains a link, a device or a name twice, is an
    ArchiveError.

    Examples
    --------
    >>> with open_tree("fer2013.zip") as tree:  # doctest: +SKIP
    ...     data = tree.read("train/happy/Training_0000007.jpg")
    """
    path = Path(path).expanduser()
    if path.is_dir():
        tree = FileTree(path, "folder", _list_folder(path))
    elif _is_zip(path) and path.suffix.lower() != ".npz":
        tree = _open_zip(path)
    else:
        tree = FileTree(path, "file", {path.name: _file_on_disk(path)})
    try:
        _check_sizes(path, [tree.size(name) for name in tree.names])
    except DataError:
        tree.__exit__()
        raise
    return tree


def _is_zip(path: Path) -> bool:
    """Return whether a file is a zip (or an NPZ) by its first bytes; raise if it cannot be a dataset at all."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file or folder.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    suffix = path.suffix.lower()
    if not start:
        raise DataError(f"{path} is empty.")
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        return True
    if suffix == ".csv":
        return False
    if suffix in (".zip", ".npz"):
        raise ArchiveError(f"{path} is not a zip archive or is damaged; download it again.")
    raise DataError(f"{path} is not a zip, a folder, a CSV or an NPZ file; unpack other archives first.")


def _file_on_disk(path: Path) -> _File:
    return _File(path.stat().st_size, lambda: path.open("rb"))


def _open_zip(path: Path) -> FileTree:
    try:
        archive = zipfile.ZipFile(path)
    except _OPEN_ERRORS as error:
        raise ArchiveError(f"{path} is damaged or truncated ({error}); download it again.") from error
    files: dict[str, _File] = {}
    try:
        entries = archive.infolist()
        _check_count(path, len(entries))
        for entry in entries:
            _check_entry(path, entry)
            name = os.path.normpath(entry.filename.replace("\\", "/"))
            if entry.is_dir() or _is_junk(name):
                continue
            if name in files:
                raise ArchiveError(f"{path} contains more than one file named '{name}'.")
            files[name] = _File(entry.file_size, partial(archive.open, entry))
    except DataError:
        archive.close()
        raise
    return FileTree(path, "zip", files, archive)


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Raise for links, encryption, unusual compression and decompression bombs."""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"{path}: {entry.filename!r} is a link or device file; only regular files are supported.")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{path} is encrypted; unpack it and use the folder instead.")
    # Python decompresses the other methods without a bound on memory.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"{path}: {entry.filename!r} uses an unsupported compression; pack it as a plain zip.")
    if entry.file_size > max(_RATIO_FREE_BYTES, _MAX_RATIO * entry.compress_size):
        raise ArchiveError(
            f"{path}: {entry.filename!r} would expand from {entry.compress_size:,} to {entry.file_size:,} bytes, "
            f"over {_MAX_RATIO} times, like a decompression bomb."
        )


def _list_folder(path: Path) -> dict[str, _File]:
    root, files = path.resolve(), {}
    for folder, subfolders, names in os.walk(root, onerror=_raise_unreadable):
        subfolders[:] = [name for name in subfolders if not _is_junk(name)]
        for file in (Path(folder, name) for name in (*subfolders, *names) if not _is_junk(name)):
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise ArchiveError(f"{path}: '{file.relative_to(root)}' is a link to outside of the folder.")
            if file.is_dir():
                continue
            if not file.is_file():
                raise ArchiveError(f"{path}: '{file.relative_to(root)}' is neither a file nor a folder.")
            files[file.relative_to(root).as_posix()] = _file_on_disk(file)
        _check_count(path, len(files))
    return files


def _check_count(path: Path, count: int) -> None:
    if count > _MAX_FILES:
        raise ArchiveError(f"{path} contains at least {count:,} files, over the limit of {_MAX_FILES:,}.")


def _check_sizes(path: Path, sizes: list[int]) -> None:
    """Raise if there are no files, or if one or all of them together are too large."""
    if not sizes:
        raise DataError(f"{path} contains no files.")
    if max(sizes) > _MAX_FILE_BYTES:
        raise ArchiveError(f"{path}: a file has {max(sizes):,} bytes, over the limit of {_MAX_FILE_BYTES:,}.")
    if sum(sizes) > _MAX_TOTAL_BYTES:
        raise ArchiveError(f"{path}: the files have {sum(sizes):,} bytes, over the limit of {_MAX_TOTAL_BYTES:,}.")


def _raise_unreadable(error: OSError) -> None:
    """Raise for a folder that `os.walk` would skip silently."""
    raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error


def _is_junk(name: str) -> bool:
    """Return whether any part of a name is hidden or belongs to an operating system."""
    return any((part.startswith(".") and part != "..") or part in _JUNK for part in name.split("/"))
