"""The contents of a dataset in numbers, to record next to it and to compare with published counts."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ferlib.core.emotions import EMOTIONS
from ferlib.data.dataset import SPLITS, ImageDataset
from ferlib.data.layouts.fer2013 import FER2013_COUNTS
from ferlib.data.layouts.splits import FER2013_USAGES

# What a manifest has of `DataInfo`.
_RECORDED = ("title", "layout", "path", "sha256", "synthetic", "sample_size", "split", "label_order", "split_folders")


def build_manifest(dataset: ImageDataset) -> dict[str, Any]:
    """Return the counts, sizes and checksums of a dataset, as JSON can represent them.

    ``counts`` and ``source_counts`` are images per class of each split, by our names and by the source's. ``sha256`` is
    the checksum of the source, ``pixels_sha256`` of the decoded images with their labels, which is the same for a
    lossless copy in another format.
    """
    digest = hashlib.sha256(np.ascontiguousarray(dataset.images).data)
    digest.update(np.ascontiguousarray(dataset.labels).data)
    info = dataset.info.to_json()
    return {
        **{key: info.get(key) for key in _RECORDED},
        "pixels_sha256": digest.hexdigest(),
        "n_images": len(dataset),
        "image_size": list(dataset.image_size),
        "channels": dataset.images.shape[-1],
        "class_names": list(dataset.class_names),
        "counts": _count(dataset, dataset.splits),
        "source_counts": {} if dataset.source_splits is None else _count(dataset, dataset.source_splits),
        "notes": info["notes"],
    }


def compare_with_fer2013(manifest: dict[str, Any]) -> list[str]:
    """Return one sentence per difference between a manifest of `build_manifest` and FER2013's published counts.

    Missing splits are not a difference. Where the source does not name FER2013's usages, train is compared with
    Training, and test with PublicTest, PrivateTest or both.

    References
    ----------
    Goodfellow et al., "Challenges in representation learning: a report on three machine learning contests",
    ICONIP, 2013.
    """
    if manifest["title"] != "FER2013":
        return [f"This is not FER2013 ({manifest['title']}), so its counts were not compared with the published ones."]
    if manifest["sample_size"]:
        return [f"This is a sample of {manifest['n_images']:,} images, so its counts were not compared."]
    classes = manifest["class_names"]
    if sum(sum(counts.values()) for counts in manifest["source_counts"].values()) == manifest["n_images"]:
        found = manifest["source_counts"]
        return [line for usage in found for line in _differences(usage, found[usage], _published([usage], classes))]
    empty = dict.fromkeys(classes, 0)
    train, val, test = (manifest["counts"].get(split, empty) for split in ("train", "val", "test"))
    train = {name: train[name] + val[name] for name in classes}
    train_differences = _differences("train", train, _published(["Training"], classes)) if any(train.values()) else []
    known_tests = [_published(usages, classes) for usages in (["PublicTest"], ["PrivateTest"], FER2013_USAGES[1:])]
    test_differences = [] if test in (empty, *known_tests) else _differences("test", test, known_tests[-1])
    totals = {name: train[name] + test[name] for name in classes}
    if (train_differences or test_differences) and totals == _published(FER2013_USAGES, classes):
        return [
            f"The images per class are FER2013's, but the split is not: {sum(train.values()):,} train and "
            f"{sum(test.values()):,} test instead of 28,709 and 7,178."
        ]
    return train_differences + test_differences


def _count(dataset: ImageDataset, column: np.ndarray) -> dict[str, dict[str, int]]:
    """Return the images per class for each value of `column` (n,), except ""."""
    values = [value for value in (*SPLITS, *FER2013_USAGES) if value in column]
    counts = {value: np.bincount(dataset.labels[column == value], minlength=dataset.n_classes) for value in values}
    return {value: dict(zip(dataset.class_names, row.tolist(), strict=True)) for value, row in counts.items()}


def _published(usages: Iterable[str], classes: Iterable[str]) -> dict[str, int]:
    """Return FER2013's published counts of some classes, summed over some usages."""
    return {name: sum(FER2013_COUNTS[usage][EMOTIONS.index(name)] for usage in usages) for name in classes}


def _differences(split: str, found: dict[str, int], published: dict[str, int]) -> list[str]:
    """Return a sentence for each class of a split whose count is not the published one."""
    return [
        f"{split} has {found[name]:,} images of {name}; FER2013 was published with {published[name]:,}."
        for name in found
        if found[name] != published[name]
    ]
