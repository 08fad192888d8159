"""Expression in the Wild (ExpW): faces cut out of photos by the boxes of its label file."""

import functools
import posixpath
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ferlib.core.emotions import EMOTIONS, parse_emotion
from ferlib.core.errors import DataError, ImageError
from ferlib.core.images import crop, decode_image
from ferlib.data.archive import FileTree, open_tree
from ferlib.data.index import ImageIndex

#: The (height, width) that faces are brought to when no other is asked for.
EXPW_SIZE = (64, 64)

_COLUMNS = 8


def find_labels(tree: FileTree) -> str | None:
    """Return the name of ExpW's label file in a tree, or None."""
    return next((name for name in tree.names if posixpath.basename(name) == "label.lst"), None)


def list_expw(tree: FileTree, labels_name: str, *, margin: float = 0.0) -> ImageIndex:
    """List the faces of ExpW (``image/origin/*.jpg`` and ``label/label.lst``), ordered by photo.

    Parameters
    ----------
    tree : FileTree
        Must stay open while the listing is read.
    labels_name : str
        The label file within `tree`: a face a line, as image name, face number, the box's top, left, right and
        bottom, its confidence, and the code of the emotion.
    margin : float
        How much to add on each side of a box, as a fraction of its width and height.

    Returns
    -------
    ImageIndex
        RGB faces; the boxes are cut off at the photo's edge. All are train, and the faces of a photo are a group.

    Raises
    ------
    DataError
        A line cannot be read (the message names it), or photos are missing.
    """
    faces = sorted(_parse_labels(tree, labels_name), key=lambda face: face[0])
    photos = {posixpath.basename(name): name for name in tree.names if name.split("/")[-2:-1] == ["origin"]}
    missing = list(dict.fromkeys(photo for photo, *_ in faces if photo not in photos))
    if missing:
        raise DataError(
            f"{len(missing):,} photos of {labels_name} are missing in image/origin, the first '{missing[0]}'."
        )

    # The faces of a photo follow each other, so that keeping the last photo decodes each once.
    @functools.lru_cache(maxsize=1)
    def read_photo(photo: str) -> np.ndarray:
        return decode_image(tree.read(photos[photo]), name=photos[photo])

    def read_face(row: int) -> np.ndarray:
        photo, _, box, _ = faces[row]
        try:
            # A copy, because a view would keep the whole photo in memory.
            return crop(read_photo(photo), box, margin=margin).copy()
        except ValueError as error:
            raise ImageError(f"{photo}: {error}.") from error

    return ImageIndex(
        names=np.array([f"{photo}#{number}" for photo, number, *_ in faces], dtype=str),
        labels=np.array([label for *_, label in faces], dtype=np.int64),
        splits=np.full(len(faces), "train"),
        usages=np.full(len(faces), "", dtype="U1"),
        read=read_face,
        title="ExpW",
        layout="expw",
        groups=np.array([photo for photo, *_ in faces], dtype=str),
        image_size=EXPW_SIZE,
        channels=3,
        notes=["ExpW has no official split: all its faces are train until they are split."],
    )


def read_labelled_photos(
    path: str | Path, *, sample_size: int | None = None, seed: int = 0
) -> Iterator[tuple[np.ndarray, list[tuple[tuple[int, int, int, int], int]]]]:
    """Yield ExpW's photographs one at a time, whole, with the boxes and emotion codes of their labelled faces.

    Parameters
    ----------
    path : path
        The zip or folder.
    sample_size : int, optional
        Only so many photographs, drawn at random.
    seed : int

    Yields
    ------
    photo : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
    faces : list of ((x, y, width, height), code)

    Raises
    ------
    DataError
        There is no label file, a line of it cannot be read, or a photograph is missing.
    ImageError
        A photograph cannot be read.
    """
    with open_tree(path) as tree:
        labels_name = find_labels(tree)
        if labels_name is None:
            raise DataError(f"{path} has no label.lst; it is not ExpW.")
        by_photo: dict[str, list[tuple[tuple[int, int, int, int], int]]] = {}
        for photo, _, box, label in _parse_labels(tree, labels_name):
            by_photo.setdefault(photo, []).append((box, label))
        files = {posixpath.basename(name): name for name in tree.names if name.split("/")[-2:-1] == ["origin"]}
        chosen = sorted(by_photo)
        if sample_size:
            chosen = sorted(np.random.default_rng(seed).permutation(chosen)[:sample_size].tolist())
        for photo in chosen:
            if photo not in files:
                raise DataError(f"{photo} is missing in image/origin.")
            yield decode_image(tree.read(files[photo]), name=photo), by_photo[photo]


def _parse_labels(tree: FileTree, name: str) -> list[tuple[str, int, tuple[int, int, int, int], int]]:
    """Return photo, face number, box (x, y, width, height) and emotion code of each line."""
    try:
        lines = tree.read(name).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text ({error.reason}).") from error
    faces = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        # From the right, because nothing forbids a blank in a photo's name.
        cells = line.rsplit(maxsplit=_COLUMNS - 1)
        try:
            face, top, left, right, bottom = (int(cell) for cell in cells[1:6])
            label = EMOTIONS.index(parse_emotion(cells[7]))
        except (ValueError, IndexError):
            raise DataError(
                f"{name}, line {number}: expected a name, a face, four box edges and two numbers."
            ) from None
        except DataError as error:
            raise DataError(f"{name}, line {number}: {error}") from None
        if right <= left or bottom <= top:
            raise DataError(f"{name}, line {number}: the box has no area.")
        faces.append((cells[0], face, (left, top, right - left, bottom - top), label))
    return faces
