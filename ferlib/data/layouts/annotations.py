"""One label file per image: CK+ (``*_emotion.txt``) and AffectNet (``annotations/*_exp.npy``)."""

import io
import posixpath
from collections.abc import Callable

import numpy as np

from ferlib.core.errors import DataError
from ferlib.core.words import counted
from ferlib.data.archive import FileTree
from ferlib.data.index import ImageIndex, ReadOptions
from ferlib.data.labels import parse_number
from ferlib.data.layouts.folders import is_image, settle_test
from ferlib.data.layouts.listing import Listed, index_listed
from ferlib.data.layouts.splits import split_of_name

_MAX_BYTES = 4096


def matches(tree: FileTree) -> bool:
    """Return whether there are label files of CK+ or AffectNet."""
    return any(name.lower().endswith(("_emotion.txt", "_exp.npy")) for name in tree.names)


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index the images that have a label file.

    CK+ labels the last image of a sequence, and all images of a person are one group. AffectNet's ``train_set`` and
    ``val_set`` give the split; its validation is used as test.

    Raises
    ------
    DataError
        A label file cannot be read, or its images are missing.

    References
    ----------
    P. Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)", CVPR Workshops 2010. A. Mollahosseini, B. Hasani,
    M. Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the Wild", IEEE
    Transactions on Affective Computing 2019.
    """
    is_ckplus = any(name.lower().endswith("_emotion.txt") for name in tree.names)
    ending = "_emotion.txt" if is_ckplus else "_exp.npy"
    parse: Callable[[FileTree, str], str] = _read_text if is_ckplus else _read_array
    # Files of different folders may have the same name; the split tells them apart.
    images = {(_split(name), _stem(name)): name for name in tree.names if is_image(tree, name)}
    listed, missing = [], 0
    for name in tree.names:
        if not name.lower().endswith(ending):
            continue
        stem, split = posixpath.basename(name)[: -len(ending)].lower(), _split(name)
        file = images.get((split, stem)) or images.get(("", stem))
        if file is None:
            missing += 1
            continue
        group = stem.partition("_")[0] if is_ckplus else ""
        listed.append(Listed(file, parse(tree, name), split or "train", group=group))
    index = index_listed(
        tree,
        listed,
        options,
        source=str(tree.path),
        title="CK+" if is_ckplus else "AffectNet",
        layout="annotations",
        proven="ckplus" if is_ckplus else "affectnet",
        left_out=[f"Left out: {counted(missing, 'label file')} without an image."] if missing else [],
    )
    index.splits = settle_test(index.splits.tolist(), index.notes)
    return index


def _split(name: str) -> str:
    return next((found for part in reversed(name.split("/")[:-1]) if (found := split_of_name(part))), "")


def _stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(name))[0].lower()


def _read_text(tree: FileTree, name: str) -> str:
    """Return the number in a file of CK+, such as ``3.0000000e+00``."""
    text = tree.read(name)[:_MAX_BYTES].decode("utf-8-sig", errors="replace").strip()
    if parse_number(text) is None:
        raise DataError(f"{name}: expected one number, got {text[:20]!r}.")
    return text


def _read_array(tree: FileTree, name: str) -> str:
    """Return the number in an array of AffectNet, which is text."""
    try:
        if tree.size(name) > _MAX_BYTES:
            raise ValueError("it is too large")
        value = np.load(io.BytesIO(tree.read(name)), allow_pickle=False)
        text = str(value.item())
    # NumPy evaluates the header, which raises errors of Python's parser.
    except Exception as error:
        raise DataError(f"{name}: expected an array with one number ({type(error).__name__}).") from None
    if parse_number(text) is None:
        raise DataError(f"{name}: expected one number, got {text[:20]!r}.")
    return text
