"""Class folders: one folder per emotion, optionally inside folders for train, validation and test."""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ferlib.core.emotions import EMOTIONS, match_emotion
from ferlib.core.errors import DataError
from ferlib.core.images import IMAGE_SUFFIXES, decode_image
from ferlib.core.signatures import HEAD_BYTES, sniff_kind
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions, describe_tree
from ferlib.data.labels import convert_labels
from ferlib.data.layouts.fer2013 import is_fer2013, matches_counts
from ferlib.data.layouts.splits import chosen_split, split_of_name, split_of_usage, usage_of_folder, usage_of_name
from ferlib.synthetic import is_synthetic

# The names of the folder that the user gave which are taken as a split; others may be any folder of data.
_ROOT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})

_TEXT_SUFFIXES = frozenset({".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".py", ".ipynb", ".npy", ".mat", ".lst"})

_RAFDB_NAME = re.compile(r"(train_\d{5}|test_\d{4})(_aligned)?\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class _ImageFile:
    """An image file, the folders around it, the level of its class folder, its split and FER2013 usage ("" for none).

    `is_proven` tells whether the file's name says the usage, not only a folder's.
    """

    name: str
    folders: tuple[str, ...]
    level: int | None = None
    split: str = ""
    usage: str = ""
    is_proven: bool = False

    @property
    def label(self) -> str:
        """The name of the class folder, "" for none."""
        return "" if self.level is None else self.folders[self.level]

    @property
    def place(self) -> str:
        """The path of the folder that contains the class folder."""
        return "/".join(self.folders[: self.level])


def matches(tree: FileTree) -> bool:
    """Return whether any image is in a class folder, named by an emotion or a number."""
    return any(file.level is not None for file in _find_images(tree))


def has_named_classes(tree: FileTree) -> bool:
    """Return whether any image is in a folder that is named by an emotion."""
    return any(match_emotion(file.label) for file in _find_images(tree) if file.label)


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index the images of class folders: ``train/happy/1.jpg``, ``Test Set/0_Angry/2.png``, ``fear/3.png``.

    A class folder is named by any spelling of an emotion, or by a number if a label order is given or the file names
    are those of FER2013 or RAF-DB. The nearest folder with a word for train, validation or test in its name gives the
    split, also inside the class folder. Without a test split, validation is used as test; without any split, all
    images are train. Other classes and images elsewhere are left out, with notes. If an archive has the same files
    twice under different folders, one of each is used.

    Raises
    ------
    DataError
        Classes are numbers of unknown meaning, a class name is misspelled, or several folders have the same classes
        and it is unknown which split they are.
    """
    notes: list[str] = []
    files = _choose_splits(tree, _find_usages(_keep_classes(tree, _find_images(tree), notes)), options)
    files = _drop_copies(tree, files, notes)
    files, labels, left_out = _label(tree, files, options, notes)
    _ask_about_places(tree, files, labels)
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
        left_out=left_out,
    )


def is_image(tree: FileTree, name: str) -> bool:
    """Return whether a file is an image by its suffix, or by its first bytes if the suffix is unknown."""
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if suffix in _TEXT_SUFFIXES:
        return False
    try:
        with tree.open(name) as stream:
            return sniff_kind(stream.read(HEAD_BYTES)) == "image"
    except DataError:
        return False


def is_rafdb_name(name: str) -> bool:
    """Return whether a file is named as RAF-DB's are, such as ``train_00001_aligned.jpg``."""
    return _RAFDB_NAME.fullmatch(posixpath.basename(name)) is not None


def _find_images(tree: FileTree) -> list[_ImageFile]:
    """Return the images with their class folders: the deepest one with an emotion's name, else that with a number."""
    files = [_ImageFile(name, tuple(name.split("/")[:-1])) for name in tree.names if is_image(tree, name)]
    named = [replace(file, level=_deepest(file.folders, match_emotion)) for file in files]
    if any(file.level is not None for file in named):
        return named
    return [replace(file, level=_deepest(file.folders, re.compile(r"\d{1,2}").fullmatch)) for file in files]


def _deepest(folders: Sequence[str], is_class: object) -> int | None:
    return next((level for level in reversed(range(len(folders))) if is_class(folders[level])), None)  # type: ignore[operator]


def _keep_classes(tree: FileTree, files: list[_ImageFile], notes: list[str]) -> list[_ImageFile]:
    """Return the images in class folders and in unknown folders next to them; add a note on all other files."""
    places = {file.folders[: file.level] for file in files if file.level is not None}
    kept, outside = [], []
    for file in files:
        level = file.level
        if level is None:
            # A folder is on the level of classes if it is next to one, or directly in the folder of a split.
            levels = range(len(file.folders) - 1, -1, -1)
            level = next(
                (
                    level
                    for level in levels
                    if not split_of_name(file.folders[level])
                    and (file.folders[:level] in places or (level and split_of_name(file.folders[level - 1])))
                ),
                None,
            )
        if level is None:
            outside.append(file.name)
        else:
            kept.append(replace(file, level=level))
    if outside:
        notes.append(f"Left out: {counted(len(outside), 'image')} outside class folders, the first {outside[0]}.")
    images = {file.name for file in files}
    tops = {"/".join(file.folders[: (file.level or 0) + 1]) for file in kept}
    others = [name for name in tree.names if name not in images and _is_inside(name, tops)]
    if others:
        counts = Counter(posixpath.splitext(name)[1].lower() or "no suffix" for name in others)
        listed = ", ".join(f"{suffix} {count:,}" for suffix, count in counts.most_common())
        notes.append(f"Left out as not images: {counted(len(others), 'file')} in class folders ({listed}).")
    return kept


def _is_inside(name: str, folders: set[str]) -> bool:
    parts = name.split("/")[:-1]
    return any("/".join(parts[:depth]) in folders for depth in range(1, len(parts) + 1))


def _choose_splits(tree: FileTree, files: list[_ImageFile], options: ReadOptions) -> list[_ImageFile]:
    """Return the files with their splits: as the user chose, or by the names of folders, the deepest first."""
    # The user may have given the path of the folder "train" or "test" itself.
    name = tree.path.resolve().name.lower() if tree.kind == "folder" else ""
    root = (split_of_name(name) or "") if name in _ROOT_NAMES else ""
    chosen = []
    for file in files:
        others = tuple(part for level, part in enumerate(file.folders) if level != file.level)
        split = chosen_split(others, options.split_folders)
        if split and not file.is_proven:  # the user says what the folder is
            file = replace(file, usage="")
        if split is None:
            split = next((found for part in reversed(others) if (found := split_of_name(part))), root)
        if split != "none":
            chosen.append(replace(file, split=split))
    if not chosen:
        raise DataError("No images are left: --split-folder leaves out all folders.")
    return chosen


def _find_usages(files: list[_ImageFile]) -> list[_ImageFile]:
    """Return the files with their FER2013 usages: by their names, else by folders such as ``PublicTest``."""
    folders = {name: usage_of_folder(name) for file in files for name in file.folders}
    # A folder "training" alone says nothing.
    if not {"PublicTest", "PrivateTest"} & set(folders.values()):
        folders = {}
    found = []
    for file in files:
        usage = usage_of_name(file.name)
        by_folder = next((folders[name] for name in reversed(file.folders) if folders.get(name)), "")
        found.append(replace(file, usage=usage or by_folder, is_proven=bool(usage)))
    return found


def _drop_copies(tree: FileTree, files: list[_ImageFile], notes: list[str]) -> list[_ImageFile]:
    """Return the images without those whose bytes are also in another folder under the same name."""
    first: dict[tuple[str, str, str], str] = {}
    kept = []
    for file in sorted(files, key=lambda file: (file.name.count("/"), file.name)):
        earlier = first.setdefault((file.split, file.label, posixpath.basename(file.name)), file.name)
        is_copy = earlier != file.name and tree.size(earlier) == tree.size(file.name)
        if not (is_copy and tree.read(earlier) == tree.read(file.name)):
            kept.append(file)
    if len(kept) < len(files):
        notes.append(f"Used once: {counted(len(files) - len(kept), 'file')} found in two folders.")
    return sorted(kept, key=lambda file: file.name)


def _label(
    tree: FileTree, files: list[_ImageFile], options: ReadOptions, notes: list[str]
) -> tuple[list[_ImageFile], np.ndarray, list[str]]:
    """Return the images whose folder is an emotion, their codes (n,), and sentences on other folders."""
    codes, others, left_out = convert_labels(
        [file.label for file in files],
        source=str(tree.path),
        order=options.label_order,
        proven=_proven_order(files),
        what="The folder",
        skip_unknown=options.skip_unknown,
    )
    notes.extend(others)
    if tree.skipped:
        left_out.append(
            f"Left out: {counted(len(tree.skipped), 'broken link or special file')}, the first {tree.skipped[0]}."
        )
    return [file for file, code in zip(files, codes, strict=True) if code >= 0], codes[codes >= 0], left_out


def _proven_order(files: Sequence[_ImageFile]) -> str | None:
    """Return the dataset whose numbering the file names, or the published counts, prove."""
    names = [posixpath.basename(file.name) for file in files]
    if all(file.is_proven for file in files):
        return "fer2013"
    if all(map(is_rafdb_name, names)):
        return "rafdb"
    counts = Counter(file.label for file in files)
    return "fer2013" if matches_counts([counts[str(code)] for code in range(len(EMOTIONS))]) else None


def _ask_about_places(tree: FileTree, files: Sequence[_ImageFile], labels: np.ndarray) -> None:
    """Raise if several folders contain the same classes and it is not known which split each of them is."""
    classes = defaultdict(set)
    unknown = set()
    for file, label in zip(files, labels.tolist(), strict=True):
        classes[file.place].add(label)
        if not (file.split or file.usage):
            unknown.add(file.place)
    for place in sorted(unknown):
        other = next((name for name in classes if name != place and classes[name] & classes[place]), None)
        if other is not None:
            shown = sorted(classes, key=lambda name: (name not in unknown, name))
            listed = ", ".join(f"'{name or '.'}'" for name in shown[:4]) + (" and others" if len(shown) > 4 else "")
            raise DataError(
                f"{tree.path}: the folders {listed} have the same classes, and the name '{place or '.'}' does not say "
                f"which split it is; name each with --split-folder, such as --split-folder "
                f"'{posixpath.basename(place) or '*'}=train' (train, val, test, or none to leave it out; '*=train' "
                "for all)."
            )


def _settle_splits(files: list[_ImageFile], notes: list[str]) -> np.ndarray:
    """Return the split of each image (n,): by its folder, else by its usage, else train."""
    splits = [file.split or (split_of_usage(file.usage) if file.usage else "train") for file in files]
    if not any(file.split or file.usage for file in files):
        notes.append("No folder names a split: all images are train.")
    return settle_test(splits, notes)


def settle_test(splits: list[str], notes: list[str]) -> np.ndarray:
    """Return splits (n,) in which validation is test if there is no test."""
    if "val" in splits and "test" not in splits:
        notes.append("There is no test folder: validation is used as test.")
        splits = ["test" if split == "val" else split for split in splits]
    return np.array(splits, dtype=str)
