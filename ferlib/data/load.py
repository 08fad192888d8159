"""Load any data set that is known, whatever its layout."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from ferlib.core.data_info import DataInfo
from ferlib.core.errors import DataError
from ferlib.data.archive import FileTree, open_tree
from ferlib.data.dataset import ImageDataset, read_saved
from ferlib.data.index import ImageIndex, choose_rows, read_rows, remap_labels, wanted_classes
from ferlib.data.layouts.expw import find_labels, list_expw
from ferlib.data.layouts.fer2013 import find_csv, list_csv
from ferlib.data.layouts.folders import list_folders

logger = logging.getLogger(__name__)


def load_images(
    path: str | Path,
    *,
    emotions: str | Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    margin: float = 0.0,
    sample_size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Load a data set from a zip, a folder, a CSV, or an NPZ that `ImageDataset.save` wrote.

    The layout is recognized by what is in it: class folders with or without folders for the splits, FER2013's CSV
    files (in a zip as well), or ExpW. What a reader should know about the choices made is in ``info.notes``.

    Parameters
    ----------
    path : str or Path
    emotions : str or sequence of str, optional
        Which emotions to keep, in any spelling; labels are codes into this subset. By default all seven.
    image_size : tuple of int, optional
        Bring every image to this (height, width). By default they stay as they are if they are of one size; else
        they become 48 x 48, and ExpW's faces 64 x 64.
    channels : int, optional
        1 for gray, 3 for RGB; by default gray if every image is. ExpW is RGB.
    margin : float
        How much of the photo to add around ExpW's boxes on each side, as a fraction of the box. Others have no boxes.
    sample_size : int, optional
        Load only so many images, in the proportions of the splits and classes.
    seed : int
        Chooses the sample.

    Returns
    -------
    ImageDataset

    Raises
    ------
    DataError
        The path is missing, in no known layout, holds a class that is no emotion (and no `emotions` are named),
        or images that cannot be read.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (gray) or 3 (RGB), got {channels}.")
    with open_tree(path) as tree:
        listing = _list_tree(tree, margin=margin, skip_unknown=bool(emotions))
        class_names = wanted_classes(emotions, listing.class_names)
        rows = choose_rows(listing, class_names, sample_size=sample_size, seed=seed)
        images = read_rows(
            listing,
            rows,
            image_size=image_size or listing.image_size,
            channels=channels or listing.channels,
            title=f"Reading {tree.path.name}",
        )
        info = listing.saved_info or DataInfo(
            title=listing.title,
            layout=listing.layout,
            path=tree.path.resolve().name,
            sha256=tree.sha256(),
            synthetic=listing.synthetic,
        )
    labels = remap_labels(listing.labels[rows], listing.class_names, class_names)
    absent = [name for code, name in enumerate(class_names) if code not in labels]
    if absent:
        listing.notes.append(f"There are no images of {', '.join(absent)}.")
    for note in listing.notes:
        logger.info(note)
    info = dataclasses.replace(info, notes=tuple(listing.notes))
    if sample_size == len(rows):
        info = dataclasses.replace(info, sample_size=sample_size)
    return ImageDataset(
        images=images,
        labels=labels,
        class_names=class_names,
        splits=listing.splits[rows],
        usages=listing.usages[rows],
        names=listing.names[rows],
        info=info,
        groups=None if listing.groups is None else listing.groups[rows],
    )


def _list_tree(tree: FileTree, *, margin: float, skip_unknown: bool) -> ImageIndex:
    """Return the listing of whichever layout a tree is in."""
    if tree.kind == "file" and tree.path.suffix.lower() == ".npz":
        return _list_saved(tree.path)
    labels_name = find_labels(tree)
    if labels_name:
        return list_expw(tree, labels_name, margin=margin)
    csv_name = find_csv(tree)
    listing = list_csv(tree, csv_name) if csv_name else list_folders(tree, skip_unknown=skip_unknown)
    if margin:
        listing.notes.append("The margin changed nothing: these images come without boxes.")
    return listing


def _list_saved(path: Path) -> ImageIndex:
    """Return the listing of a data set that ferlib saved."""
    saved = read_saved(path)
    return ImageIndex(
        names=saved.names,
        labels=saved.labels,
        splits=saved.splits,
        usages=saved.usages,
        read=saved.images.__getitem__,
        title=saved.info.title,
        layout=saved.info.layout,
        saved_info=saved.info,
        class_names=saved.class_names,
        groups=saved.groups,
        notes=list(saved.info.notes),
    )
