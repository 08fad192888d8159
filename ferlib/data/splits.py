"""Split a dataset into train, val and test: stratified, seeded, and without duplicates across splits."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

from ferlib.core.apportion import apportion
from ferlib.core.data_info import SplitInfo
from ferlib.core.errors import DataError
from ferlib.data.dataset import SPLITS, ImageDataset, pixel_ids, rows_by_id


def split_dataset(
    dataset: ImageDataset, scheme: str = "official", *, val_fraction: float = 0.1, seed: int = 0
) -> ImageDataset:
    """Split a dataset into train, val and test; return the same images in the same order.

    The split is stratified by class. Images with identical pixels, and images of one group (faces of one photo), stay
    in the same split. A class may therefore miss its exact share by the size of such a group. A class too small for
    its shares goes to train first, and a note says which splits lack it. The official test split is left as published:
    a training image that is also in test stays in train, and a note counts such images.

    Parameters
    ----------
    dataset : ImageDataset
    scheme : str
        ``"official"`` keeps the source's test split and takes val from train, unless the source has its own val.
        ``"90/10"`` assigns all images to train and test and takes val from train. ``"70/15/15"`` assigns them to
        train, val and test. Other percentages work the same way.
    val_fraction : float
        The fraction of train that becomes val, from 0 to below 1; unused by ``"70/15/15"``.
    seed : int
        The same seed gives the same split.

    Raises
    ------
    DataError
        The scheme or the fraction is invalid, or the official split was replaced by an earlier call.
    """
    if not 0 <= val_fraction < 1:
        raise DataError(f"val_fraction must be from 0 to below 1, got {val_fraction}.")
    fractions = parse_scheme(scheme, val_fraction)
    rows = _official_rows(dataset) if scheme == "official" else np.arange(len(dataset))
    ids = pixel_ids(dataset.images)
    splits = dataset.splits.astype("U5")
    if len(rows):
        group_ids = _merge_groups(ids[rows], None if dataset.groups is None else dataset.groups[rows])
        splits[rows] = _assign(dataset.labels[rows], group_ids, fractions, np.random.default_rng(seed))
    notes = tuple(_describe_gaps(dataset, rows, ids, splits, fractions))
    earlier = dataset.info
    info = dataclasses.replace(
        earlier,
        split=SplitInfo(scheme, val_fraction, seed),
        notes=(*(note for note in earlier.notes if note not in earlier.split_notes), *notes),
        split_notes=notes,
    )
    return dataclasses.replace(dataset, splits=splits, info=info)


def limit_train(dataset: ImageDataset, size: int, *, seed: int = 0) -> ImageDataset:
    """Return a dataset with at most `size` random images in train, stratified by class; val and test are complete.

    Raises
    ------
    DataError
        The images are too few for all classes.
    """
    from sklearn.model_selection import train_test_split

    rows = np.flatnonzero(dataset.splits == "train")
    if size >= len(rows):
        return dataset
    try:
        kept, _ = train_test_split(rows, train_size=size, stratify=dataset.labels[rows], random_state=seed)
    except ValueError as error:
        raise DataError(f"{size} images cannot be chosen from train ({error}).") from None
    limited = dataset.select(np.sort(np.concatenate([kept, np.flatnonzero(dataset.splits != "train")])))
    return dataclasses.replace(limited, info=dataclasses.replace(dataset.info, train_size=size))


def parse_scheme(scheme: str, val_fraction: float) -> dict[str, float]:
    """Return the fraction of each split to assign; fractions of zero are left out."""
    if scheme == "official":
        fractions = (1 - val_fraction, val_fraction, 0.0)
    else:
        parts = scheme.split("/")
        percents = [int(part) for part in parts if part.strip().isdecimal()]
        if len(percents) != len(parts) or len(parts) not in (2, 3) or sum(percents) != 100:
            raise DataError(
                f"'{scheme}' is not a split scheme; expected official, 90/10, 70/15/15 or other percentages "
                "that sum to 100."
            )
        train, *val, test = (percent / 100 for percent in percents)
        fractions = (train, val[0], test) if val else (train * (1 - val_fraction), train * val_fraction, test)
    return {split: fraction for split, fraction in zip(SPLITS, fractions, strict=True) if fraction > 0}


def _official_rows(dataset: ImageDataset) -> np.ndarray:
    """Return the rows to assign to train and val: none where the source has its own val."""
    earlier = dataset.info.split
    if earlier and earlier.scheme != "official":
        raise DataError(f"The dataset was split {earlier.scheme}; load it again to use its official split.")
    if "val" in dataset.splits and not earlier:
        return np.array([], dtype=np.int64)
    return np.flatnonzero(dataset.splits != "test")


def _merge_groups(ids: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return group numbers (n,): rows linked by pixel ids or groups, directly or through other rows, share one."""
    if groups is None:
        return ids
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group_ids = np.unique(groups, return_inverse=True)
    n_ids = ids.max() + 1
    n_nodes = n_ids + group_ids.max() + 1
    links = coo_array((np.ones(len(ids), dtype=np.int8), (ids, n_ids + group_ids)), shape=(n_nodes, n_nodes))
    _, components = connected_components(links, directed=False)
    return components[ids].astype(np.int64)


def _assign(
    labels: np.ndarray, group_ids: np.ndarray, fractions: dict[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Return the split of each row (n,): one per group, with each class close to its `fractions`."""
    names = list(fractions)
    left = {label: apportion(count, list(fractions.values())) for label, count in Counter(labels.tolist()).items()}
    groups = rows_by_id(group_ids)
    rng.shuffle(groups)
    splits = np.empty(len(labels), dtype="U5")
    # Large groups first: the single images that follow make the counts exact again.
    for members in sorted(groups, key=len, reverse=True):
        need = Counter(labels[members].tolist())
        chosen = _choose_split(left, need, rng)
        for label, count in need.items():
            left[label][chosen] -= count
        splits[members] = names[chosen]
    return splits


def _choose_split(left: dict[int, list[int]], need: Counter[int], rng: np.random.Generator) -> int:
    """Return a random split, weighted by the places it has left, or the one with the most if the group fits nowhere."""
    places = [min(values) for values in zip(*([n - need[c] for n in left[c]] for c in need), strict=True)]
    fitting = [split for split, place in enumerate(places) if place >= 0]
    if not fitting:
        return places.index(max(places))
    bounds = list(accumulate(sum(left[label][split] for label in need) for split in fitting))
    draw = rng.random() * bounds[-1]
    return next(split for split, bound in zip(fitting, bounds, strict=True) if draw < bound)


def _describe_gaps(
    dataset: ImageDataset, rows: np.ndarray, ids: np.ndarray, splits: np.ndarray, fractions: dict[str, float]
) -> Iterator[str]:
    """Yield sentences on classes that are missing in a split, a missing test split, and copies of its images."""
    for code, name in enumerate(dataset.class_names):
        assigned = splits[rows[dataset.labels[rows] == code]]
        missing = [split for split in fractions if split not in assigned]
        if len(assigned) and missing:
            yield f"Of {len(assigned)} images of {name}, none is in {' or '.join(missing)}."
    if len(dataset) and "test" not in splits:
        yield "There is no test split: use the split scheme 90/10 or 70/15/15 to make one."
    # Only the official test split can have them.
    if shared := int(np.isin(ids[splits != "test"], ids[splits == "test"]).sum()):
        yield f"{shared} images of train or val have an identical copy in test, which is left as published."
