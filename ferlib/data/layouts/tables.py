"""A table of images and labels: columns such as ``image`` and ``label``, in a CSV next to the images."""

import posixpath
from collections.abc import Callable, Sequence

from ferlib.core.errors import DataError
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions
from ferlib.data.layouts.delimited import is_table, read_header, read_rows
from ferlib.data.layouts.folders import has_named_classes, is_image, is_rafdb_name, settle_test
from ferlib.data.layouts.listing import Box, FileFinder, Listed, index_listed
from ferlib.data.layouts.splits import split_of_name

IMAGE_COLUMNS = (
    *("image", "images", "img", "file", "filename", "file_name", "filepath", "file_path", "path", "pth", "image_path"),
    *("img_path", "image_name", "img_name", "imagename", "name", "subdirectory_filepath", "image_id", "id"),
)
LABEL_COLUMNS = (
    *("emotion", "label", "labels", "expression", "emotions", "emotion_label", "expression_label", "class", "category"),
    *("target", "class_name", "exp"),
)
SPLIT_COLUMNS = ("usage", "split", "set", "subset", "partition")
_BOX_COLUMNS = ("face_x", "face_y", "face_width", "face_height")


def matches(tree: FileTree) -> bool:
    """Return whether there is a table of images and labels, and no class folder that is named by an emotion."""
    return bool(find_tables(tree)) and not has_named_classes(tree)


def find_tables(tree: FileTree) -> list[str]:
    """Return the tables with a column of images and one of labels."""
    return [
        name
        for name in tree.names
        if tree.kind != "file" and is_table(name) and None not in _columns(read_header(tree, name))
    ]


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index the images of tables, also AffectNet's with boxes.

    The split is that of a column such as ``split``, else of a word in the name of the table (``train_labels.csv``) or
    of the image's folders, else train. Images that are not there are left out, with a note.

    Raises
    ------
    DataError
        The labels are numbers of unknown meaning, or no listed image is there.
    """
    images = [name for name in tree.names if is_image(tree, name)]
    finder, listed, missing = FileFinder(images), [], []
    tables = find_tables(tree)
    for table in tables:
        header = read_header(tree, table)
        image_column, label_column = (str(column) for column in _columns(header))
        image_at, label_at = header.index(image_column), header.index(label_column)
        split_at = next((header.index(column) for column in SPLIT_COLUMNS if column in header), None)
        table_split = split_of_name(posixpath.basename(table))
        for _, cells in read_rows(tree, table):
            if len(cells) <= max(image_at, label_at, split_at or 0):
                missing.append(table)
                continue
            split = table_split if split_at is None else split_of_name(cells[split_at])
            file = finder.find(cells[image_at], near=posixpath.dirname(table), hint=_has_split(split))
            if file is None:
                missing.append(cells[image_at])
                continue
            split = split or split_of_name(posixpath.basename(file)) or _split_of_folders(file) or "train"
            listed.append(Listed(file, cells[label_at].strip(), split, box=_box(header, cells)))
    left_out = []
    if missing:
        left_out.append(f"Left out: {counted(len(missing), 'image')} listed but missing, the first {missing[0]}.")
    unlisted = len(set(images) - {image.file for image in listed})
    notes = [f"Left out: {counted(unlisted, 'image')} not listed in {', '.join(tables)}."] if unlisted else []
    twice = len(listed) - len({image.file for image in listed})
    if twice:
        raise DataError(f"{tree.path}: {counted(twice, 'image')} listed more than once in {', '.join(tables)}.")
    proven = "affectnet" if any("subdirectory_filepath" in read_header(tree, table) for table in tables) else None
    index = index_listed(
        tree,
        listed,
        options,
        source=f"{tree.path}: {', '.join(tables)}",
        title="AffectNet" if proven else "table",
        layout="table",
        proven=proven or _proven_order(listed),
        notes=notes,
        left_out=left_out,
    )
    index.splits = settle_test(index.splits.tolist(), index.notes)
    return index


def _columns(header: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the columns of images and of labels."""
    found = (next((column for column in known if column in header), None) for known in (IMAGE_COLUMNS, LABEL_COLUMNS))
    image, label = found
    return image, label


def _has_split(split: str | None) -> Callable[[str], bool]:
    return lambda name: split is not None and _split_of_folders(name) == split


def _split_of_folders(name: str) -> str | None:
    return next((found for part in reversed(name.split("/")[:-1]) if (found := split_of_name(part))), None)


def _box(header: Sequence[str], cells: Sequence[str]) -> Box | None:
    """Return the box of AffectNet's columns, or None."""
    try:
        x, y, width, height = (float(cells[header.index(column)]) for column in _BOX_COLUMNS)
    except (ValueError, IndexError):
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def _proven_order(listed: Sequence[Listed]) -> str | None:
    """Return RAF-DB where the names of all images are its own."""
    return "rafdb" if listed and all(is_rafdb_name(image.file) for image in listed) else None
