"""The emotion in the names of files: JAFFE (``KA.AN1.39.tiff``), KDEF, RaFD, and words as in ``happy_001.jpg``."""

import posixpath
import re

from ferlib.core.emotions import match_emotion, split_words
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions
from ferlib.data.layouts.folders import is_image, settle_test
from ferlib.data.layouts.listing import Listed, index_listed
from ferlib.data.layouts.splits import split_of_name

# The person and the code of the emotion.
_PATTERNS = {
    "JAFFE": re.compile(r"(?P<group>[A-Z]{2})\.(?P<label>AN|DI|FE|HA|NE|SA|SU)\d\.\d+", re.IGNORECASE),
    "KDEF": re.compile(r"(?P<group>[AB][FM]\d\d)(?P<label>AF|AN|DI|HA|NE|SA|SU)(FL|HL|S|HR|FR)", re.IGNORECASE),
}

# The share of images whose names have exactly one emotion, from which on names are taken as labels.
_SHARE = 0.9


def matches(tree: FileTree) -> bool:
    """Return whether nearly all images have an emotion in their names."""
    names = [name for name in tree.names if is_image(tree, name)]
    return len(names) > 1 and sum(_parse(name) is not None for name in names) >= _SHARE * len(names)


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index the images by the emotion in their names; folders may give the split.

    References
    ----------
    M. Lyons, S. Akamatsu, M. Kamachi, J. Gyoba, "Coding Facial Expressions with Gabor Wavelets", FG 1998 (JAFFE).
    D. Lundqvist, A. Flykt, A. Öhman, "The Karolinska Directed Emotional Faces (KDEF)", 1998.
    """
    names = [name for name in tree.names if is_image(tree, name)]
    listed, left_out = [], []
    titles = set()
    for name in names:
        parsed = _parse(name)
        if parsed is None:
            left_out.append(name)
            continue
        title, label, group = parsed
        titles.add(title)
        split = next((found for part in reversed(name.split("/")[:-1]) if (found := split_of_name(part))), "train")
        listed.append(Listed(name, label, split, group=group))
    notes = ["The emotions were read from the names of the files."]
    if left_out:
        notes.append(
            f"Left out: {counted(len(left_out), 'image')} without an emotion in the name, the first {left_out[0]}."
        )
    title = titles.pop() if len(titles) == 1 else "names"
    index = index_listed(tree, listed, options, source=str(tree.path), title=title, layout="names", notes=notes)
    index.splits = settle_test(index.splits.tolist(), index.notes)
    return index


def _parse(name: str) -> tuple[str, str, str] | None:
    """Return the dataset, the label and the person ("" if unknown) that a file's name tells."""
    stem = posixpath.splitext(posixpath.basename(name))[0]
    for title, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(stem):
            return title, found["label"], found["group"]
    words = {emotion for word in split_words(stem) if len(word) > 2 and (emotion := match_emotion(word))}
    return ("names", words.pop(), "") if len(words) == 1 else None
