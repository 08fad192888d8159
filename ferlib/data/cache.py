"""Load and split a data set once, and find it again the next time."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferlib.core.errors import DataError
from ferlib.data.archive import open_tree
from ferlib.data.dataset import ImageDataset, read_saved
from ferlib.data.load import load_images
from ferlib.data.splits import split_dataset

logger = logging.getLogger(__name__)

# Goes up when the same options would give other arrays than before.
_FORMAT = 1


def prepare_dataset(
    source: str | Path,
    data_dir: str | Path,
    *,
    emotions: str | Sequence[str] | None = None,
    split: str = "official",
    val_fraction: float = 0.1,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    margin: float = 0.0,
    sample_size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Load and split a data set, or take what an earlier call with the same options kept.

    Parameters
    ----------
    source : str or Path
        See `load_images`.
    data_dir : str or Path
        The arrays are kept in its folder ``processed``.
    emotions, image_size, channels, margin, sample_size, seed
        See `load_images`.
    split, val_fraction, seed
        See `split_dataset`.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DataError
        See `load_images` and `split_dataset`.
    """
    loading = {
        "emotions": emotions if emotions is None or isinstance(emotions, str) else list(emotions),
        "image_size": image_size and tuple(image_size),
        "channels": channels,
        "margin": margin,
        "sample_size": sample_size,
        "seed": seed,
    }
    splitting = {"scheme": split, "val_fraction": val_fraction, "seed": seed}
    source = Path(source).expanduser()
    key = _hash([_FORMAT, loading, splitting, _identify(source)])
    path = Path(data_dir) / "processed" / f"{source.resolve().stem}-{key}.npz"
    if path.exists():
        try:
            return read_saved(path)
        except DataError as error:
            logger.warning("%s It is made again.", error)
    dataset = split_dataset(load_images(source, **loading), **splitting)
    dataset.save(path)
    return dataset


def _identify(source: Path) -> list[list[Any]]:
    """Return what tells a source from another, or from a later version of itself, without reading its files."""
    if not source.is_dir():
        files = {source.resolve().name: source}
    else:
        with open_tree(source) as tree:
            files = {name: source / name for name in tree.names}
    try:
        statuses = [(name, file.stat()) for name, file in files.items()]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error
    return [[name, status.st_size, status.st_mtime_ns] for name, status in statuses]


def _hash(value: Any) -> str:
    """Return 16 hexadecimal digits that stand for a value JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
