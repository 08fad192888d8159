"""RAF-DB: basic/EmoLabel/list_patition_label.txt with aligned or original images."""

import posixpath
from collections.abc import Callable

from ferlib.core.errors import DataError, ImageError
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions
from ferlib.data.layouts.listing import Box, Listed, index_listed

# The spelling is the dataset's own; some copies correct it.
_LABEL_FILES = ("list_patition_label.txt", "list_partition_label.txt")


def matches(tree: FileTree) -> bool:
    """Return whether there is RAF-DB's list of labels."""
    return _find_list(tree) is not None


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index RAF-DB's basic emotions; the names of the images give the split.

    Aligned images are used where there are some, otherwise the original ones, cut out by their boxes.

    Raises
    ------
    DataError
        A line is not a name and a number, or all images are missing.

    References
    ----------
    S. Li, W. Deng, J. Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in
    the Wild", CVPR 2017.
    """
    source = _find_list(tree) or ""
    files = {posixpath.basename(name).lower(): name for name in tree.names}
    listed, missing, original = [], 0, 0
    for line, text in enumerate(tree.read(source).decode("utf-8-sig", errors="replace").splitlines(), start=1):
        cells = text.replace(",", " ").split()
        if not cells:
            continue
        name = cells[0].lower()
        split = next((split for split in ("train", "test") if name.startswith(split)), None)
        if len(cells) != 2 or split is None:
            raise DataError(f"{source}, line {line}: expected a name such as train_00001.jpg, and a number.")
        stem, suffix = posixpath.splitext(name)
        aligned = next(
            (files[key] for end in (suffix, ".jpg", ".png") if (key := f"{stem}_aligned{end}") in files), None
        )
        file = aligned or files.get(name)
        if file is None:
            missing += 1
            continue
        boxes = None if aligned else files.get(f"{stem}_boundingbox.txt")
        original += aligned is None and boxes is None
        listed.append(Listed(file, cells[1], split, box=None if boxes is None else _box_reader(tree, boxes)))
    return index_listed(
        tree,
        listed,
        options,
        source=source,
        title="RAF-DB",
        layout="rafdb",
        proven="rafdb",
        notes=[f"Used whole: {counted(original, 'original image')} without a box."] if original else [],
        left_out=[f"Left out: {counted(missing, 'image')} listed but missing."] if missing else [],
    )


def _find_list(tree: FileTree) -> str | None:
    return next((name for name in tree.names if posixpath.basename(name).lower() in _LABEL_FILES), None)


def _box_reader(tree: FileTree, name: str) -> Callable[[], Box]:
    def read() -> Box:
        try:
            left, top, right, bottom = (float(cell) for cell in tree.read(name).split()[:4])
        except ValueError:
            raise ImageError(f"{name}: expected left, top, right and bottom of the box.") from None
        return left, top, right - left, bottom - top

    return read
