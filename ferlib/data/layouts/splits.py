"""The split that the name of a folder, a file or a value means, and how folders of no known split are settled."""

import fnmatch
import functools
from collections.abc import Mapping

from ferlib.core.emotions import split_words

#: FER2013's own names of its splits, the values of the column ``Usage``.
FER2013_USAGES = ("Training", "PublicTest", "PrivateTest")

_STEMS = {
    "train": ("train", "training", "trained", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "tests", "publictest", "privatetest", "holdout"),
}
_ENDINGS = ("", "set", "data", "dataset", "split", "images", "image", "faces", "part", "folder", "labels", "label")
_SPLIT_WORDS = {stem + ending: split for split, stems in _STEMS.items() for stem in stems for ending in _ENDINGS}


@functools.lru_cache(maxsize=4096)
def split_of_name(name: str) -> str | None:
    """Return ``"train"``, ``"val"`` or ``"test"`` if a name has words of exactly one of them, else None.

    Examples
    --------
    >>> [split_of_name(name) for name in ("Training Set", "FER2013Valid", "test_images", "train_val", "contest")]
    ['train', 'val', 'test', None, None]
    """
    found = {_SPLIT_WORDS[word] for word in split_words(name) if word in _SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def split_of_usage(usage: str) -> str:
    """Return the split of one of FER2013's usages: ``"train"`` or ``"test"``."""
    return "train" if usage == "Training" else "test"


def usage_of_name(name: str) -> str:
    """Return the FER2013 usage that a file's name begins with, or ""."""
    start = name.rpartition("/")[2].partition("_")[0]
    return start if start in FER2013_USAGES else ""


def usage_of_folder(name: str) -> str:
    """Return the FER2013 usage that a folder is named after, in any case and with any separators, or ""."""
    letters = "".join(character for character in name.lower() if character.isalpha())
    return next((usage for usage in FER2013_USAGES if usage.lower() == letters), "")


def chosen_split(parts: tuple[str, ...], split_folders: Mapping[str, str]) -> str | None:
    """Return what the user chose for a file in folders with these names: a split, ``"none"``, or None for nothing.

    A pattern is compared with the name of each folder and with its path, the deepest folder first; without folders with
    ``"."``.
    """
    parts = parts or (".",)
    for depth in range(len(parts), 0, -1):
        for name in (parts[depth - 1], "/".join(parts[:depth])):
            for pattern, split in split_folders.items():
                if fnmatch.fnmatchcase(name, pattern.strip("/")):
                    return split
    return None
