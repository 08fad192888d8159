"""Load a dataset in any known layout."""

import contextlib
import dataclasses
import json
import logging
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ferlib.core.emotions import EMOTIONS, suggest_emotion
from ferlib.core.errors import DataError
from ferlib.core.words import counted
from ferlib.data.archive import ARCHIVE_SUFFIXES, FileTree, open_tree
from ferlib.data.dataset import SPLITS, ImageDataset
from ferlib.data.index import ImageIndex, ReadOptions, SizeOptions, choose_classes, choose_rows, read_rows
from ferlib.data.labels import parse_label_order
from ferlib.data.layouts import LAYOUTS
from ferlib.data.layouts.delimited import is_table, read_header
from ferlib.data.layouts.fer2013 import matches_both_tests
from ferlib.data.layouts.folders import is_image

logger = logging.getLogger(__name__)

#: Which of FER2013's tests is the test split.
TestUsage = Literal["PublicTest", "PrivateTest", "all"]


def load_images(
    path: str | Path,
    *,
    emotions: str | Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    max_image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    crop_margin: float = 0.0,
    sample_size: int | None = None,
    seed: int = 0,
    label_order: str | None = None,
    split_folders: Mapping[str, str] | None = None,
    test_usage: TestUsage = "PublicTest",
    strict: bool = False,
    process: Callable[[np.ndarray], np.ndarray | None] | None = None,
) -> ImageDataset:
    """Load a dataset from a zip, a tar, a folder, a CSV, a Parquet file, or an NPZ that `ImageDataset.save` wrote.

    The layout is recognized from the files; ``docs/data.md`` lists the layouts. Choices made while loading are
    explained in ``info.notes``. Images that cannot be read, and classes that are not one of the seven emotions, are
    left out and counted there.

    Parameters
    ----------
    path : str or Path
    emotions : str or sequence of str, optional
        The emotions to keep, in any spelling; labels are codes into this subset. All seven by default.
    image_size : tuple of int, optional
        The (height, width) to resize to. By default images of one size keep it; others become 48 x 48, and ExpW's
        faces 64 x 64.
    max_image_size : tuple of int, optional
        The (height, width) that larger images, and images of different sizes, are resized to; the size of a model.
    channels : int, optional
        1 for gray, 3 for RGB. By default gray if every image is gray; ExpW is RGB.
    crop_margin : float
        What to add on each side of the square around a box (ExpW, AffectNet), as a fraction of it. Other layouts have
        no boxes.
    sample_size, seed : int
        Load only this many images, chosen at random and stratified by split and class.
    label_order : str, optional
        What numbers as labels mean: a name of `ferlib.data.labels.LABEL_ORDERS`, or the classes separated by commas,
        in the order of the numbers or as pairs such as ``1=surprise``.
    split_folders : mapping, optional
        Names or patterns of folders to ``"train"``, ``"val"``, ``"test"``, or ``"none"`` to leave a folder out.
    test_usage : {"PublicTest", "PrivateTest", "all"}
        Which of FER2013's two tests is the test split, where the source has both; the other one is left out.
        PrivateTest is for one final measurement, after all choices are made.
    strict : bool
        Refuse the dataset if an image cannot be read or a class is not an emotion.
    process : callable, optional
        Takes each decoded image, uint8 (H, W, C), and returns the image to use, or None to leave it out;
        `ferlib.faces.crops.FaceCropper` cuts out the face.

    Raises
    ------
    DataError
        The path is missing or in no known layout; classes are numbers of unknown meaning or misspelled; the split of
        folders is unknown; no image can be read; or `strict` is set and something would be left out.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"channels must be 1 (gray) or 3 (RGB), got {channels}.")
    folders = check_split_folders(split_folders or {})
    with open_tree(path) as tree:
        layout = next((layout for layout in LAYOUTS if layout.matches(tree)), None)
        if layout is None:
            raise DataError(_describe_unknown(tree))
        if label_order is None and not folders:
            label_order, folders = _recorded_reading(tree)
        options = ReadOptions(
            crop_margin=crop_margin,
            skip_unknown=bool(emotions),
            label_order=parse_label_order(label_order) if label_order else None,
            split_folders=folders,
        )
        index = layout.index_images(tree, options)
        index = _choose_test(index, test_usage)
        class_names = choose_classes(emotions, index.class_names)
        chosen = choose_rows(index, class_names, sample_size=sample_size, seed=seed)
        size = image_size or (None if max_image_size else index.image_size)
        images, rows = read_rows(
            index,
            chosen,
            SizeOptions(size, max_image_size, channels or index.channels),
            title=f"Reading {tree.path.name}",
            process=process,
        )
    if strict and index.left_out:
        raise DataError(f"{path}: --strict allows no fault. {' '.join(index.left_out)}")
    index.notes += index.left_out
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
            sample_size=sample_size if sample_size == len(chosen) else index.info.sample_size,
            label_order=label_order or index.info.label_order,
            split_folders=folders or index.info.split_folders,
            detected=getattr(process, "detects_faces", False) or index.info.detected,
            crop=index.info.crop or getattr(process, "geometry", None),
        ),
        groups=None if index.groups is None else index.groups[rows],
        source_splits=None if index.source_splits is None else index.source_splits[rows],
    )


def check_split_folders(split_folders: Mapping[str, str]) -> dict[str, str]:
    """Return the mapping; raise DataError if a value is not a split or ``"none"``."""
    for folder, split in split_folders.items():
        if split not in (*SPLITS, "none"):
            raise DataError(f"--split-folder {folder}: expected train, val, test or none, got '{split}'.")
    return dict(split_folders)


def _choose_test(index: ImageIndex, test_usage: TestUsage) -> ImageIndex:
    """Return the index with one of FER2013's two tests, where it has both."""
    usages = index.source_splits
    if usages is None:
        if index.info.title == "FER2013" and matches_both_tests(index.labels[index.splits == "test"]):
            index.notes.append("test is PublicTest and PrivateTest together: the file names do not tell them apart.")
        return index
    if "PublicTest" not in usages or "PrivateTest" not in usages or test_usage == "all":
        return index
    other = "PrivateTest" if test_usage == "PublicTest" else "PublicTest"
    kept = usages != other
    rows, read = np.flatnonzero(kept), index.read
    what = "PrivateTest, the final test" if other == "PrivateTest" else "PublicTest"
    return dataclasses.replace(
        index,
        names=index.names[kept],
        labels=index.labels[kept],
        splits=index.splits[kept],
        source_splits=usages[kept],
        groups=None if index.groups is None else index.groups[kept],
        read=lambda row: read(int(rows[row])),
        notes=[*index.notes, f"test is {test_usage}. Left out: {counted(int((~kept).sum()), 'image')} of {what}."],
    )


