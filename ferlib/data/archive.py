"""One careful view on a data set that a person has: a zip, a folder, or a single file."""

import contextlib
import hashlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from ferlib.core.console import progress_bar
from ferlib.core.errors import ArchiveError, DataError

#: The most files that a data set may hold; the full ExpW has about 92,000 faces.
MAX_FILES = 500_000

#: The most bytes that one file may hold, unpacked; ``fer2013.csv`` has 0.3 GB.
MAX_FILE_BYTES = 1 << 30

#: The most bytes that all files together may hold, unpacked.
MAX_TOTAL_BYTES = 32 << 30

#: How many times smaller than its content a packed file may be; ``fer2013.csv`` shrinks to a third.
MAX_RATIO = 200

# Small files may shrink more: a blank BMP of 48 x 48 pixels does, and is no bomb.
_RATIO_FREE_BYTES = 4 << 20

# What zipfile and zlib raise on damaged archives; the constructor's struct.error and ValueError come from bad headers.
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError)
_OPEN_ERRORS = (*_READ_ERRORS, struct.error, ValueError, OverflowError, MemoryError)

_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_ENCRYPTED = 0x1 | 0x40
_LOCAL_HEADER_BYTES = 30


class FileTree:
    """The files of a zip, a folder or a single file, by name; made by `open_tree` and used in a ``with`` block.

    Nothing is ever unpacked to disk: `read` returns a file's bytes from where it is.

    Attributes
    ----------
    path : Path
        Where the data set is.
    kind : {"zip", "folder", "file"}
    names : tuple of str
        The files' relative names with forward slashes, sorted; hidden files and what systems leave behind are left out.
    """

    path: Path
    kind: Literal["zip", "folder", "file"]
    names: tuple[str, ...]

    def __init__(
        self,
        path: Path,
        kind: Literal["zip", "folder", "file"],
        entries: dict[str, zipfile.ZipInfo] | dict[str, Path],
        *,
        archive: zipfile.ZipFile | None = None,
        max_file_bytes: int = MAX_FILE_BYTES,
    ):
        self.path = path
        self.kind = kind
        self.names = tuple(sorted(entries))
        self.max_file_bytes = max_file_bytes
        self._entries = entries
        self._archive = archive

    def __enter__(self) -> "FileTree":
        """Return the tree."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the archive."""
        self.close()

    def close(self) -> None:
        """Close the archive; a folder needs no closing."""
        if self._archive is not None:
            self._archive.close()

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Yield a file as a binary stream, to be read in pieces.

        Raises
        ------
        ArchiveError
            The file turns out damaged while it is read, in the block.
        DataError
            There is no file of this name.
        """
        entry = self._entry(name)
        try:
            stream = self._archive.open(entry) if self._archive is not None else entry.open("rb")
        except _OPEN_ERRORS as error:
            raise self._damage(name, error) from error
        try:
            with stream:
                yield stream
        except _READ_ERRORS as error:
            raise self._damage(name, error) from error

    def read(self, name: str) -> bytes:
        """Return a file's bytes; never more of them than the limit that the tree was opened with.

        Raises
        ------
        ArchiveError
            The file is damaged, or larger than the limit or than the archive's list of contents says.
        DataError
            There is no file of this name.
        """
        size = self.size(name)
        if size > self.max_file_bytes:
            raise ArchiveError(f"{self.path}: '{name}' holds more than {self.max_file_bytes:,} bytes.")
        with self.open(name) as stream:
            # A read of given length is bounded whatever the archive claims; zipfile compares the checksum at the end.
            data = stream.read(size + 1)
        if len(data) != size:
            raise ArchiveError(f"{self.path}: '{name}' does not hold the {size:,} bytes that it should.")
        return data

    def size(self, name: str) -> int:
        """Return a file's size in bytes, unpacked, as the archive's list or the file system has it."""
        entry = self._entry(name)
        if isinstance(entry, zipfile.ZipInfo):
            return entry.file_size
        try:
            return entry.stat().st_size
        except OSError as error:
            raise self._damage(name, error) from error

    def sha256(self) -> str:
        """Return the checksum of the file's bytes; of a folder, over its sorted names, sizes and contents."""
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
        """Read every file once, with progress, so that damage shows now and not in the middle of a training.

        Raises
        ------
        ArchiveError
            A file is damaged; the message names it.
        """
        for name in progress_bar(self.names, desc=f"Checking {self.path.name}", unit=" files", leave=False):
            self.read(name)

    def _damage(self, name: str, error: Exception) -> ArchiveError:
        """Return the error for a file that cannot be read."""
        return ArchiveError(f"{self.path}: '{name}' is damaged or cannot be read ({error or 'it is cut short'}).")

    def _entry(self, name: str) -> zipfile.ZipInfo | Path:
        """Return what stands behind a name."""
        try:
            return self._entries[name]
        except KeyError:
            raise DataError(f"{self.path} holds no file '{name}'.") from None


