"""Load a dataset in any known layout."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlib.core.errors import DataError
from ferlib.data.archive import open_tree
from ferlib.data.dataset import ImageDataset
from ferlib.data.index import choose_classes, choose_rows, read_rows
from ferlib.data.layouts import LAYOUTS

logger = logging.getLogger(__name__)


def load_images(
    path: str | Path,
    *,
    emotions: str | Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    crop_margin: float = 0.0,
    sample_size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Load a dataset from a zip, a folder, a CSV, or an NPZ that `ImageDataset.save` wrote.

    The layout is recognized from the files: class folders with or without folders for the splits, FER2013's CSV files
    (also in a zip), or ExpW. Choices made while loading are explained in ``info.notes``.

    Parameters
    ----------
    path : str or Path
    emotions : str or sequence of str, optional
        The emotions to keep, in any spelling; labels are codes into this subset. All seven by default.
    image_size : tuple of int, optional
        The (height, width) to resize to. By default images of one size keep it; others become 48 x 48, and ExpW's
        faces 64 x 64.
    channels : int, optional
        1 for gray, 3 for RGB. By default gray if every image is gray; ExpW is RGB.
    crop_margin : float
        What to add on each side of ExpW's boxes, as a fraction of the box. Other layouts have no boxes.
    sample_size, seed : int
        Load only this many images, chosen at random and stratified by split and class.

    Raises
    ------
    DataError
        The path is missing or in no known layout, a class is not an emotion (and `emotions` is not given), or images
        cannot be read.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (gray) or 3 (RGB), got {channels}.")
    with open_tree(path) as tree:
        layout = next((layout for layout in LAYOUTS if layout.matches(tree)), None)
        if layout is None:
            raise DataError(
                f"{path} is not in a known layout: it has no folder named as an emotion with images in it, no CSV "
                "with a column 'pixels', and no ExpW label.lst."
            )
        index = layout.index_images(tree, crop_margin=crop_margin, skip_unknown=bool(emotions))
        class_names = choose_classes(emotions, index.class_names)
        rows = choose_rows(index, class_names, sample_size=sample_size, seed=seed)
        images = read_rows(
            index,
            rows,
            image_size=image_size or index.image_size,
            channels=channels or index.channels,
            title=f"Reading {tree.path.name}",
        )
    new_codes = np.array([class_names.index(name) if name in class_names else -1 for name in index.class_names])
    labels = new_codes[index.labels[rows]]
    absent = [name for code, name in enumerate(class_names) if code not in labels]
    if absent:
        index.notes.append(f"There are no images of {', '.join(absent)}.")
    if crop_margin and not index.has_boxes:
        index.notes.append("The crop margin had no effect: these images have no boxes.")
    for note in index.notes:
        logger.info(note)
    return ImageDataset(
        images=images,
        labels=labels,
        class_names=class_names,
        splits=index.splits[rows],
        names=index.names[rows],
        info=dataclasses.replace(
            index.info,
            notes=tuple(index.notes),
            sample_size=sample_size if sample_size == len(rows) else index.info.sample_size,
        ),
        groups=None if index.groups is None else index.groups[rows],
        source_splits=None if index.source_splits is None else index.source_splits[rows],
    )
