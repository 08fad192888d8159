"""Read the files of a zip, a tar, a folder or a single file through one interface, with limits on sizes."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, Self

from ferlib.core.console import progress_bar
from ferlib.core.errors import ArchiveError, DataError

#: The largest dataset that is read, in files or rows, as a protection against decompression bombs; the full ExpW has
#: about 92,000 faces.
MAX_FILES = 500_000

# The same in uncompressed bytes; ``fer2013.csv`` has 0.3 GB.
_MAX_FILE_BYTES, _MAX_TOTAL_BYTES = 1 << 30, 32 << 30

#: The largest uncompressed size as a multiple of the compressed one. Small files may be compressed further: a blank BMP
#: of 48 x 48 pixels is, and is harmless.
MAX_RATIO, RATIO_FREE_BYTES = 200, 4 << 20

# No header of a tar needs more; the longest are names and attributes.
_MAX_HEADER_BYTES = 1 << 20

# Raised by the modules of the standard library for damaged archives; struct.error and ValueError come from bad headers.
_READ_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
)
_OPEN_ERRORS = (*_READ_ERRORS, struct.error, ValueError, LookupError, OverflowError, MemoryError)

_JUNK = frozenset(
    {
        *("__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "lost+found"),
        *("__pycache__", "Icon\r"),
    }
)

# How compressed files begin, and what opens them.
_COMPRESSIONS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}

# How files begin that people take for datasets, what they are, and what to do.
_OTHER_KINDS = {
    b"7z\xbc\xaf": "a 7z archive: unpack it and name the folder",
    b"Rar!": "a RAR archive: unpack it and name the folder",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it and name the folder",
    b"\x89HDF": "an HDF5 file: save its images as files in one folder per emotion",
    b"\x93NUMPY": "a NumPy array: save its images as files in one folder per emotion",
    b"ARROW1": "an Arrow file: save the dataset as Parquet (to_parquet) or as images",
    b"\xff\xff\xff\xff": "an Arrow stream: save the dataset as Parquet (to_parquet) or as images",
    b"MATLAB": "a MATLAB file: save its images as files in one folder per emotion",
    b"SQLite": "an SQLite database: save its images as files in one folder per emotion",
    b"\x80": "a Python pickle, which is not loaded because it can run code: save its images as files",
    b"version https://git-lfs": "a Git LFS pointer instead of the file: run `git lfs pull` where it comes from",
    b"<!doctype": "a web page instead of a file: the download probably needs a login",
    b"<html": "a web page instead of a file: the download probably needs a login",
    b"\xff\xd8\xff": "a single image: name a folder or an archive of images",
    b"\x89PNG": "a single image: name a folder or an archive of images",
    b"GIF8": "a single image: name a folder or an archive of images",
    b"%PDF": "a PDF document",
}

#: Suffixes of archives, which are not looked into where they are inside another one.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar", ".zst")
_ENCRYPTED = 0x1 | 0x40


@dataclass(frozen=True)
class _File:
    """A file's uncompressed size in bytes, and how to open it."""

    size: int
    open: Callable[[], IO[bytes]]


class FileTree:
    """The files of a zip, a tar, a folder or a single file, made by `open_tree` and used in a ``with`` block.

    Nothing is unpacked to disk, except that a compressed tar is held uncompressed in a temporary file. `names` are the
    files' relative names with forward slashes, sorted, without hidden files and files of operating systems. `skipped`
    are the names of broken links, pipes and sockets in a folder.
    """

    def __init__(
        self,
        path: Path,
        kind: Literal["zip", "tar", "folder", "file"],
        files: dict[str, _File],
        archive: contextlib.AbstractContextManager[object] | None = None,
        skipped: tuple[str, ...] = (),
    ) -> None:
        self.path, self.kind, self.names, self.skipped = path, kind, tuple(sorted(files)), skipped
        self._files, self._archive = files, archive
        self._streams: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        """Return the tree."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the archive and the streams of `open_seekable`."""
        for stream in self._streams:
            stream.close()
        if self._archive is not None:
            self._archive.__exit__(None, None, None)

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
        except (*_READ_ERRORS, MemoryError) as error:
            raise self._damage(name, error) from error

    def open_seekable(self, name: str) -> IO[bytes]:
        """Return a file as a stream for reading in any order, which stays open until the tree is closed.

        Files of archives are copied to a temporary file. Raises ArchiveError as `open` does.
        """
        if self.kind == "folder":
            try:
                self._streams.append(self._files[name].open())
            except _OPEN_ERRORS as error:
                raise self._damage(name, error) from error
        else:
            self._streams.append(tempfile.TemporaryFile(prefix="ferlib-"))  # noqa: SIM115
            with self.open(name) as packed:
                shutil.copyfileobj(packed, self._streams[-1])
            self._streams[-1].seek(0)
        return self._streams[-1]

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
            try:
                data = self.read(name)
            except ArchiveError:  # a file without permission to read is left out
                data = b""
            # Names on disk may be in any encoding.
            digest.update(f"{name}\0{len(data)}\0".encode(errors="surrogateescape"))
            digest.update(data)
        return digest.hexdigest()

    def verify(self) -> None:
        """Read every file once, with a progress bar; raise ArchiveError if one is damaged."""
        for name in progress_bar(self.names, desc=f"Checking {self.path.name}", unit=" files", leave=False):
            self.read(name)

    def _damage(self, name: str, error: Exception) -> ArchiveError:
        return ArchiveError(f"{self.path}: '{name}' is damaged or cannot be read ({error or 'it is truncated'}).")