def open_tree(
    path: str | Path,
    *,
    max_files: int = MAX_FILES,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
    max_ratio: float = MAX_RATIO,
) -> FileTree:
    """Open a zip, a folder, or a single CSV or NPZ file, after looking whether it can be trusted.

    Archives inside an archive stay closed: they are files like any other.

    Parameters
    ----------
    path : str or Path
        The zip, folder, ``.csv`` or ``.npz``; a zip is known by its first bytes.
    max_files : int
        The most files.
    max_file_bytes, max_total_bytes : int
        The most bytes in one file and in all of them, unpacked.
    max_ratio : float
        How many times larger than in the archive a file of more than 4 MiB may be.

    Returns
    -------
    FileTree

    Raises
    ------
    ArchiveError
        The archive is damaged or cut short, encrypted, over one of the limits, or holds a link, a name twice (letter
        case does not part names) or a name that leads out of it.
    DataError
        The path is missing, unreadable, empty, or something else than a zip, a folder, a CSV or an NPZ file.

    Examples
    --------
    >>> with open_tree("fer2013.zip") as tree:  # doctest: +SKIP
    ...     data = tree.read("train/happy/Training_0000007.jpg")
    """
    path = Path(path).expanduser()
    if path.is_dir():
        entries = _folder_entries(path, max_files=max_files)
        tree = FileTree(path, "folder", entries, max_file_bytes=max_file_bytes)
        _check_sizes(path, [tree.size(name) for name in tree.names], max_file_bytes, max_total_bytes)
    elif _is_zip(path) and path.suffix.lower() != ".npz":
        archive = _open_zip(path)
        try:
            infos = archive.infolist()
            _check_entries(path, infos, max_files=max_files, max_ratio=max_ratio)
            _check_sizes(path, [info.file_size for info in infos], max_file_bytes, max_total_bytes)
            _check_overlaps(path, infos, archive.start_dir)
            tree = FileTree(path, "zip", _zip_entries(path, infos), archive=archive, max_file_bytes=max_file_bytes)
        except BaseException:
            archive.close()
            raise
    else:
        tree = FileTree(path, "file", {path.name: path}, max_file_bytes=max_file_bytes)
        _check_sizes(path, [tree.size(path.name)], max_file_bytes, max_total_bytes)
    if not tree.names:
        tree.close()
        raise DataError(f"{path} holds no files.")
    return tree


def _is_zip(path: Path) -> bool:
    """Return whether a file is a zip (or an NPZ) by its first bytes; refuse what cannot be a data set at all."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file or folder.") from None
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
        raise ArchiveError(f"{path} is not a zip archive, or it is damaged; get it again.")
    if suffix in (".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        raise DataError(f"{path} is an archive of a kind that is not read; unpack it and name the folder instead.")
    raise DataError(f"{path} is no data set: expected a zip, a folder, a CSV or an NPZ file.")


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Return an archive whose list of contents could be read."""
    try:
        return zipfile.ZipFile(path)
    except _OPEN_ERRORS as error:
        raise ArchiveError(f"{path} is damaged or cut short ({error}); get it again.") from error


