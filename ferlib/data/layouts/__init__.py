"""The layouts of datasets, one module each: how to recognize one and how to index its images."""

from typing import Protocol

from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions
from ferlib.data.layouts import annotations, expw, fer2013, ferplus, folders, names, parquet, rafdb, saved, tables


class Layout(Protocol):
    """The functions that the module of a layout defines."""

    def matches(self, tree: FileTree) -> bool:
        """Return whether the files are in this layout."""

    def index_images(self, tree: FileTree, options: ReadOptions) -> ImageIndex:
        """Return the index of the images, without decoding them; the tree must stay open while images are read."""


#: All layouts, in the order in which they are tried.
LAYOUTS: tuple[Layout, ...] = (saved, expw, ferplus, rafdb, fer2013, annotations, tables, folders, names, parquet)
