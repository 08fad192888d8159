"""Checks of run folders that may come from strangers: no code, no files outside of the folder, bounded memory."""

import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferlib.core.errors import ArtifactError

# The largest files that are read, in bytes: JSON, networks, and the contents of Keras and skops files.
_MAX_JSON_BYTES, _MAX_MODEL_BYTES, _MAX_UNPACKED_BYTES = 16 << 20, 2 << 30, 4 << 30

# The largest uncompressed size as a multiple of the compressed one; small files may be compressed further.
_MAX_RATIO, _RATIO_FREE_BYTES, _MAX_FILES = 200, 16 << 20, 20_000

# No layer of a network for faces is larger; layers take memory before their weights are compared with the file.
_MAX_NUMBER = 1 << 16

# Numbers that are not sizes.
_ANY_NUMBER = ("seed", "shared_object_id")

# How much memory a network may take while it is loaded and tried with one image.
_MAX_MEMORY = 4 << 30

# Layers of Keras that run code or read other files.
_UNSAFE_LAYERS = frozenset(
    {
        *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
        *("StringLookup", "IntegerLookup", "TextVectorization", "HashedCrossing", "Hashing", "FeatureSpace"),
    }
)

# How the key "location" of a tensor in another file is stored in ONNX's protocol buffers.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


def require_inside(path: Path) -> None:
    """Raise ArtifactError if a file of a run folder is a link that leads out of the folder."""
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise ArtifactError(f"{path} is a link to outside of its run folder; copy the file.")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a run folder.

    Raises
    ------
    FileNotFoundError
    ArtifactError
        It is a link to outside, too large, or not JSON.
    """
    require_inside(path)
    try:
        if path.exists() and not path.is_file():
            raise ArtifactError(f"{path} is not a file.")
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ArtifactError(f"{path} has over {_MAX_JSON_BYTES:,} bytes.")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}).") from None


def check_onnx(path: Path) -> None:
    """Raise ArtifactError unless an ONNX file is inside its folder, of a usual size, and complete in itself."""
    _check_file(path)
    if _EXTERNAL_DATA in path.read_bytes():
        raise ArtifactError(f"{path} keeps weights in other files, which are not read; save it as one file.")


def check_zip(path: Path) -> None:
    """Raise ArtifactError if a Keras or skops file, which are zips, would expand to an unreasonable size."""
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    # zipfile raises several kinds of errors for damaged headers.
    except Exception as error:
        raise ArtifactError(f"{path} is damaged ({error}).") from None
    total = sum(entry.file_size for entry in entries)
    bomb = any(entry.file_size > max(_RATIO_FREE_BYTES, _MAX_RATIO * entry.compress_size) for entry in entries)
    if bomb or total > _MAX_UNPACKED_BYTES or len(entries) > _MAX_FILES:
        raise ArtifactError(f"{path} would expand to {total:,} bytes in {len(entries):,} files, like a bomb.")


def check_keras(path: Path) -> None:
    """Raise ArtifactError if a ``.keras`` file has layers that run code, read files or take unreasonable memory."""
    check_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except Exception as error:
        raise ArtifactError(f"{path} is damaged ({error}).") from None
    todo: list[tuple[str, Any]] = [("", config)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            name = value.get("class_name")
            if isinstance(name, str) and name.rpartition(">")[2] in _UNSAFE_LAYERS:
                raise ArtifactError(f"{path} has a layer {name}, which can run code or read files, and is not loaded.")
            todo.extend(value.items())
        elif isinstance(value, list):
            todo.extend((key, item) for item in value)
        elif isinstance(value, int) and value > _MAX_NUMBER and not key.endswith(_ANY_NUMBER):
            raise ArtifactError(f"{path} has a layer of size {value:,} ({key}), over the limit of {_MAX_NUMBER:,}.")


@contextlib.contextmanager
def limited_memory(size: int = _MAX_MEMORY) -> Iterator[None]:
    """Let the process take at most this many more bytes of address space; without effect where that is impossible."""
    try:
        import resource

        limits = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        allowed = [used + size, *(limit for limit in limits if limit != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_AS, (min(allowed), limits[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _check_file(path: Path) -> None:
    """Raise ArtifactError unless a model file is a regular file inside its folder, of a usual size."""
    require_inside(path)
    if not path.is_file():
        raise ArtifactError(f"{path} is not a file.")
    if path.stat().st_size > _MAX_MODEL_BYTES:
        raise ArtifactError(f"{path} has over {_MAX_MODEL_BYTES:,} bytes.")
