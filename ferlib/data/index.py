"""What a source holds, before its images are decoded: the step that every layout has in common."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.data_info import DataInfo
from ferlib.core.emotions import EMOTIONS, parse_emotions
from ferlib.core.errors import DataError, ImageError
from ferlib.core.images import resize, to_gray, to_rgb
from ferlib.data.splits import apportion

#: The (height, width) that images of mixed sizes are brought to when no other is asked for: FER2013's.
DEFAULT_SIZE = (48, 48)

_NAMED_FAILURES = 3


@dataclass
class ImageIndex:
    """The rows of a source: everything about each image but the image itself.

    Attributes
    ----------
    names, splits, usages : ndarray of shape (n,), dtype str
    labels : ndarray of shape (n,), dtype int64
        Codes into `class_names`.
    read : callable
        Takes a row number and returns that image, uint8 (H, W, 1) or (H, W, 3); raises ImageError.
    title, layout : str
    synthetic : bool
        What goes to `ImageDataset.info`.
    saved_info : DataInfo, optional
        The information that was saved with the images, in place of the three above.
    class_names : tuple of str
    groups : ndarray of shape (n,), dtype str, optional
    image_size, channels : optional
        What the layout brings its images to when nothing else is asked for.
    """

    names: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    usages: np.ndarray
    read: Callable[[int], np.ndarray]
    title: str
    layout: str
    synthetic: bool = False
    saved_info: DataInfo | None = None
    class_names: tuple[str, ...] = EMOTIONS
    groups: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    notes: list[str] = field(default_factory=list)


def choose_rows(
    listing: ImageIndex, class_names: tuple[str, ...], *, sample_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Return the rows of the wanted classes, or a stratified sample of them.

    Parameters
    ----------
    listing : ImageIndex
    class_names : tuple of str
        Some or all of the listing's classes.
    sample_size : int, optional
        How many images, over all splits and classes in their proportions; every class of every split keeps at least
        one if there is room.
    seed : int

    Returns
    -------
    ndarray of shape (k,), dtype int64
        Ascending.

    Raises
    ------
    DataError
        No image is left, or `sample_size` is below 1.
    """
    wanted = [code for code, name in enumerate(listing.class_names) if name in class_names]
    rows = np.flatnonzero(np.isin(listing.labels, wanted))
    if not len(rows):
        raise DataError(f"There are no images of {', '.join(class_names)} in this data set.")
    if sample_size is None or sample_size >= len(rows):
        return rows
    if sample_size < 1:
        raise DataError(f"sample_size must be at least 1, got {sample_size}.")
    rng = np.random.default_rng(seed)
    keys, strata = np.unique(
        np.stack([listing.splits[rows], listing.labels[rows].astype(str)]), axis=1, return_inverse=True
    )
    counts = np.bincount(strata, minlength=keys.shape[1])
    takes = _sample_counts(counts.tolist(), sample_size)
    chosen = [rng.choice(rows[strata == number], take, replace=False) for number, take in enumerate(takes)]
    return np.sort(np.concatenate(chosen))


def remap_labels(labels: np.ndarray, old: tuple[str, ...], new: tuple[str, ...]) -> np.ndarray:
    """Return labels (n,) that are codes into `old` as codes into `new`, which holds every name that occurs."""
    table = np.array([new.index(name) if name in new else -1 for name in old], dtype=np.int64)
    return table[labels]


def wanted_classes(emotions: str | Iterable[str] | None, present: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes to keep; by default all that the source can have.

    Raises
    ------
    DataError
        A wanted emotion is not among the source's classes, or a name is no emotion.
    """
    if not emotions:
        return present
    wanted = parse_emotions(emotions if isinstance(emotions, str) else list(emotions))
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DataError(f"This data set was saved without {', '.join(missing)}; it has {', '.join(present)}.")
    return wanted


def read_rows(
    listing: ImageIndex, rows: np.ndarray, *, image_size: tuple[int, int] | None, channels: int | None, title: str
) -> np.ndarray:
    """Decode the images of some rows into one array, with progress.

    Parameters
    ----------
    listing : ImageIndex
        Gets a note when images of mixed sizes are brought to `DEFAULT_SIZE`.
    rows : ndarray of shape (k,)
    image_size : tuple of int, optional
        The wanted (height, width); by default the images' own if it is one size, else `DEFAULT_SIZE`.
    channels : int, optional
        1 for gray, 3 for RGB; by default gray if every image is.
    title : str
        What the progress bar says.

    Returns
    -------
    ndarray of shape (k, H, W, C), dtype uint8

    Raises
    ------
    DataError
        Images cannot be read; the message names the first.
    """
    size, failures = image_size, {}
    images: list[np.ndarray] = []
    for row in progress_bar(rows, desc=title, unit=" images", delay=1):
        try:
            image = listing.read(row)
        except ImageError as error:
            failures[str(error)] = None
            continue
        if channels:
            image = to_gray(image) if channels == 1 else to_rgb(image)
        if size is None and images and image.shape[:2] != images[0].shape[:2]:
            size = DEFAULT_SIZE
            images = [resize(kept, size) for kept in images]
            listing.notes.append(f"Images of several sizes were brought to {size[0]} x {size[1]} pixels.")
        images.append(image if size is None else resize(image, size))
    if failures:
        first = " ".join(list(failures)[:_NAMED_FAILURES])
        raise DataError(f"{len(failures)} of {len(rows):,} images cannot be read; repair or remove them. {first}")
    return _stack(images, channels)


def _stack(images: list[np.ndarray], channels: int | None) -> np.ndarray:
    """Empty a list of images of one size into (n, H, W, C): RGB if one of them is, gray if none shows any color."""
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


def _sample_counts(counts: list[int], sample_size: int) -> list[int]:
    """Return how many to take of each stratum, in proportion to its count, one at least where there is room."""
    if sample_size < len(counts):
        return apportion(sample_size, counts)
    others = [count - 1 for count in counts]
    return [1 + take for take in apportion(sample_size - len(counts), others)]
