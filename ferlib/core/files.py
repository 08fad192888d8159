"""Write files whole or not at all, and know beforehand whether they can be."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ferlib.core.errors import FerlibError


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, what was written there takes its place.

    An interrupted or failed block leaves the old file as it was and no temporary file behind.

    Raises
    ------
    FerlibError
        The folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays, because writers such as Keras choose the format by it.
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
    """Write UTF-8 text whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all; not-a-number is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Make sure that files can be written where they are wanted, without writing anything.

    Raises
    ------
    FerlibError
        A file is an input too, is wanted twice, is a folder or a device, or lies where no file can be made.
    """
    read = {path.resolve() for path in inputs}
    wanted = set()
    for output in outputs:
        place = output.resolve()
        if place in read:
            raise FerlibError(f"{output} is one of the files to read; it is not overwritten.")
        if place in wanted:
            raise FerlibError(f"{output} is named for two outputs.")
        if place.exists() and not place.is_file():
            raise FerlibError(f"{output} is a folder or a device, not a file that can be written.")
        folder = next(parent for parent in place.parents if parent.exists())
        if not folder.is_dir():
            raise FerlibError(f"{output} cannot be written: {folder} is a file, not a folder.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise FerlibError(f"{output} cannot be written: there is no permission to write in {folder}.")
        wanted.add(place)