def _check_entries(path: Path, infos: list[zipfile.ZipInfo], *, max_files: int, max_ratio: float) -> None:
    """Refuse an archive with too many files, links, encryption, unusual packing, or a file that swells like a bomb."""
    if len(infos) > max_files:
        raise ArchiveError(f"{path} holds {len(infos):,} entries, over the limit of {max_files:,}.")
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{path}: {info.filename!r} is a link or device, which a data set has no use for.")
        if info.flag_bits & _ENCRYPTED:
            raise ArchiveError(f"{path} is encrypted; unpack it and name the folder instead.")
        # Only these two unpack in pieces of bounded size.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{path}: {info.filename!r} is packed in an unusual way; pack it again as a plain zip.")
        if info.file_size > max(_RATIO_FREE_BYTES, max_ratio * info.compress_size):
            raise ArchiveError(
                f"{path}: {info.filename!r} would grow from {info.compress_size:,} to {info.file_size:,} bytes, "
                f"over {max_ratio:g} times, as decompression bombs do."
            )


def _check_sizes(path: Path, sizes: list[int], max_file_bytes: int, max_total_bytes: int) -> None:
    """Refuse files that are larger than one file, or all of them, may be."""
    if max(sizes, default=0) > max_file_bytes:
        raise ArchiveError(f"{path}: a file holds {max(sizes):,} bytes, over the limit of {max_file_bytes:,}.")
    if sum(sizes) > max_total_bytes:
        raise ArchiveError(f"{path}: the files hold {sum(sizes):,} bytes, over the limit of {max_total_bytes:,}.")


def _check_overlaps(path: Path, infos: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse entries that share bytes: the bombs that no ratio shows, which older Pythons read on."""
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        if info.header_offset + _LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size > end:
            raise ArchiveError(f"{path}: {info.filename!r} overlaps another entry, as in decompression bombs.")
        end = info.header_offset


def _zip_entries(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's files by clean name, without what systems leave behind."""
    files = [(_clean_name(path, info.orig_filename), info) for info in infos]
    # A folder's own entry ends with a slash.
    files = [(name, info) for name, info in files if not info.orig_filename.endswith(("/", "\\"))]
    _check_repeats(path, [name for name, _ in files])
    return {name: info for name, info in files if not _is_junk(name)}


def _folder_entries(path: Path, *, max_files: int) -> dict[str, Path]:
    """Return a folder's files by clean name; refuse links that lead out of it, and what is no regular file."""
    root, entries = path.resolve(), {}
    for folder, subfolders, files in os.walk(root, onerror=_raise_unreadable):
        subfolders[:] = [name for name in subfolders if not _is_junk(name)]
        for file in (Path(folder, name) for name in (*subfolders, *files) if not _is_junk(name)):
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise ArchiveError(f"{path}: '{file.relative_to(root)}' is a link that leads out of the folder.")
            if file.is_dir():
                continue
            if not file.is_file():
                raise ArchiveError(f"{path}: '{file.relative_to(root)}' is neither a file nor a folder.")
            entries[_clean_name(path, file.relative_to(root).as_posix())] = file
        if len(entries) > max_files:
            raise ArchiveError(f"{path} holds over {max_files:,} files, the limit.")
    _check_repeats(path, list(entries))
    return entries


def _raise_unreadable(error: OSError) -> None:
    """Raise for a folder that `os.walk` would pass over in silence."""
    raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error


def _clean_name(path: Path, name: str) -> str:
    """Return a relative name with forward slashes; refuse one that leads elsewhere or holds control characters."""
    slashed = name.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    leads_away = slashed.startswith("/") or ".." in parts or slashed[1:2] == ":"
    nameless = not parts and not slashed.endswith("/")
    if leads_away or nameless or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise ArchiveError(f"{path} holds an entry named {name!r}, which leads out of it or hides what it is.")
    return "/".join(parts)


def _check_repeats(path: Path, names: list[str]) -> None:
    """Refuse names that are the same on some systems: letter case and the spelling of accents do not part them."""
    counts = Counter(unicodedata.normalize("NFC", name).casefold() for name in names)
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > 1:
        raise ArchiveError(f"{path} holds more than one file named {name!r} (letter case aside).")


def _is_junk(name: str) -> bool:
    """Return whether any part of a name is hidden or left behind by an operating system."""
    return any(part.startswith(".") or part in _JUNK for part in name.split("/"))
