"""Atomic file writes and checks of output paths."""

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ferlib.core.errors import FerlibError, OptionError


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; when the block succeeds, the file there replaces `path`.

    When the block fails or is interrupted, the old file is unchanged and the temporary file is removed.

    Raises
    ------
    FerlibError
        The folder cannot be created or written to, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept, because writers such as Keras choose the format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise FerlibError(f"{path} cannot be written ({error.strerror or error}).") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON atomically; NaN raises a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_zip(path: str | Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write an uncompressed zip with a fixed date, system and mode, so that it depends only on names and contents."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise a `FerlibError` if an output is also an input, is named twice, or cannot be written; nothing is written."""
    read = {path.resolve() for path in inputs}
    checked: set[Path] = set()
    for output in outputs:
        path = output.resolve()
        if path in read:
            raise OptionError(f"{output} is also an input; inputs are not overwritten.")
        if path in checked:
            raise OptionError(f"{output} is named for two outputs.")
        if path.exists() and not path.is_file():
            raise OptionError(f"{output} cannot be written: it is a folder or a device.")
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir():
            raise OptionError(f"{output} cannot be written: {folder} is a file, not a folder.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise FerlibError(f"{output} cannot be written: no permission to write in {folder}.")
        checked.add(path)
