"""The one form that every data set is brought to: images as one array, and beside it what is known of each."""

import dataclasses
import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ferlib.core.data_info import DataInfo
from ferlib.core.errors import DataError
from ferlib.core.files import atomic_write

#: The splits of every data set, in the order of tables.
SPLITS = ("train", "val", "test")

#: FER2013's own names for its three parts.
USAGES = ("Training", "PublicTest", "PrivateTest")

# What zipfile, NumPy and JSON raise on files that are damaged, or that something else wrote.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    MemoryError,
)

_FIELDS = ("images", "labels", "splits", "usages", "names")


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one size, made by `load_images`.

    Attributes
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
        Gray (C is 1) or RGB (C is 3), 0 to 255.
    labels : ndarray of shape (n,), dtype int64
        Codes into `class_names`.
    class_names : tuple of str
        The emotions, in the order of their codes.
    splits : ndarray of shape (n,), dtype str
        ``"train"``, ``"val"`` or ``"test"``.
    usages : ndarray of shape (n,), dtype str
        FER2013's ``"Training"``, ``"PublicTest"`` or ``"PrivateTest"`` where the source tells it, else ``""``.
    names : ndarray of shape (n,), dtype str
        Each image's name within its source.
    info : DataInfo
        The source of the images, and how they were split.
    groups : ndarray of shape (n,), dtype str, optional
        Images of one group belong together (faces of one photo) and never part in a split.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray
    usages: np.ndarray
    names: np.ndarray
    info: DataInfo
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        images, n = self.images, len(self.images)
        if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
            raise DataError(f"Images must be uint8 of shape (n, H, W, 1 or 3), got {images.dtype} {images.shape}.")
        columns = {name: getattr(self, name) for name in (*_FIELDS[1:], "groups")}
        wrong = [name for name, column in columns.items() if column is not None and column.shape != (n,)]
        if wrong:
            raise DataError(f"There are {n} images, but {wrong[0]} has shape {columns[wrong[0]].shape}.")
        if not np.issubdtype(self.labels.dtype, np.integer) or not np.isin(self.labels, range(self.n_classes)).all():
            raise DataError(f"Labels must be whole numbers from 0 to {self.n_classes - 1}.")
        if not np.isin(self.splits, SPLITS).all():
            raise DataError(f"Splits must be {', '.join(SPLITS)}, got {', '.join(np.unique(self.splits))}.")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def n_classes(self) -> int:
        """The number of classes, those without an image included."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """The images' (height, width) in pixels."""
        return self.images.shape[1:3]

    def select(self, indices: np.ndarray) -> "ImageDataset":
        """Return the images at `indices` (row numbers, or a boolean mask), in that order."""
        columns = {name: getattr(self, name)[indices] for name in _FIELDS}
        groups = None if self.groups is None else self.groups[indices]
        return dataclasses.replace(self, **columns, groups=groups)

    def split(self, name: str) -> "ImageDataset":
        """Return one split (train, val, test), or one of FER2013's parts (Training, PublicTest, PrivateTest).

        Raises
        ------
        DataError
            `name` is neither, or the data set has no image there.
        """
        if name not in (*SPLITS, *USAGES):
            raise DataError(f"'{name}' is no split; expected one of {', '.join((*SPLITS, *USAGES))}.")
        members = (self.splits if name in SPLITS else self.usages) == name
        if not members.any():
            present = [part for part in SPLITS if part in self.splits] + [
                part for part in USAGES if part in self.usages
            ]
            raise DataError(f"{self.info.path} has no images for '{name}'; it has {', '.join(present) or 'none'}.")
        return self.select(members)

    def counts(self) -> pd.DataFrame:
        """Return the number of images per class (rows) and split (columns, those that are present)."""
        table = pd.crosstab(np.asarray(self.class_names)[self.labels], self.splits)
        columns = [name for name in SPLITS if name in self.splits]
        return table.reindex(index=self.class_names, columns=columns, fill_value=0).rename_axis(
            index="class", columns="split"
        )

    def describe(self) -> str:
        """Return one sentence: which data these are, how many, how large."""
        height, width = self.image_size
        title = "SYNTHETIC faces" if self.info.synthetic else self.info.title
        color = "gray" if self.images.shape[-1] == 1 else "RGB"
        parts = ", ".join(f"{name} {(self.splits == name).sum():,}" for name in SPLITS if name in self.splits)
        return (
            f"{title} ({self.info.path}): {len(self):,} images of {height} x {width} pixels, {color}, "
            f"{self.n_classes} classes; {parts or 'empty'}."
        )

    def save(self, path: str | Path) -> None:
        """Write the data set as an uncompressed NPZ without pickles, whole or not at all; `load_images` reads it."""
        columns = {name: getattr(self, name) for name in _FIELDS}
        if self.groups is not None:
            columns["groups"] = self.groups
        info = np.array(json.dumps(self.info.to_json()))
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, class_names=np.array(self.class_names), info=info, **columns)


def read_saved(path: Path) -> ImageDataset:
    """Return the data set that `ImageDataset.save` wrote.

    Raises
    ------
    DataError
        The file is damaged, or another kind of NPZ.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # What is stored as it is cannot swell, whatever the headers claim.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise DataError(f"{path} is not a data set that ferlib saved: its arrays are compressed.")
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        class_names = tuple(str(name) for name in columns.pop("class_names"))
        info = DataInfo.from_json(json.loads(str(columns.pop("info"))))
        return ImageDataset(class_names=class_names, info=info, **columns)
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged, or no data set that ferlib saved ({error}).") from error


def pixel_ids(images: np.ndarray) -> np.ndarray:
    """Return a number for each image, the same for images that are alike in every pixel.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)

    Returns
    -------
    ndarray of shape (n,), dtype int64
        Numbered from 0 in the order of first sight.
    """
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter((seen.setdefault(digest, len(seen)) for digest in digests), dtype=np.int64, count=len(images))


def rows_by_id(ids: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each id, (k,) int arrays, by ascending id; `ids` has shape (n,)."""
    order = np.argsort(ids, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(ids) else []
