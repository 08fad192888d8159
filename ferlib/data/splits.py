"""Cut a data set into train, val and test: stratified, seeded, and with no duplicate on two sides."""

import dataclasses
import math
from collections import Counter
from itertools import accumulate

import numpy as np

from ferlib.core.data_info import SplitInfo
from ferlib.core.errors import DataError
from ferlib.data.dataset import SPLITS, ImageDataset, pixel_ids, rows_by_id


def split_dataset(
    dataset: ImageDataset, scheme: str = "official", *, val_fraction: float = 0.1, seed: int = 0
) -> ImageDataset:
    """Return the data set with its images dealt anew to train, val and test.

    Every class is dealt in the wanted proportions; images that are alike in every pixel, and images of one group
    (faces of one photo), stay on one side. Where such a bundle does not fit, a class may miss its share by as many
    images as the bundle has. A class too small for its shares goes to train first, and a note says what it lacks.

    Parameters
    ----------
    dataset : ImageDataset
    scheme : str
        ``"official"`` keeps test as the source has it and cuts val from train; a val that came with the source stays
        as well. ``"90/10"`` deals all images to train and test and cuts val from train, ``"70/15/15"`` to train,
        val and test; other percentages go the same way.
    val_fraction : float
        The share of train that becomes val, 0 to below 1; ``"70/15/15"`` does not ask it.
    seed : int
        The same seed deals the same way.

    Returns
    -------
    ImageDataset
        The same images in the same order; only `splits` and `info` are new.

    Raises
    ------
    DataError
        The scheme or the fraction cannot be read, or the official split is gone because a re-split replaced it.

    Notes
    -----
    The official test is left as published: a training image that is also in test stays in train, and a note counts
    such images.
    """
    if not 0 <= val_fraction < 1:
        raise DataError(f"val_fraction must be from 0 to below 1, got {val_fraction}.")
    fractions = _parse_scheme(scheme, val_fraction)
    rows = _official_rows(dataset) if scheme == "official" else np.arange(len(dataset))
    ids = pixel_ids(dataset.images)
    splits = dataset.splits.astype("U5")
    if len(rows):
        bundles = _group(ids[rows], None if dataset.groups is None else dataset.groups[rows])
        splits[rows] = _assign(dataset.labels[rows], bundles, fractions, np.random.default_rng(seed))
    notes = (*_notes_on_lacks(dataset, rows, splits, fractions), *_notes_on_test(ids, splits, scheme))
    earlier = dataset.info
    info = dataclasses.replace(
        earlier,
        split=SplitInfo(scheme, val_fraction, seed),
        notes=(*(note for note in earlier.notes if note not in earlier.split_notes), *notes),
        split_notes=notes,
    )
    return dataclasses.replace(dataset, splits=splits, info=info)


def apportion(total: int, weights: list[float]) -> list[int]:
    """Return whole numbers that sum to `total`, in proportion to `weights`, by the largest remainders.

    Examples
    --------
    >>> apportion(10, [0.7, 0.15, 0.15])
    [7, 2, 1]
    """
    shares = [total * weight / sum(weights) for weight in weights]
    counts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda part: counts[part] - shares[part])
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return counts


def _parse_scheme(scheme: str, val_fraction: float) -> dict[str, float]:
    """Return the share of each split that is dealt; shares of zero are left out."""
    if scheme == "official":
        shares = (1 - val_fraction, val_fraction, 0)
    else:
        parts = scheme.split("/")
        percents = [int(part) for part in parts if part.strip().isdecimal()]
        if len(percents) != len(parts) or len(parts) not in (2, 3) or sum(percents) != 100:
            raise DataError(f"'{scheme}' is no split; expected official, 90/10, 70/15/15 or other shares of 100.")
        train, *val, test = (percent / 100 for percent in percents)
        shares = (train, val[0], test) if val else (train * (1 - val_fraction), train * val_fraction, test)
    return {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}


def _official_rows(dataset: ImageDataset) -> np.ndarray:
    """Return the rows that the official scheme deals to train and val: none where the source has a val of its own."""
    earlier = dataset.info.split
    if earlier and earlier.scheme != "official":
        raise DataError(f"The data set was split {earlier.scheme}; load it again to use its official split.")
    if "val" in dataset.splits and not earlier:
        return np.array([], dtype=np.int64)
    return np.flatnonzero(dataset.splits != "test")


def _group(ids: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return bundle numbers (n,): rows that share a pixel id or a group, also by way of other rows, share a bundle."""
    if groups is None:
        return ids
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group_ids = np.unique(groups, return_inverse=True)
    size = ids.max() + 1
    nodes = size + group_ids.max() + 1
    links = coo_array((np.ones(len(ids), dtype=np.int8), (ids, size + group_ids)), shape=(nodes, nodes))
    _, components = connected_components(links, directed=False)
    return components[ids].astype(np.int64)


def _assign(
    labels: np.ndarray, bundles: np.ndarray, fractions: dict[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Return a split for each row (n,), the rows of a bundle together, each class near its `fractions`."""
    parts = list(fractions)
    left = {label: apportion(count, list(fractions.values())) for label, count in Counter(labels.tolist()).items()}
    rows = rows_by_id(bundles)
    rng.shuffle(rows)
    dealt = np.empty(len(labels), dtype="U5")
    # Large bundles first: the single images that come after them make the counts exact again.
    for members in sorted(rows, key=len, reverse=True):
        need = Counter(labels[members].tolist())
        part = _choose_part(left, need, rng)
        for label, count in need.items():
            left[label][part] -= count
        dealt[members] = parts[part]
    return dealt


def _choose_part(left: dict[int, list[int]], need: Counter, rng: np.random.Generator) -> int:
    """Return a part by chance, in proportion to the room it has left, or the roomiest if the bundle fits nowhere."""
    room = [min(spaces) for spaces in zip(*([n - need[c] for n in left[c]] for c in need), strict=True)]
    fitting = [part for part, space in enumerate(room) if space >= 0]
    if not fitting:
        return room.index(max(room))
    bounds = list(accumulate(sum(left[label][part] for label in need) for part in fitting))
    draw = rng.random() * bounds[-1]
    return next(part for part, bound in zip(fitting, bounds, strict=True) if draw < bound)


def _notes_on_lacks(
    dataset: ImageDataset, rows: np.ndarray, splits: np.ndarray, fractions: dict[str, float]
) -> list[str]:
    """Return a sentence for each class that was too small to reach every split, and one when test is missing."""
    notes = []
    for code, name in enumerate(dataset.class_names):
        dealt = splits[rows[dataset.labels[rows] == code]]
        lacking = [split for split in fractions if split not in dealt]
        if len(dealt) and lacking:
            notes.append(f"Of {len(dealt)} images of {name}, none is in {' or '.join(lacking)}.")
    if len(dataset) and "test" not in splits:
        notes.append("There is no test split: split 90/10 or 70/15/15 to make one.")
    return notes


def _notes_on_test(ids: np.ndarray, splits: np.ndarray, scheme: str) -> list[str]:
    """Return a sentence on images outside the official test that are also in it; ids and splits (n,)."""
    shared = int(np.isin(ids[splits != "test"], ids[splits == "test"]).sum())
    if scheme != "official" or not shared:
        return []
    return [f"{shared} images of train or val are alike in every pixel with one of test, which stays as published."]