def _recorded_reading(tree: FileTree) -> tuple[str | None, dict[str, str]]:
    """Return the label order and the split folders that ``ferlib download`` recorded in the manifest of this file."""
    manifest = tree.path.with_suffix(".manifest.json")
    if tree.kind == "folder" or not manifest.is_file():
        return None, {}
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        recorded = json.loads(manifest.read_text(encoding="utf-8"))
        order, folders = recorded.get("label_order"), recorded.get("split_folders") or {}
        if (order or folders) and recorded.get("sha256") == tree.sha256():
            return order, check_split_folders({str(name): str(split) for name, split in folders.items()})
    return None, {}


def _describe_unknown(tree: FileTree) -> str:
    """Return a sentence on a source in no known layout: what it has, and what to do."""
    nested = [name for name in tree.names if name.lower().endswith(ARCHIVE_SUFFIXES)]
    if nested and tree.kind != "file":
        return f"{tree.path} contains another archive, '{nested[0]}': unpack it and name that."
    tables = [name for name in tree.names if is_table(name) or tree.kind == "file"]
    images = [name for name in tree.names if is_image(tree, name)]
    if not images:
        columns = [f"{name} has the columns {', '.join(read_header(tree, name)[:10])}" for name in tables[:3]]
        suffixes = Counter(posixpath.splitext(name)[1].lower() or "no suffix" for name in tree.names)
        found = "; ".join(columns) or ", ".join(f"{suffix} {n:,}" for suffix, n in suffixes.most_common(5))
        return (
            f"{tree.path} is not in a known layout: it has no images, and no CSV with the columns emotion and pixels. "
            f"It has: {found}."
        )
    folders = Counter(posixpath.dirname(name) for name in images)
    near = {folder: suggest_emotion(posixpath.basename(folder)) for folder in folders}
    hints = [f"'{folder}' for {emotion}" for folder, emotion in near.items() if emotion]
    hint = f" Did you mean {', '.join(hints[:7])}? Rename them." if hints else ""
    shown = ", ".join(f"'{folder or '.'}' ({n:,})" for folder, n in folders.most_common(5))
    return (
        f"{tree.path} is not in a known layout: no folder with images is named as an emotion ({', '.join(EMOTIONS)}), "
        f"no file name tells one, and there is no table of labels. Folders with images: {shown}.{hint}"
    )
