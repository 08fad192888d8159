"""The NPZ files that `ImageDataset.save` writes."""

from ferlib.data.archive import FileTree
from ferlib.data.dataset import read_saved
from ferlib.data.index import ImageIndex, ReadOptions


def matches(tree: FileTree) -> bool:
    """Return whether the tree is a single NPZ file."""
    return tree.kind == "file" and tree.path.suffix.lower() == ".npz"


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:  # noqa: ARG001
    """Return the index of a saved dataset, which keeps the information about its own source."""
    dataset = read_saved(tree.path)
    return ImageIndex(
        names=dataset.names,
        labels=dataset.labels,
        splits=dataset.splits,
        source_splits=dataset.source_splits,
        read=dataset.images.__getitem__,
        info=dataset.info,
        class_names=dataset.class_names,
        groups=dataset.groups,
        notes=list(dataset.info.notes),
    )
