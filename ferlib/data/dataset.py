"""The common form of every dataset: an array of images with one label, split and name per image."""

import dataclasses
import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.data_info import DataInfo
from ferlib.core.errors import DataError
from ferlib.core.files import atomic_write
from ferlib.core.words import counted

#: The splits of every dataset, in the order of tables.
SPLITS = ("train", "val", "test")

# Raised by zipfile, NumPy and JSON for files that are damaged or come from another program.
_FILE_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, MemoryError)
_CONTENT_ERRORS = (LookupError, AttributeError, TypeError, ValueError)

# The fields of a dataset with one entry per image.
_COLUMNS = ("images", "labels", "splits", "names", "groups", "source_splits")


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labeled images of one size, as `load_images` returns them.

    Attributes
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
        Gray (C is 1) or RGB (C is 3).
    labels : ndarray of shape (n,), dtype int64
        Codes into `class_names`.
    class_names : tuple of str
    splits : ndarray of shape (n,), dtype str
        ``"train"``, ``"val"`` or ``"test"``.
    names : ndarray of shape (n,), dtype str
        Each image's name within its source.
    info : DataInfo
    groups : ndarray of shape (n,), dtype str, optional
        Images of the same group (faces of one photo) always stay in the same split.
    source_splits : ndarray of shape (n,), dtype str, optional
        The source's own names of finer splits, such as FER2013's ``"PublicTest"``; ``""`` where it gives none.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray
    names: np.ndarray
    info: DataInfo
    groups: np.ndarray | None = None
    source_splits: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the fields fit together."""
        images, n = self.images, len(self.images)
        if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
            raise DataError(f"Images must be uint8 of shape (n, H, W, 1 or 3), got {images.dtype} {images.shape}.")
        for name, column in self._columns().items():
            if len(column) != n or (name != "images" and column.ndim != 1):
                raise DataError(f"There are {n} images, but {name} has shape {column.shape}.")
        if not np.issubdtype(self.labels.dtype, np.integer) or not np.isin(self.labels, range(self.n_classes)).all():
            raise DataError(f"Labels must be integers from 0 to {self.n_classes - 1}.")
        if not np.isin(self.splits, SPLITS).all():
            raise DataError(f"Splits must be {', '.join(SPLITS)}, got {', '.join(np.unique(self.splits))}.")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def n_classes(self) -> int:
        """The number of classes, including those without images."""
        return len(self.class_names)

    @property
    def image_size(self) -> tuple[int, int]:
        """The (height, width) of the images in pixels."""
        _, height, width, _ = self.images.shape
        return height, width

    def select(self, indices: np.ndarray) -> "ImageDataset":
        """Return the images at `indices` (row numbers or a boolean mask), in that order."""
        selected = {name: column[indices] for name, column in self._columns().items()}
        return dataclasses.replace(self, **selected)

    def split(self, name: str) -> "ImageDataset":
        """Return the images of train, val, test or one of `source_splits`; raise DataError if there are none."""
        sources = np.full(len(self), "") if self.source_splits is None else self.source_splits
        members = (self.splits if name in SPLITS else sources) == name
        if not name or not members.any():
            present = [split for split in SPLITS if split in self.splits] + sorted(set(sources) - {""})
            raise DataError(f"{self.info.path} has no images for '{name}'; it has {', '.join(present) or 'none'}.")
        return self.select(members)

    def counts(self) -> pd.DataFrame:
        """Return the number of images per class (rows) and split (columns); splits without images are left out."""
        names = np.asarray(self.class_names)[self.labels]
        table = pd.crosstab(names, self.splits, rownames=["class"], colnames=["split"])
        columns = [name for name in SPLITS if name in self.splits]
        return table.reindex(index=self.class_names, columns=columns, fill_value=0)

    def describe(self) -> str:
        """Return one sentence with the dataset's name, number and size of images, and splits."""
        height, width = self.image_size
        title = "SYNTHETIC faces" if self.info.synthetic else self.info.title
        color = "gray" if self.images.shape[-1] == 1 else "RGB"
        splits = ", ".join(f"{name} {(self.splits == name).sum():,}" for name in SPLITS if name in self.splits)
        return (
            f"{title} ({self.info.path}): {counted(len(self), 'image')} of {height} x {width} pixels, {color}, "
            f"{self.n_classes} classes; {splits or 'empty'}."
        )

    def save(self, path: str | Path) -> None:
        """Write the dataset atomically to an uncompressed NPZ without pickles, which `load_images` reads."""
        info = np.array(json.dumps(self.info.to_json()))
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, class_names=np.array(self.class_names), info=info, **self._columns())

    def _columns(self) -> dict[str, Any]:
        """Return the arrays with one entry per image, by field name; missing optional ones are left out."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return {name: column for name, column in columns.items() if column is not None}


def read_saved(path: Path) -> ImageDataset:
    """Return the dataset that `ImageDataset.save` wrote; raise DataError if it is damaged or another kind of NPZ."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Uncompressed entries cannot expand beyond the file's own size.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise DataError(f"{path} is not a dataset saved by ferlib: its arrays are compressed.")
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        class_names = tuple(str(name) for name in columns.pop("class_names"))
        info = DataInfo.from_json(json.loads(str(columns.pop("info"))))
        if "usages" in columns:  # files written by earlier versions
            columns["source_splits"] = columns.pop("usages")
        return ImageDataset(class_names=class_names, info=info, **columns)
    except (*_FILE_ERRORS, *_CONTENT_ERRORS) as error:
        raise DataError(f"{path} is damaged or is not a dataset saved by ferlib ({error}).") from error


def pixel_ids(images: np.ndarray) -> np.ndarray:
    """Return one number per image, int64 (n,), equal for images with identical pixels, by first occurrence from 0."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter((seen.setdefault(digest, len(seen)) for digest in digests), dtype=np.int64, count=len(images))


def rows_by_id(ids: np.ndarray) -> list[np.ndarray]:
    """Return the row numbers of each id, by ascending id; `ids` has shape (n,)."""
    order = np.argsort(ids, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(ids) else []
