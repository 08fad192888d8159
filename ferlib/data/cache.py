"""Load and split a dataset, cached on disk."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ferlib.core.errors import DataError
from ferlib.data.archive import open_tree
from ferlib.data.dataset import ImageDataset, read_saved
from ferlib.data.load import load_images
from ferlib.data.splits import split_dataset

logger = logging.getLogger(__name__)

# Increased when the same options give other arrays than before.
_CACHE_VERSION = 3


def prepare_dataset(
    source: str | Path,
    data_dir: str | Path,
    *,
    split_scheme: str = "official",
    val_fraction: float = 0.1,
    seed: int = 0,
    **loading: Any,
) -> ImageDataset:
    """Load and split a dataset, or return what an earlier call with the same options cached.

    The arrays are cached in the folder ``processed`` of `data_dir`. See `split_dataset` for its options, and
    `load_images` for the others and for errors. The seed is that of both. The scheme ``"final"`` is the official one
    with FER2013's PrivateTest as test, for one measurement after all choices are made.
    """
    if split_scheme == "final":
        split_scheme, loading["test_usage"] = "official", "PrivateTest"
    source = Path(source).expanduser()
    key = json.dumps(
        [_CACHE_VERSION, sorted(loading.items()), split_scheme, val_fraction, seed, _file_versions(source)]
    )
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = Path(data_dir) / "processed" / f"{source.resolve().stem}-{digest}.npz"
    if path.exists():
        try:
            return read_saved(path)
        except DataError as error:
            logger.warning("%s It is written again.", error)
    dataset = load_images(source, seed=seed, **loading)
    if loading.get("test_usage") == "PrivateTest":
        dataset.split("PrivateTest")  # raises if there is none
    dataset = split_dataset(dataset, split_scheme, val_fraction=val_fraction, seed=seed)
    dataset.save(path)
    return dataset


def _file_versions(source: Path) -> list[tuple[str, int, int]]:
    """Return the name, size and modification time of each file of a source, which are cheaper to read than it."""
    with open_tree(source) as tree:
        is_folder, names = tree.kind == "folder", tree.names
    statuses = {name: (source / name if is_folder else source.resolve()).stat() for name in names}
    return [(name, status.st_size, status.st_mtime_ns) for name, status in statuses.items()]
