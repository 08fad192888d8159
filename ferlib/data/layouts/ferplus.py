"""FER+ as its own script writes it: images in FER2013Train, FER2013Valid and FER2013Test, each with a label.csv."""

import csv
import io
import posixpath
from collections import Counter

from ferlib.core.errors import DataError
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions
from ferlib.data.layouts.listing import Listed, index_listed
from ferlib.data.layouts.splits import split_of_usage

#: FER+'s classes in the order of its columns.
FERPLUS_COLUMNS = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    *("unknown", "NF"),
)

_USAGES = {"fer2013train": "Training", "fer2013valid": "PublicTest", "fer2013test": "PrivateTest"}


def matches(tree: FileTree) -> bool:
    """Return whether there is a label.csv in one of FER+'s folders."""
    return bool(_find_lists(tree))


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index FER+: the label is the answer of most of the ten raters; images without one are left out.

    FER2013Train is Training, FER2013Valid is PublicTest, FER2013Test is PrivateTest.

    Raises
    ------
    DataError
        A line is not a name, a box and ten votes (the message names it), or images are missing.

    References
    ----------
    E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang, "Training Deep Networks for Facial Expression Recognition with
    Crowd-Sourced Label Distribution", ICMI 2016.
    """
    listed: list[Listed] = []
    counts: Counter[str] = Counter()
    present = set(tree.names)
    for name, usage in _find_lists(tree).items():
        for line, cells in enumerate(_rows(tree, name), start=1):
            if not any(cells):
                continue
            try:
                votes = [int(float(cell)) for cell in cells[-len(FERPLUS_COLUMNS) :]]
                if len(cells) < len(FERPLUS_COLUMNS) + 1 or min(votes) < 0:
                    raise ValueError
            except (ValueError, OverflowError):
                if line == 1:  # a header
                    continue
                raise DataError(f"{name}, line {line}: expected an image name, a box and ten votes.") from None
            file = posixpath.join(posixpath.dirname(name), cells[0].strip())
            top = max(votes)
            if file not in present:
                counts["missing"] += 1
            elif votes.count(top) > 1 or not top:
                counts["tied"] += 1
            else:
                listed.append(Listed(file, FERPLUS_COLUMNS[votes.index(top)], split_of_usage(usage), usage))
    notes = ["The labels are those of FER+: the answer of most raters."]
    if counts["tied"]:
        notes.append(f"Left out: {counted(counts['tied'], 'image')} with a tie between raters.")
    missing = [f"Left out: {counted(counts['missing'], 'image')} listed but missing."] if counts["missing"] else []
    return index_listed(
        tree,
        listed,
        options,
        source=f"{tree.path}: label.csv",
        title="FER+",
        layout="ferplus",
        notes=notes,
        left_out=missing,
    )


def _find_lists(tree: FileTree) -> dict[str, str]:
    """Return FER+'s label files and the usage that each is for."""
    folders = {name: posixpath.basename(posixpath.dirname(name)).lower() for name in tree.names}
    return {
        name: _USAGES[folder]
        for name, folder in folders.items()
        if folder in _USAGES and posixpath.basename(name).lower() == "label.csv"
    }


def _rows(tree: FileTree, name: str) -> list[list[str]]:
    """Return the cells of all lines."""
    text = tree.read(name).decode("utf-8-sig", errors="replace")
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(f"{name} cannot be read as a CSV ({error}).") from None