def open_tree(path: str | Path) -> FileTree:
    """Open a zip or tar (by content), a folder, or a CSV, NPZ or Parquet file; raise DataError for others.

    A tar, or a single CSV, may be compressed with gzip, bzip2 or xz. An archive that is damaged, encrypted or over a
    limit, or contains a link, a device or a name twice, is an ArchiveError.

    Examples
    --------
    >>> with open_tree("fer2013.zip") as tree:  # doctest: +SKIP
    ...     data = tree.read("train/happy/Training_0000007.jpg")
    """
    path = Path(path).expanduser()
    if path.is_dir():
        tree = _open_folder(path)
    else:
        start = _read_start(path)
        suffix = path.suffix.lower()
        opener = next((opener for magic, opener in _COMPRESSIONS.items() if start.startswith(magic)), None)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) and suffix != ".npz":
            tree = _open_zip(path)
        elif opener is not None:
            tree = _open_compressed(path, opener)
        elif _is_tar(path.name, start):
            tree = _open_tar(path, path.open("rb"))
        else:
            _check_table(path, start)
            tree = FileTree(path, "file", {path.name: _file_on_disk(path)})
    try:
        _check_sizes(path, [tree.size(name) for name in tree.names])
    except DataError:
        tree.__exit__()
        raise
    return tree


