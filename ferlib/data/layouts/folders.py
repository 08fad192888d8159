"""Data sets with a folder for each class, alone or under folders for train, validation and test."""

import posixpath
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from ferlib.core.emotions import EMOTIONS, is_emotion, parse_emotion
from ferlib.core.errors import DataError
from ferlib.core.images import IMAGE_SUFFIXES, decode_image
from ferlib.data.archive import FileTree
from ferlib.data.dataset import USAGES
from ferlib.data.index import ImageIndex
from ferlib.data.layouts.fer2013 import is_fer2013, split_of_usage

_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "publictest": "test",
    "privatetest": "test",
}
_CODES = frozenset(str(code) for code in range(len(EMOTIONS)))


class _File(NamedTuple):
    """A image in a class folder; `split` is "" where no folder tells it."""

    name: str
    split: str
    folder: str


def list_folders(tree: FileTree, *, skip_unknown: bool = False) -> ImageIndex:
    """List the images of class folders: ``train/happy/1.jpg``, ``images/validation/sad/2.png``, ``fear/3.png``.

    A class folder is named as an emotion in any of its spellings, or by its FER2013 code; what stands above it says
    which split it is in, if anything does. Images elsewhere are left out, with a note. Where an archive holds the
    same files twice under two prefixes, the first is taken.

    Parameters
    ----------
    tree : FileTree
        Must stay open while the listing is read.
    skip_unknown : bool
        Leave out class folders that are none of the seven emotions, with a note, instead of refusing them.

    Returns
    -------
    ImageIndex
        Without a test split, validation is taken for it; without any, all are train.

    Raises
    ------
    DataError
        There are no class folders, or one beside them is no emotion.
    """
    images = [name for name in tree.names if posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    # A person may have named the folder train or test itself.
    above = [tree.path.resolve().name] if tree.kind == "folder" else []
    notes: list[str] = []
    files = _keep_classes(tree, [_place(name, above) for name in images], notes, skip_unknown=skip_unknown)
    files = _drop_copies(tree, files, notes)
    labels = np.array([EMOTIONS.index(parse_emotion(file.folder)) for file in files], dtype=np.int64)
    usages = np.array([_usage_of(file.name) for file in files], dtype=str)
    synthetic = any(posixpath.basename(name) == "SYNTHETIC.txt" for name in tree.names)
    title = "synthetic faces" if synthetic else "FER2013" if is_fer2013(labels, usages) else "folder"
    return ImageIndex(
        names=np.array([file.name for file in files], dtype=str),
        labels=labels,
        splits=_settle_splits([file.split for file in files], usages, notes),
        usages=usages,
        read=lambda row: decode_image(tree.read(files[row].name), name=files[row].name),
        title=title,
        layout="folders",
        synthetic=synthetic,
        notes=notes,
    )


def _place(name: str, above: list[str]) -> _File:
    """Return where an image stands: its class folder, and the split that the nearest folder above that tells."""
    *parents, folder = ["", *name.split("/")[:-1]]
    splits = [part.lower() for part in reversed(above + parents) if part.lower() in _SPLIT_FOLDERS]
    return _File(name, _SPLIT_FOLDERS[splits[0]] if splits else "", folder)


def _keep_classes(tree: FileTree, files: list[_File], notes: list[str], *, skip_unknown: bool) -> list[_File]:
    """Return the images in class folders; refuse, or note, folders that stand where only classes should."""
    kept = [file for file in files if _is_class(file.folder)]
    if not kept:
        raise DataError(
            f"{tree.path} is in no layout that is known: there is no folder named as an emotion with images in it, "
            "no CSV with a column 'pixels', and no ExpW label.lst."
        )
    class_parents = {_grandparent(file.name) for file in kept}
    strangers, outside = defaultdict(list), []
    for file in files:
        if _is_class(file.folder):
            continue
        parent = _grandparent(file.name)
        is_beside = file.folder and (parent in class_parents or posixpath.basename(parent).lower() in _SPLIT_FOLDERS)
        # Images right in a folder such as test have no class; they are no reason to refuse the others.
        if is_beside and file.folder.lower() not in _SPLIT_FOLDERS:
            strangers[file.folder].append(file.name)
        else:
            outside.append(file.name)
    if strangers and not skip_unknown:
        folder, names = next(iter(strangers.items()))
        raise DataError(
            f"{tree.path}: the folder '{folder}' ({len(names):,} images, such as {names[0]}) is none of the emotions "
            f"{', '.join(EMOTIONS)}; take it out, or name the emotions to use."
        )
    notes += [
        f"The folder '{folder}' is no emotion: {len(names):,} images left out." for folder, names in strangers.items()
    ]
    if outside:
        notes.append(f"{len(outside):,} images outside class folders were left out, the first {outside[0]}.")
    if any(file.folder in _CODES for file in kept):
        notes.append("Class folders named 0 to 6 were read as FER2013's codes.")
    return kept


def _drop_copies(tree: FileTree, files: list[_File], notes: list[str]) -> list[_File]:
    """Return the images, each file once that stands under two prefixes with the same bytes."""
    first: dict[tuple, str] = {}
    kept = []
    for file in sorted(files, key=lambda file: (file.name.count("/"), file.name)):
        key = (file.split, file.folder, posixpath.basename(file.name))
        earlier = first.setdefault(key, file.name)
        if earlier == file.name or not _is_same_file(tree, earlier, file.name):
            kept.append(file)
    if len(kept) < len(files):
        notes.append(f"{len(files) - len(kept):,} files stand twice, under two folders; one of each was taken.")
    return sorted(kept)


def _is_same_file(tree: FileTree, one: str, other: str) -> bool:
    """Return whether two files have the same bytes."""
    return tree.size(one) == tree.size(other) and tree.read(one) == tree.read(other)


def _settle_splits(splits: list[str], usages: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return a split for each image (n,): by its folder, else by the usage in its name, else train."""
    settled = [
        split or (split_of_usage(usage) if usage else "train") for split, usage in zip(splits, usages, strict=True)
    ]
    if not any(splits) and not usages.any():
        notes.append("No folder tells the split: all images are train.")
    if "val" in settled and "test" not in settled:
        notes.append("There is no test folder: validation is taken for test.")
        settled = ["test" if split == "val" else split for split in settled]
    return np.array(settled, dtype=str)


def _is_class(folder: str) -> bool:
    """Return whether a folder's name stands for an emotion."""
    return is_emotion(folder) or folder in _CODES


def _grandparent(name: str) -> str:
    """Return the folder above a file's folder."""
    return posixpath.dirname(posixpath.dirname(name))


def _usage_of(name: str) -> str:
    """Return the part of FER2013 that a file's name begins with, or ""."""
    start = posixpath.basename(name).split("_")[0]
    return start if start in USAGES else ""
