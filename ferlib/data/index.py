"""The index of a source: everything about its images except the decoded pixels, in any layout."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ferlib.core.apportion import apportion
from ferlib.core.console import progress_bar
from ferlib.core.data_info import DataInfo
from ferlib.core.emotions import EMOTIONS, parse_emotions
from ferlib.core.errors import ArchiveError, DataError, ImageError
from ferlib.core.images import fit, to_gray, to_rgb
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.labels import LabelOrder

logger = logging.getLogger(__name__)

#: The default (height, width) for images of different sizes: FER2013's.
DEFAULT_SIZE = (48, 48)

# Images of one size that would take more memory than this, in bytes, become `DEFAULT_SIZE` unless a size is given.
_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read, for layouts.

    Attributes
    ----------
    crop_margin : float
        Added on each side of the square around a box, as a fraction of it.
    skip_unknown : bool
        The user named the emotions to keep, so that others may be left out whatever their names.
    label_order : LabelOrder, optional
        What numbers as labels mean.
    split_folders : mapping
        Names or patterns of folders to ``"train"``, ``"val"``, ``"test"`` or ``"none"``.
    """

    crop_margin: float = 0.0
    skip_unknown: bool = False
    label_order: LabelOrder | None = None
    split_folders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SizeOptions:
    """The size and color of decoded images; see `ferlib.data.load_images`."""

    image_size: tuple[int, int] | None = None
    max_image_size: tuple[int, int] | None = None
    channels: int | None = None


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
    notes, left_out : list of str
        Sentences for the user: about choices made while reading, and about images that are left out because of a fault
        or of another class.
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
    left_out: list[str] = field(default_factory=list)


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
    index: ImageIndex,
    rows: np.ndarray,
    options: SizeOptions,
    *,
    title: str,
    process: Callable[[np.ndarray], np.ndarray | None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the images of some rows into one array, with a progress bar.

    By default images of one size keep it, others get `DEFAULT_SIZE` and a note; they stay gray if all are gray. Images
    that cannot be read are added to ``index.left_out``.

    Parameters
    ----------
    index : ImageIndex
    rows : ndarray of shape (k,), dtype int
    options : SizeOptions
    title : str
        Of the progress bar.
    process : callable, optional
        Takes an image and returns the one to use; images for which it returns None are left out, with a note.

    Returns
    -------
    images : ndarray of shape (m, H, W, C), dtype uint8
    rows : ndarray of shape (m,)
        The rows that could be read.

    Raises
    ------
    DataError
        No image can be read.
    """
    size = options.image_size
    failures: list[str] = []
    images: list[np.ndarray] = []
    kept: list[int] = []
    n_faceless = 0
    for row in progress_bar(rows, desc=title, unit=" images", delay=1):
        try:
            image = index.read(row)
        except (ImageError, ArchiveError) as error:
            failures.append(str(error))
            continue
        if process is not None and not index.has_boxes:
            processed = process(image)
            if processed is None:
                n_faceless += 1
                continue
            image = processed
        if options.channels:
            image = to_gray(image) if options.channels == 1 else to_rgb(image)
        if size is None:
            size = _choose_size(image, images, len(rows), options, index.notes)
            images = images if size is None else [fit(earlier, size) for earlier in images]
        images.append(image if size is None else fit(image, size))
        kept.append(row)
    index.left_out.extend(report_unreadable(failures, len(rows)))
    if n_faceless:
        index.notes.append(f"Left out without a face: {n_faceless:,} of {counted(len(rows), 'image')}.")
    if not images:
        raise DataError(f"There is no image to use. {' '.join(index.left_out or index.notes)}")
    return _stack(images, options.channels), np.array(kept, dtype=np.int64)


def _choose_size(
    image: np.ndarray, earlier: Sequence[np.ndarray], n: int, options: SizeOptions, notes: list[str]
) -> tuple[int, int] | None:
    """Return the size for all images from the next one and the earlier ones of one size; None to keep their size."""
    height, width = image.shape[:2]
    limit = options.max_image_size
    if earlier and image.shape[:2] != earlier[0].shape[:2]:
        size = limit or DEFAULT_SIZE
        notes.append(f"Images of different sizes were resized to {size[0]} x {size[1]} pixels.")
        return size
    if limit and height >= limit[0] and width >= limit[1] and (height, width) != limit:
        return limit
    if not earlier and image.size * n > _MAX_BYTES:
        notes.append(
            f"As {n:,} images of {height} x {width} pixels would take {image.size * n / 1e9:.1f} GB of memory, "
            f"they were resized to {DEFAULT_SIZE[0]} x {DEFAULT_SIZE[1]} pixels."
        )
        return DEFAULT_SIZE
    return None


def report_unreadable(failures: Sequence[str], n: int) -> list[str]:
    """Log each of `n` images that could not be read, and return a sentence on all of them in a list, or no sentence."""
    unique = list(dict.fromkeys(failures))
    for failure in unique:
        logger.warning("left out: %s", failure)
    if not unique:
        return []
    return [f"Left out as unreadable: {len(failures):,} of {counted(n, 'image')}. {' '.join(unique[:3])}"]


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