def _read_start(path: Path) -> bytes:
    """Return the first bytes of a file; raise DataError if there are none."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is neither a file nor a folder.")
        with path.open("rb") as stream:
            start = stream.read(512)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file or folder.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    if not start:
        raise DataError(f"{path} is empty.")
    return start


def _check_table(path: Path, start: bytes) -> None:
    """Raise unless a file that is not an archive can be a CSV, NPZ or Parquet file; the message names what it is."""
    suffix = path.suffix.lower()
    if start.startswith(b"PAR1"):
        return
    begins = start.lstrip().lower()
    for magic, what in _OTHER_KINDS.items():
        if start.startswith(magic) or begins.startswith(magic):
            raise (ArchiveError if suffix == ".zip" else DataError)(f"{path} is {what}.")
    if suffix in (".zip", ".npz") and not start.startswith(b"PK"):
        raise ArchiveError(f"{path} is not a zip archive or is damaged; download it again.")
    if suffix not in (".csv", ".tsv", ".npz", ".txt"):
        raise DataError(f"{path} is not a zip, a tar, a folder, a CSV, a Parquet or an NPZ file.")


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
        if "xl/workbook.xml" in archive.NameToInfo:
            raise DataError(f"{path} is an Excel workbook: save it as CSV.")
        for entry in entries:
            _check_entry(path, entry)
            name = os.path.normpath(entry.filename.replace("\\", "/"))
            if not entry.filename or entry.is_dir() or _is_junk(name):
                continue
            _add(path, files, name, _File(entry.file_size, partial(archive.open, entry)))
    except DataError:
        archive.close()
        raise
    return FileTree(path, "zip", files, archive)


def _open_compressed(path: Path, opener: Any) -> FileTree:
    """Open a compressed tar or table, decompressed into a temporary file, because a tar has to be read in any order."""
    limit = min(_MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * path.stat().st_size))
    stream: IO[bytes] = tempfile.TemporaryFile(prefix="ferlib-")  # noqa: SIM115
    try:
        with opener(path) as packed:
            while chunk := packed.read(1 << 20):
                if stream.tell() + len(chunk) > limit:
                    raise ArchiveError(f"{path} would expand to over {limit:,} bytes, like a decompression bomb.")
                stream.write(chunk)
        size = stream.tell()
        stream.seek(0)
        start = stream.read(512)
        name = path.with_suffix("").name if path.suffix.lower() in ARCHIVE_SUFFIXES else path.name
        if _is_tar(name, start) or path.suffix.lower() in (".tgz", ".tbz2", ".txz"):
            return _open_tar(path, stream)
        _check_table(path.with_name(name), start)
        return FileTree(path, "file", {name: _File(size, partial(_open_part, stream, 0, size))}, stream)
    except DataError:
        stream.close()
        raise
    except _OPEN_ERRORS as error:
        stream.close()
        raise ArchiveError(f"{path} is damaged or truncated, or does not fit on the disk ({error}).") from error


def _is_tar(name: str, start: bytes) -> bool:
    return start[257:262] == b"ustar" or name.lower().endswith(".tar")


class _Part(io.RawIOBase):
    """A part of an open file, with a position of its own."""

    def __init__(self, stream: IO[bytes], start: int, size: int) -> None:
        self._stream, self._position, self._end = stream, start, start + size

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end."""
        size = min(len(buffer), self._end - self._position)
        data = os.pread(self._stream.fileno(), size, self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _open_part(stream: IO[bytes], start: int, size: int) -> IO[bytes]:
    return io.BufferedReader(_Part(stream, start, size))


class _Headers:
    """A tar's file that refuses to read large headers, which `tarfile` would keep in memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.seek, self.tell, self._read = stream.seek, stream.tell, stream.read

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError("a header is too large")
        return self._read(size)


def _open_tar(path: Path, stream: IO[bytes]) -> FileTree:
    files: dict[str, _File] = {}
    stream.seek(0)
    try:
        archive = tarfile.open(fileobj=_Headers(stream), mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
        for count, entry in enumerate(archive, start=1):
            _check_count(path, count)
            name = os.path.normpath(entry.name)
            if entry.isdir() or _is_junk(name):
                continue
            if not entry.isreg() or entry.issparse():
                raise ArchiveError(f"{path}: {name!r} is a link, device or sparse file; only regular files are read.")
            _add(path, files, name, _File(entry.size, partial(_open_part, stream, entry.offset_data, entry.size)))
        # `tarfile` stops without an error at a damaged header; the end is empty.
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise ArchiveError(f"{path} is damaged or truncated; download it again.")
    except DataError:
        stream.close()
        raise
    except _OPEN_ERRORS as error:
        stream.close()
        raise ArchiveError(f"{path} is damaged or truncated ({error}); download it again.") from error
    return FileTree(path, "tar", files, contextlib.closing(stream))


def _add(path: Path, files: dict[str, _File], name: str, file: _File) -> None:
    """Add an archive's file; raise if there is one of that name."""
    if name in files:
        raise ArchiveError(f"{path} contains more than one file named '{name}'.")
    files[name] = file


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    """Raise for links, encryption, unusual compression and decompression bombs."""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"{path}: {entry.filename!r} is a link or device file; only regular files are supported.")
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{path} is encrypted; unpack it and use the folder instead.")
    # Python decompresses the other methods without a bound on memory.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"{path}: {entry.filename!r} uses an unsupported compression; pack it as a plain zip.")
    if entry.file_size > max(RATIO_FREE_BYTES, MAX_RATIO * entry.compress_size):
        raise ArchiveError(
            f"{path}: {entry.filename!r} would expand from {entry.compress_size:,} to {entry.file_size:,} bytes, "
            f"over {MAX_RATIO} times, like a decompression bomb."
        )


def _open_folder(path: Path) -> FileTree:
    root, files, skipped = path.resolve(), {}, []
    for folder, subfolders, names in os.walk(root, onerror=_raise_unreadable):
        subfolders[:] = [name for name in subfolders if not _is_junk(name)]
        for file in (Path(folder, name) for name in (*subfolders, *names) if not _is_junk(name)):
            name = file.relative_to(root).as_posix()
            if file.is_symlink() and file.exists() and not file.resolve().is_relative_to(root):
                raise ArchiveError(f"{path}: '{name}' is a link to outside of the folder.")
            if file.is_dir():
                continue
            if not file.is_file():
                skipped.append(name)
                continue
            files[name] = _file_on_disk(file)
        _check_count(path, len(files))
    return FileTree(path, "folder", files, skipped=tuple(sorted(skipped)))


def _check_count(path: Path, count: int) -> None:
    if count > MAX_FILES:
        raise ArchiveError(f"{path} contains at least {count:,} files, over the limit of {MAX_FILES:,}.")


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
