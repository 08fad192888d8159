"""The index of a source: everything about its images except the decoded pixels, in any layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ferlib.core.apportion import apportion
from ferlib.core.console import progress_bar
from ferlib.core.data_info import DataInfo
from ferlib.core.emotions import EMOTIONS, parse_emotions
from ferlib.core.errors import DataError, ImageError
from ferlib.core.images import resize, to_gray, to_rgb
from ferlib.data.archive import FileTree

#: The default (height, width) for images of different sizes: FER2013's.
DEFAULT_SIZE = (48, 48)


@dataclass
class ImageIndex:
    """The images of a source before they are decoded; see `ImageDataset` for what is not explained here.

    Attributes
    ----------
    read : callable
        Takes a row number and returns its image, uint8 (H, W, 1) or (H, W, 3); raises ImageError.
    image_size, channels : optional
        The layout's defaults for images of different sizes or colors.
    has_boxes : bool
        Whether faces are cropped from photos, so that a crop margin has an effect.
    notes : list of str
        Sentences for the user about choices made while reading.
    """

    names: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    read: Callable[[int], np.ndarray]
    info: DataInfo
    class_names: tuple[str, ...] = EMOTIONS
    groups: np.ndarray | None = None
    source_splits: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    has_boxes: bool = False
    notes: list[str] = field(default_factory=list)


def describe_tree(tree: FileTree, *, title: str, layout: str, synthetic: bool = False) -> DataInfo:
    """Return the information about the source that a tree of files is."""
    return DataInfo(
        title=title, layout=layout, path=tree.path.resolve().name, sha256=tree.sha256(), synthetic=synthetic
    )


def choose_rows(
    index: ImageIndex, class_names: tuple[str, ...], *, sample_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Return the rows of some classes, or a sample of them stratified by split and class, int64 (k,), ascending.

    Every class of every split keeps at least one image if `sample_size` allows. Raises DataError if no images are
    left, or `sample_size` is below 1.
    """
    wanted = [code for code, name in enumerate(index.class_names) if name in class_names]
    rows = np.flatnonzero(np.isin(index.labels, wanted))
    if not len(rows):
        raise DataError(f"This dataset has no images of {', '.join(class_names)}.")
    if sample_size is None or sample_size >= len(rows):
        return rows
    if sample_size < 1:
        raise DataError(f"sample_size must be at least 1, got {sample_size}.")
    rng = np.random.default_rng(seed)
    keys = np.stack([index.splits[rows], index.labels[rows].astype(str)])
    _, strata, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    if sample_size < len(counts):
        sizes = apportion(sample_size, counts.tolist())
    else:
        sizes = [1 + size for size in apportion(sample_size - len(counts), (counts - 1).tolist())]
    chosen = [rng.choice(rows[strata == stratum], size, replace=False) for stratum, size in enumerate(sizes)]
    return np.sort(np.concatenate(chosen))


def choose_classes(emotions: str | Sequence[str] | None, present: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes to keep, all by default; raise DataError for a name that is not one of those present."""
    if not emotions:
        return present
    wanted = parse_emotions(emotions)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(f"This dataset was saved without {', '.join(missing)}; it has {', '.join(present)}.")
    return wanted


def read_rows(
    index: ImageIndex, rows: np.ndarray, *, image_size: tuple[int, int] | None, channels: int | None, title: str
) -> np.ndarray:
    """Decode the images of some rows into one array, uint8 (k, H, W, C), with a progress bar.

    By default images of one size keep it, others get `DEFAULT_SIZE` and a note; they stay gray if all are gray.
    Raises DataError if images cannot be read; the message names the first.
    """
    size = image_size
    failures: list[str] = []
    images: list[np.ndarray] = []
    for row in progress_bar(rows, desc=title, unit=" images", delay=1):
        try:
            image = index.read(row)
        except ImageError as error:
            failures.append(str(error))
            continue
        if channels:
            image = to_gray(image) if channels == 1 else to_rgb(image)
        if size is None and images and image.shape[:2] != images[0].shape[:2]:
            size = DEFAULT_SIZE
            images = [resize(kept, size) for kept in images]
            index.notes.append(f"Images of different sizes were resized to {size[0]} x {size[1]} pixels.")
        images.append(image if size is None else resize(image, size))
    if failures:
        named = " ".join(list(dict.fromkeys(failures))[:3])
        raise DataError(f"{len(failures)} of {len(rows):,} images cannot be read; repair or remove them. {named}")
    return _stack(images, channels)


def _stack(images: list[np.ndarray], channels: int | None) -> np.ndarray:
    """Move a list of images of one size into one array: RGB if any image has color, else gray."""
    if len({image.shape[2] for image in images}) > 1:
        images = [to_rgb(image) for image in images]
    stacked = np.empty((len(images), *images[0].shape), dtype=np.uint8)
    # Moved one by one from the end, so that the images are not in memory twice.
    while images:
        last = images.pop()
        stacked[len(images)] = last
    if channels is None and stacked.shape[-1] == 3 and all((image == image[..., :1]).all() for image in stacked):
        return np.ascontiguousarray(stacked[..., :1])
    return stacked
