"""The layouts of datasets, one module each: how to recognize one and how to index its images."""

from typing import Protocol

from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex
from ferlib.data.layouts import expw, fer2013, folders, saved


class Layout(Protocol):
    """The functions that the module of a layout defines."""

    def matches(self, tree: FileTree) -> bool:
        """Return whether the files are in this layout."""

    def index_images(self, tree: FileTree, *, crop_margin: float, skip_unknown: bool) -> ImageIndex:
        """Return the index of the images, without decoding them; the tree must stay open while images are read.

        Where the layout has boxes, `crop_margin` is added on each side, as a fraction of the box. Classes that are not
        one of the seven emotions are left out if `skip_unknown` is set, else raise DataError.
        """


#: All layouts, in the order in which they are tried.
LAYOUTS: tuple[Layout, ...] = (saved, expw, fer2013, folders)
