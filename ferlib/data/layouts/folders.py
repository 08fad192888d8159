"""Class folders: one folder per emotion, optionally inside folders for train, validation and test."""

import posixpath
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ferlib.core.emotions import EMOTIONS, is_emotion, parse_emotion
from ferlib.core.errors import DataError
from ferlib.core.images import IMAGE_SUFFIXES, decode_image
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, describe_tree
from ferlib.data.layouts.fer2013 import FER2013_USAGES, is_fer2013, split_of_usage
from ferlib.synthetic import is_synthetic

_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "publictest", "privatetest"), "test"),
}
_CODES = frozenset(str(code) for code in range(len(EMOTIONS)))


@dataclass(frozen=True)
class _ImageFile:
    """An image file, the name of its folder, and the split that its folders name ("" for none)."""

    name: str
    folder: str
    split: str

    @property
    def is_classified(self) -> bool:
        """Whether the folder stands for an emotion."""
        return is_emotion(self.folder) or self.folder in _CODES

    @property
    def parent(self) -> str:
        """The folder above the file's folder."""
        return posixpath.dirname(posixpath.dirname(self.name))

    @property
    def usage(self) -> str:
        """The FER2013 usage that the file's name begins with, or ""."""
        start = posixpath.basename(self.name).split("_")[0]
        return start if start in FER2013_USAGES else ""


def matches(tree: FileTree) -> bool:
    """Return whether any image is in a class folder."""
    return any(file.is_classified for file in _find_images(tree))


def index_images(tree: FileTree, *, crop_margin: float, skip_unknown: bool) -> ImageIndex:  # noqa: ARG001
    """Index the images of class folders: ``train/happy/1.jpg``, ``images/validation/sad/2.png``, ``fear/3.png``.

    A class folder is named by any spelling of an emotion or by its FER2013 code. The nearest folder above it with the
    name of a split gives the split. Without a test split, validation is used as test; without any split, all images
    are train. Images elsewhere are left out, with a note. If an archive has the same files twice under different
    folders, one of each is used. Raises DataError if a folder next to class folders is not an emotion, unless
    `skip_unknown` is set.
    """
    notes: list[str] = []
    files = _keep_classes(tree, _find_images(tree), notes, skip_unknown=skip_unknown)
    files = _drop_copies(tree, files, notes)
    labels = np.array([EMOTIONS.index(parse_emotion(file.folder)) for file in files], dtype=np.int64)
    usages = np.array([file.usage for file in files], dtype=str)
    synthetic = is_synthetic(tree.names)
    title = "synthetic faces" if synthetic else "FER2013" if is_fer2013(labels, usages) else "folder"
    return ImageIndex(
        names=np.array([file.name for file in files], dtype=str),
        labels=labels,
        splits=_settle_splits(files, notes),
        source_splits=usages if usages.any() else None,
        read=lambda row: decode_image(tree.read(files[row].name), name=files[row].name),
        info=describe_tree(tree, title=title, layout="folders", synthetic=synthetic),
        notes=notes,
    )


def _find_images(tree: FileTree) -> list[_ImageFile]:
    # The user may have given the path of the folder "train" or "test" itself.
    above = [tree.path.resolve().name] if tree.kind == "folder" else []
    files = []
    for name in tree.names:
        if posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES:
            *parents, folder = ["", *name.split("/")[:-1]]
            splits = [part.lower() for part in reversed(above + parents) if part.lower() in _SPLIT_FOLDERS]
            files.append(_ImageFile(name, folder, _SPLIT_FOLDERS[splits[0]] if splits else ""))
    return files


def _keep_classes(tree: FileTree, files: list[_ImageFile], notes: list[str], *, skip_unknown: bool) -> list[_ImageFile]:
    """Return the images in class folders; raise, or add a note, for other folders next to them."""
    kept = [file for file in files if file.is_classified]
    class_parents = {file.parent for file in kept}
    unknown, outside = defaultdict(list), []
    for file in files:
        if file.is_classified:
            continue
        is_class_level = file.parent in class_parents or posixpath.basename(file.parent).lower() in _SPLIT_FOLDERS
        # Images directly in a folder such as "test" have no class; that is no reason to refuse the others.
        if file.folder and is_class_level and file.folder.lower() not in _SPLIT_FOLDERS:
            unknown[file.folder].append(file.name)
        else:
            outside.append(file.name)
    if unknown and not skip_unknown:
        folder, names = next(iter(unknown.items()))
        raise DataError(
            f"{tree.path}: the folder '{folder}' ({len(names):,} images, such as {names[0]}) is not one of the "
            f"emotions {', '.join(EMOTIONS)}; remove it, or name the emotions to use."
        )
    for folder, names in unknown.items():
        notes.append(f"The folder '{folder}' is not an emotion: {len(names):,} images left out.")
    if outside:
        notes.append(f"{len(outside):,} images outside class folders were left out, the first {outside[0]}.")
    if any(file.folder in _CODES for file in kept):
        notes.append("Class folders named 0 to 6 were read as FER2013's codes.")
    return kept


def _drop_copies(tree: FileTree, files: list[_ImageFile], notes: list[str]) -> list[_ImageFile]:
    """Return the images without those whose bytes are also in another folder under the same name."""
    first: dict[tuple[str, str, str], str] = {}
    kept = []
    for file in sorted(files, key=lambda file: (file.name.count("/"), file.name)):
        earlier = first.setdefault((file.split, file.folder, posixpath.basename(file.name)), file.name)
        is_copy = earlier != file.name and tree.size(earlier) == tree.size(file.name)
        if not (is_copy and tree.read(earlier) == tree.read(file.name)):
            kept.append(file)
    if len(kept) < len(files):
        notes.append(f"{len(files) - len(kept):,} files are in two folders; one copy of each was used.")
    return sorted(kept, key=lambda file: file.name)


def _settle_splits(files: list[_ImageFile], notes: list[str]) -> np.ndarray:
    """Return the split of each image (n,): by its folder, else by the usage in its name, else train."""
    splits = [file.split or (split_of_usage(file.usage) if file.usage else "train") for file in files]
    if not any(file.split or file.usage for file in files):
        notes.append("No folder names a split: all images are train.")
    if "val" in splits and "test" not in splits:
        notes.append("There is no test folder: validation is used as test.")
        splits = ["test" if split == "val" else split for split in splits]
    return np.array(splits, dtype=str)
