"""What a source holds, before its pictures are decoded: the step that every layout has in common."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ferlib.datasets.splits import allot
from ferlib.emotions import EMOTIONS, parse_emotions
from ferlib.errors import DataError, PictureError
from ferlib.images import resize, to_gray, to_rgb
from ferlib.progress import track

#: The (height, width) that pictures of mixed sizes are brought to when no other is asked for: FER2013's.
DEFAULT_SIZE = (48, 48)

_NAMED_FAILURES = 3


@dataclass
class Listing:
    """The rows of a source: everything about each picture but the picture itself.

    Attributes
    ----------
    names, splits, usages : ndarray of shape (n,), dtype str
    labels : ndarray of shape (n,), dtype int64
        Codes into `class_names`.
    read : callable
        Takes a row number and returns that picture, uint8 (H, W, 1) or (H, W, 3); raises PictureError.
    info : dict
        What goes to `ImageDataset.info`; ``notes`` is a list.
    class_names : tuple of str
    groups : ndarray of shape (n,), dtype str, optional
    image_size, channels : optional
        What the layout brings its pictures to when nothing else is asked for.
    """

    names: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    usages: np.ndarray
    read: Callable[[int], np.ndarray]
    info: dict[str, Any]
    class_names: tuple[str, ...] = EMOTIONS
    groups: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    notes: list[str] = field(default_factory=list)


def choose_rows(
    listing: Listing, class_names: tuple[str, ...], *, sample_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Return the rows of the wanted classes, or a stratified sample of them.

    Parameters
    ----------
    listing : Listing
    class_names : tuple of str
        Some or all of the listing's classes.
    sample_size : int, optional
        How many pictures, over all splits and classes in their proportions; every class of every split keeps at least
        one if there is room.
    seed : int

    Returns
    -------
    ndarray of shape (k,), dtype int64
        Ascending.

    Raises
    ------
    DataError
        No picture is left, or `sample_size` is below 1.
    """
    wanted = [code for code, name in enumerate(listing.class_names) if name in class_names]
    rows = np.flatnonzero(np.isin(listing.labels, wanted))
    if not len(rows):
        raise DataError(f"There are no pictures of {', '.join(class_names)} in this data set.")
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


def recode(labels: np.ndarray, old: tuple[str, ...], new: tuple[str, ...]) -> np.ndarray:
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
    listing: Listing, rows: np.ndarray, *, image_size: tuple[int, int] | None, channels: int | None, title: str
) -> np.ndarray:
    """Decode the pictures of some rows into one array, with progress.

    Parameters
    ----------
    listing : Listing
        Gets a note when pictures of mixed sizes are brought to `DEFAULT_SIZE`.
    rows : ndarray of shape (k,)
    image_size : tuple of int, optional
        The wanted (height, width); by default the pictures' own if it is one size, else `DEFAULT_SIZE`.
    channels : int, optional
        1 for grey, 3 for RGB; by default grey if every picture is.
    title : str
        What the progress bar says.

    Returns
    -------
    ndarray of shape (k, H, W, C), dtype uint8

    Raises
    ------
    DataError
        Pictures cannot be read; the message names the first.
    """
    size, failures = image_size, {}
    pictures: list[np.ndarray] = []
    for row in track(rows, desc=title, unit=" pictures", delay=1):
        try:
            picture = listing.read(row)
        except PictureError as error:
            failures[str(error)] = None
            continue
        if channels:
            picture = to_gray(picture) if channels == 1 else to_rgb(picture)
        if size is None and pictures and picture.shape[:2] != pictures[0].shape[:2]:
            size = DEFAULT_SIZE
            pictures = [resize(kept, size) for kept in pictures]
            listing.notes.append(f"Pictures of several sizes were brought to {size[0]} x {size[1]} pixels.")
        pictures.append(picture if size is None else resize(picture, size))
    if failures:
        first = " ".join(list(failures)[:_NAMED_FAILURES])
        raise DataError(f"{len(failures)} of {len(rows):,} pictures cannot be read; repair or remove them. {first}")
    return _stack(pictures, channels)


def _stack(pictures: list[np.ndarray], channels: int | None) -> np.ndarray:
    """Empty a list of pictures of one size into (n, H, W, C): RGB if one of them is, grey if none shows any colour."""
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [to_rgb(picture) for picture in pictures]
    images = np.empty((len(pictures), *pictures[0].shape), dtype=np.uint8)
    # Moved one by one from the end, so that the pictures are not in memory twice.
    while pictures:
        last = pictures.pop()
        images[len(pictures)] = last
    if channels is None and images.shape[-1] == 3 and all((image == image[..., :1]).all() for image in images):
        return np.ascontiguousarray(images[..., :1])
    return images


def _sample_counts(counts: list[int], sample_size: int) -> list[int]:
    """Return how many to take of each stratum, in proportion to its count, one at least where there is room."""
    if sample_size < len(counts):
        return allot(sample_size, counts)
    others = [count - 1 for count in counts]
    return [1 + take for take in allot(sample_size - len(counts), others)]
