"""Count what is wrong with a data set: duplicates, contradicting labels, blank images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ferlib.data.dataset import SPLITS, ImageDataset, pixel_ids, rows_by_id

#: An image whose values have a smaller standard deviation than this, in gray levels, counts as blank.
BLANK_CONTRAST = 2.0


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit_dataset` found; every group is an array of row numbers of the data set.

    Attributes
    ----------
    n_images : int
    identical : tuple of ndarray
        Groups of two or more images that are alike in every pixel.
    within : dict of str to tuple of ndarray
        For each split that is present, the groups of two or more inside it (those members only).
    across : tuple of ndarray
        The groups of `identical` with members in more than one split.
    conflicting : tuple of ndarray
        The groups of `identical` whose members have different labels.
    blank : ndarray of shape (k,)
        Images of a single color, or nearly: their standard deviation is below `BLANK_CONTRAST`.
    """

    n_images: int
    identical: tuple[np.ndarray, ...]
    within: dict[str, tuple[np.ndarray, ...]]
    across: tuple[np.ndarray, ...]
    conflicting: tuple[np.ndarray, ...]
    blank: np.ndarray

    @property
    def n_redundant(self) -> int:
        """How many images would go if one of each identical group stayed."""
        return sum(len(rows) - 1 for rows in self.identical)

    def to_frame(self) -> pd.DataFrame:
        """Return a table: what was looked for (rows), in how many groups and how many images it was found."""
        found = {"identical images": self.identical}
        found |= {f"identical inside {split}": groups for split, groups in self.within.items()}
        found |= {"identical across splits": self.across, "identical with conflicting labels": self.conflicting}
        # A blank image is a finding of its own: it stands as a group of one.
        found["blank"] = tuple(self.blank[:, np.newaxis])
        table = {name: (len(groups), sum(map(len, groups))) for name, groups in found.items()}
        return pd.DataFrame.from_dict(table, orient="index", columns=["groups", "pictures"])


def audit_dataset(dataset: ImageDataset) -> Audit:
    """Look for images that are alike in every pixel, for labels that contradict each other, and for blank images.

    Parameters
    ----------
    dataset : ImageDataset

    Returns
    -------
    Audit
        Counts by `Audit.to_frame`, and the row numbers behind them.

    Notes
    -----
    Only exact copies count. The same photo at another size or with other compression is not found.
    """
    ids = pixel_ids(dataset.images)
    identical = _repeated(ids, np.arange(len(dataset)))
    within = {
        split: _repeated(ids, np.flatnonzero(dataset.splits == split)) for split in SPLITS if split in dataset.splits
    }
    return Audit(
        n_images=len(dataset),
        identical=identical,
        within=within,
        across=tuple(rows for rows in identical if len(set(dataset.splits[rows])) > 1),
        conflicting=tuple(rows for rows in identical if len(set(dataset.labels[rows])) > 1),
        blank=np.array([row for row, image in enumerate(dataset.images) if image.std() < BLANK_CONTRAST], dtype=int),
    )


def _repeated(ids: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the groups of at least two of `rows` (k,) that share an id of `ids` (n,)."""
    return tuple(rows[members] for members in rows_by_id(ids[rows]) if len(members) > 1)
