"""Find duplicates, conflicting labels and blank images in a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ferlib.data.dataset import SPLITS, ImageDataset, pixel_ids, rows_by_id

#: An image whose standard deviation is below this, in gray levels, counts as blank.
BLANK_CONTRAST = 2.0


@dataclass(frozen=True, eq=False)
class Audit:
    """The findings of `audit_dataset`; each group is an array of row numbers of the dataset.

    Attributes
    ----------
    identical : tuple of ndarray
        Groups of two or more images with identical pixels.
    within : dict of str to tuple of ndarray
        For each split, the groups of two or more identical images inside it.
    across, conflicting : tuple of ndarray
        The groups of `identical` with members in more than one split, or with different labels.
    blank : ndarray of shape (k,)
        Images with a standard deviation below `BLANK_CONTRAST`.
    """

    identical: tuple[np.ndarray, ...]
    within: dict[str, tuple[np.ndarray, ...]]
    across: tuple[np.ndarray, ...]
    conflicting: tuple[np.ndarray, ...]
    blank: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """Return the number of groups and of images (columns) of each kind of finding (rows)."""
        found = {"identical images": self.identical}
        found |= {f"identical inside {split}": groups for split, groups in self.within.items()}
        found |= {"identical across splits": self.across, "identical with conflicting labels": self.conflicting}
        # Each blank image is a group of one.
        found["blank"] = tuple(self.blank[:, np.newaxis])
        table = {name: (len(groups), sum(map(len, groups))) for name, groups in found.items()}
        return pd.DataFrame.from_dict(table, orient="index", columns=["groups", "images"])


def audit_dataset(dataset: ImageDataset) -> Audit:
    """Find images with identical pixels, conflicting labels of such images, and blank images.

    Only exact copies are found, not the same photo at another size or with other compression.
    """
    identical = _repeated(rows_by_id(pixel_ids(dataset.images)))
    present = [split for split in SPLITS if split in dataset.splits]
    return Audit(
        identical=identical,
        within={split: _repeated(rows[dataset.splits[rows] == split] for rows in identical) for split in present},
        across=tuple(rows for rows in identical if len(set(dataset.splits[rows])) > 1),
        conflicting=tuple(rows for rows in identical if len(set(dataset.labels[rows])) > 1),
        blank=np.array([row for row, image in enumerate(dataset.images) if image.std() < BLANK_CONTRAST], dtype=int),
    )


def _repeated(groups: Iterable[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the groups of at least two rows."""
    return tuple(rows for rows in groups if len(rows) > 1)
