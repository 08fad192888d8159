"""Load and split a dataset, cached on disk."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from ferlib.core.errors import DataError
from ferlib.data.archive import open_tree
from ferlib.data.dataset import ImageDataset, read_saved
from ferlib.data.load import load_images
from ferlib.data.splits import split_dataset

logger = logging.getLogger(__name__)

# Increased when the same options give other arrays than before.
_CACHE_VERSION = 2


def prepare_dataset(
    source: str | Path,
    data_dir: str | Path,
    *,
    emotions: str | Sequence[str] | None = None,
    split_scheme: str = "official",
    val_fraction: float = 0.1,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    crop_margin: float = 0.0,
    sample_size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Load and split a dataset, or return what an earlier call with the same options cached.

    Parameters
    ----------
    source : str or Path
        See `load_images`.
    data_dir : str or Path
        The arrays are cached in its folder ``processed``.
    emotions, image_size, channels, crop_margin, sample_size, seed
        See `load_images`.
    split_scheme, val_fraction, seed
        See `split_dataset`.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DataError
        See `load_images` and `split_dataset`.
    """
    source = Path(source).expanduser()
    loading = (emotions, image_size, channels, crop_margin, sample_size)
    key = json.dumps([_CACHE_VERSION, *loading, split_scheme, val_fraction, seed, _file_versions(source)])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = Path(data_dir) / "processed" / f"{source.resolve().stem}-{digest}.npz"
    if path.exists():
        try:
            return read_saved(path)
        except DataError as error:
            logger.warning("%s It is written again.", error)
    dataset = load_images(
        source,
        emotions=emotions,
        image_size=image_size,
        channels=channels,
        crop_margin=crop_margin,
        sample_size=sample_size,
        seed=seed,
    )
    dataset = split_dataset(dataset, split_scheme, val_fraction=val_fraction, seed=seed)
    dataset.save(path)
    return dataset


def _file_versions(source: Path) -> list[tuple[str, int, int]]:
    """Return the name, size and modification time of each file of a source, which are cheaper to read than it."""
    files = {source.resolve().name: source}
    if source.is_dir():
        with open_tree(source) as tree:
            files = {name: source / name for name in tree.names}
    try:
        statuses = {name: file.stat() for name, file in files.items()}
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from error
    return [(name, status.st_size, status.st_mtime_ns) for name, status in statuses.items()]
