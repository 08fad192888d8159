"""Files on this machine and in object stores, by path or address."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.errors import FerlibError, ImageError, OptionError
from ferlib.core.files import atomic_write

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Larger files are not read into memory: no image that may be decoded needs as much.
_MAX_BYTES = 1 << 30

# A partial file that an interrupted call has left is removed when it is this old, in seconds: another call may be
# writing a younger one.
_LEFTOVER_SECONDS = 3600

_ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]+)://(?P<host>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL
)

#: The options of object stores by scheme, such as ``{"s3": "region=eu-west-1"}``.
StoreOptions = Mapping[str, str]


def is_address(path: str) -> bool:
    """Return whether a path is the address of an object store, such as ``s3://bucket/photos``."""
    return re.match(r"[a-z][a-z0-9+.-]+://", path) is not None


def split_options(addresses: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return paths and addresses without their options, and the options by scheme.

    Raises
    ------
    OptionError
        An address contains credentials, is one of the web, or states other options than another address.
    """
    plain: list[str] = []
    options: dict[str, str] = {}
    for address in addresses:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            plain.append(address)
            continue
        scheme, query = found["scheme"], found["query"]
        if scheme == "file":
            plain.append(found["path"] or "/")
            continue
        if "@" in found["host"]:
            hidden = address.replace(found["host"].rpartition("@")[0] + "@", "")
            raise OptionError(
                f"{hidden}: name the credentials in the environment, such as AWS_ACCESS_KEY_ID, not in the address."
            )
        if scheme in ("http", "https", "ftp"):
            raise OptionError(f"{scheme}://{found['host']}: files of the web are not read; download them first.")
        if query and options.setdefault(scheme, query) != query:
            raise OptionError(f"{address}: two addresses of {scheme}:// have different options.")
        plain.append(f"{scheme}://{found['host']}{found['path'] or ''}")
    return plain, options


class Storage:
    """Reads files by path or address, and keeps the connections to object stores.

    Parameters
    ----------
    options : mapping
        The options of object stores by scheme.
    root : path, optional
        The folder of relative paths; the current folder if None.
    """

    def __init__(self, options: StoreOptions | None = None, *, root: str | Path | None = None) -> None:
        self._options = dict(options or {})
        self._root = root
        self._file_systems: dict[str, tuple[FileSystem, str]] = {}

    def locate(self, address: str) -> "tuple[FileSystem, str]":
        """Return the file system of an address, and the path in it.

        Raises
        ------
        FerlibError
            The scheme is unknown, or the store cannot be reached.
        """
        from pyarrow.fs import FileSystem

        found = _ADDRESS.fullmatch(address)
        scheme, host = re.split("://", address)[0], address.split("/")[2] if found else ""
        place = f"{scheme}://{host}"
        if place not in self._file_systems:
            query = self._options.get(scheme)
            try:
                # ArrowInvalid is a ValueError.
                self._file_systems[place] = FileSystem.from_uri(f"{place}?{query}" if query else place)
            except (OSError, ValueError, NotImplementedError) as error:
                raise FerlibError(f"{place} cannot be opened ({_first_line(error)}).") from None
        file_system, base = self._file_systems[place]
        # Keys may contain any character, also those that have a meaning in an address.
        return file_system, f"{base}{address[len(place) :]}".rstrip("/")

    def local_path(self, path: str) -> Path:
        """Return where a relative or absolute path is."""
        return Path(path) if self._root is None else Path(self._root, path)

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        ImageError
            It cannot be read; the message is the one of `ferlib.core.images.read_image`.
        """
        try:
            if not is_address(path):
                with self.local_path(path).open("rb") as file:
                    return _bounded(path, os.fstat(file.fileno()).st_size, file)
            if path.startswith(("http:", "https:", "ftp:")):
                raise ImageError(f"{path}: files of the web are not read; download them first.")
            file_system, name = self.locate(path)
            with file_system.open_input_file(name) as file:
                return _bounded(path, file.size(), file)
        except FileNotFoundError:
            raise ImageError(f"{path}: there is no such file.") from None
        except FerlibError as error:
            raise error if isinstance(error, ImageError) else ImageError(f"{path}: {error}") from None
        # ValueError: a null character in the name. pyarrow's errors are both.
        except (OSError, ValueError) as error:
            raise ImageError(f"{path}: the file cannot be read ({_reason(error)}).") from None


def _bounded(path: str, size: int, file: Any) -> bytes:
    """Return the content of an open file; refuse to read a very large one."""
    if size > _MAX_BYTES:
        raise ImageError(f"{path}: the file has {size:,} bytes; over {_MAX_BYTES:,} are not read as an image.")
    content: bytes = file.read()
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class OutputFolder:
    """The folder that a job writes: on this machine, or in an object store.

    Parameters
    ----------
    path : str
        A path or address.
    storage : Storage
    """

    def __init__(self, path: str, storage: Storage) -> None:
        self.path = path
        self._storage = storage
        self._remote = storage.locate(path) if is_address(path) else None
        self._local = storage.local_path(path)

    def check(self) -> None:
        """Raise a `FerlibError` unless files can be written here; the folder is made."""
        if self._remote is None:
            try:
                self._local.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise OptionError(f"{self.path} cannot be written: it is a file, not a folder.") from None
            except OSError as error:
                raise FerlibError(f"{self.path} cannot be written ({_reason(error)}).") from None
            if not os.access(self._local, os.W_OK | os.X_OK):
                raise FerlibError(f"{self.path} cannot be written: no permission.")
            self._remove_leftovers()
        else:
            self.write("_ferlib/probe", b"")
            file_system, path = self._remote
            file_system.delete_file(f"{path}/_ferlib/probe")

    def _remove_leftovers(self) -> None:
        """Remove partial files of calls that were killed while they wrote."""
        import time

        for path in (*self._local.glob(".part-*.parquet"), *self._local.glob("_ferlib/.*")):
            if path.stat().st_mtime < time.time() - _LEFTOVER_SECONDS:
                path.unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Return the names of the files in the folder, without those in its folders."""
        if self._remote is None:
            return {path.name for path in self._local.iterdir()} if self._local.is_dir() else set()
        from pyarrow.fs import FileSelector

        file_system, path = self._remote
        try:
            return {info.base_name for info in file_system.get_file_info(FileSelector(path, allow_not_found=True))}
        except OSError as error:
            raise FerlibError(f"{self.path} cannot be read ({_first_line(error)}).") from None

    def has(self, name: str) -> bool:
        """Return whether there is a file of a name."""
        if self._remote is None:
            return (self._local / name).exists()
        from pyarrow.fs import FileType

        file_system, path = self._remote
        try:
            return bool(file_system.get_file_info(f"{path}/{name}").type == FileType.File)
        except OSError as error:
            raise FerlibError(f"{self.path}/{name} cannot be read ({_first_line(error)}).") from None

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        try:
            if self._remote is None:
                return (self._local / name).read_bytes()
            file_system, path = self._remote
            with file_system.open_input_file(f"{path}/{name}") as file:
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FerlibError(f"{self.path}/{name} cannot be read ({_reason(error)}).") from None

    def open(self, name: str) -> Any:
        """Return an open file that pyarrow reads in parts."""
        try:
            if self._remote is None:
                return (self._local / name).open("rb")
            file_system, path = self._remote
            return file_system.open_input_file(f"{path}/{name}")
        except OSError as error:
            raise FerlibError(f"{self.path}/{name} cannot be read ({_reason(error)}).") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, and replace one of the same name."""
        if self._remote is None:
            with atomic_write(self._local / name) as temporary, temporary.open("wb") as file:
                file.write(content)
                file.flush()
                # A file that has its name must have its content too, even after a power failure.
                os.fsync(file.fileno())
            return
        file_system, path = self._remote
        try:
            # An object appears when its upload is complete. The content is in memory, so that nothing but the upload
            # itself can fail in between: closing the stream would complete half an object.
            with file_system.open_output_stream(f"{path}/{name}") as stream:
                stream.write(content)
        except OSError as error:
            raise FerlibError(f"{self.path}/{name} cannot be written ({_first_line(error)}).") from None

    def write_file(self, name: str, source: Path) -> None:
        """Copy a file from this machine, which may be larger than the memory."""
        import shutil

        if self._remote is None:
            with atomic_write(self._local / name) as temporary:
                shutil.copyfile(source, temporary)
            return
        file_system, path = self._remote
        try:
            with source.open("rb") as file, file_system.open_output_stream(f"{path}/{name}") as stream:
                shutil.copyfileobj(file, stream, 1 << 24)
        except OSError as error:
            raise FerlibError(f"{self.path}/{name} cannot be written ({_first_line(error)}).") from None
