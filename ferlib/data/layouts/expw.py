"""Expression in the Wild (ExpW): faces cropped from photos by the boxes in its label file."""

import dataclasses
import functools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from ferlib.core.crops import CropGeometry, cut_face
from ferlib.core.emotions import EMOTIONS, parse_emotion
from ferlib.core.errors import DataError, ImageError
from ferlib.core.images import decode_image
from ferlib.core.words import counted
from ferlib.data.archive import FileTree, open_tree
from ferlib.data.index import ImageIndex, ReadOptions, describe_tree

#: The default (height, width) of the faces.
EXPW_SIZE = (64, 64)

_LABEL_FILE = "label.lst"


@dataclass(frozen=True)
class LabeledFace:
    """One line of the label file: a photo's file name, the face's number in it, its box and its code in `EMOTIONS`.

    The box is x, y, width and height in pixels.
    """

    photo: str
    number: int
    box: tuple[int, int, int, int]
    label: int


@dataclass(frozen=True, eq=False)
class LabeledPhoto:
    """A photo, uint8 (H, W, 1) or (H, W, 3), and its labeled faces."""

    image: np.ndarray
    faces: tuple[LabeledFace, ...]


def matches(tree: FileTree) -> bool:
    """Return whether there is an ExpW label file."""
    return _find_label_file(tree) is not None


def index_images(tree: FileTree, options: ReadOptions) -> ImageIndex:
    """Index the faces of ExpW (``image/origin/*.jpg`` and ``label/label.lst``), ordered by photo.

    The faces are RGB squares around the boxes. All are train, and the faces of a photo are one group. Raises
    DataError if a line cannot be parsed (the message names it), or photos are missing.
    """
    faces, files, left_out = _read_faces(tree)
    geometry = CropGeometry(margin=options.crop_margin)

    # The faces of a photo follow each other, so each photo is decoded once.
    @functools.lru_cache(maxsize=1)
    def read_photo(photo: str) -> np.ndarray:
        return decode_image(tree.read(files[photo]), name=files[photo])

    def read_face(row: int) -> np.ndarray:
        face = faces[row]
        try:
            # A copy, because a view would keep the whole photo in memory.
            return cut_face(read_photo(face.photo), face.box, geometry).copy()
        except ValueError as error:
            raise ImageError(f"{face.photo}: {error}.") from error

    return ImageIndex(
        names=np.array([f"{face.photo}#{face.number}" for face in faces], dtype=str),
        labels=np.array([face.label for face in faces], dtype=np.int64),
        splits=np.full(len(faces), "train"),
        read=read_face,
        info=dataclasses.replace(describe_tree(tree, title="ExpW", layout="expw"), crop=geometry),
        groups=np.array([face.photo for face in faces], dtype=str),
        image_size=EXPW_SIZE,
        channels=3,
        has_boxes=True,
        notes=["ExpW has no official split: all faces are in train until the dataset is split."],
        left_out=left_out,
    )


def read_labeled_photos(path: str | Path, *, sample_size: int | None = None, seed: int = 0) -> Iterator[LabeledPhoto]:
    """Yield ExpW's photos one at a time, uncropped, with their labeled faces.

    They are a random `sample_size` of the photos, all by default, in the order of their names. Raises DataError if
    there is no label file, a line of it cannot be parsed, or photos are missing; ImageError if one cannot be read.
    """
    with open_tree(path) as tree:
        if not matches(tree):
            raise DataError(f"{path} has no {_LABEL_FILE}; it is not ExpW.")
        faces, files, _ = _read_faces(tree)
        photos = {photo: tuple(members) for photo, members in groupby(faces, key=lambda face: face.photo)}
        chosen = sorted(photos)
        if sample_size:
            chosen = sorted(np.random.default_rng(seed).permutation(chosen)[:sample_size].tolist())
        for photo in chosen:
            yield LabeledPhoto(decode_image(tree.read(files[photo]), name=photo), photos[photo])


def _find_label_file(tree: FileTree) -> str | None:
    return next((name for name in tree.names if posixpath.basename(name).lower() == _LABEL_FILE), None)


def _read_faces(tree: FileTree) -> tuple[list[LabeledFace], dict[str, str], list[str]]:
    """Return the labeled faces whose photos are there, ordered by photo, their files, and what is left out."""
    label_file = _find_label_file(tree) or _LABEL_FILE
    faces = sorted(_parse_labels(tree, label_file), key=lambda face: face.photo)
    files = {posixpath.basename(name): name for name in tree.names if name.lower().split("/")[-2:-1] == ["origin"]}
    missing = list(dict.fromkeys(face.photo for face in faces if face.photo not in files))
    present = [face for face in faces if face.photo in files]
    if not missing:
        return present, files, []
    photos = counted(len(missing), "photo")
    sentence = f"Left out: {photos} of {label_file} missing in image/origin, the first '{missing[0]}'."
    if not present:
        raise DataError(f"{tree.path} has no photos. {sentence}")
    return present, files, [sentence]


def _parse_labels(tree: FileTree, name: str) -> list[LabeledFace]:
    """Return the faces in a label file: image, face number, top, left, right, bottom, confidence and emotion code."""
    try:
        lines = tree.read(name).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text ({error.reason}).") from error
    faces = []
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        # Eight columns, split from the right, because the name of a photo may contain spaces.
        cells = line.rsplit(maxsplit=7)
        try:
            number, top, left, right, bottom = (int(cell) for cell in cells[1:6])
            label = EMOTIONS.index(parse_emotion(cells[7]))
        except (ValueError, IndexError):
            raise DataError(
                f"{name}, line {line_number}: expected an image name, a face number, top, left, right and bottom of "
                "the box, a confidence and an emotion code."
            ) from None
        except DataError as error:
            raise DataError(f"{name}, line {line_number}: {error}") from None
        if right <= left or bottom <= top:
            raise DataError(f"{name}, line {line_number}: the box is empty.")
        faces.append(LabeledFace(cells[0], number, (left, top, right - left, bottom - top), label))
    return faces
