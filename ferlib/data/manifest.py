"""What was read, in numbers: for a record beside the data, and to compare with what was published."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ferlib.core.emotions import EMOTIONS
from ferlib.data.dataset import SPLITS, USAGES, ImageDataset
from ferlib.data.layouts.fer2013 import FER2013_COUNTS


def build_manifest(dataset: ImageDataset) -> dict[str, Any]:
    """Return what a data set holds: counts per class of each split and usage, sizes, checksums; JSON can hold it.

    Parameters
    ----------
    dataset : ImageDataset

    Returns
    -------
    dict
        ``sha256`` is the source's, ``pixels_sha256`` that of the decoded images with their labels, so that a lossless
        copy in another format has the same.
    """
    digest = hashlib.sha256(np.ascontiguousarray(dataset.images))
    digest.update(np.ascontiguousarray(dataset.labels))
    info = dataset.info.to_json()
    return {
        **{key: info[key] for key in ("title", "layout", "path", "sha256", "synthetic", "sample_size", "split")},
        "pixels_sha256": digest.hexdigest(),
        "n_images": len(dataset),
        "image_size": list(dataset.image_size),
        "channels": dataset.images.shape[-1],
        "class_names": list(dataset.class_names),
        "counts": _count(dataset, dataset.splits, SPLITS),
        "usages": _count(dataset, dataset.usages, USAGES),
        "notes": info["notes"],
    }


def compare_with_fer2013(manifest: dict[str, Any]) -> list[str]:
    """Return a sentence for each difference between a manifest and FER2013's published counts.

    Parts that are absent are no difference: a test folder may hold PublicTest alone or PrivateTest too. Where the
    source does not tell the parts, train is compared with Training, test with PublicTest, PrivateTest or both, and the
    totals with those of the whole set.

    Parameters
    ----------
    manifest : dict
        Made by `build_manifest`.

    Returns
    -------
    list of str
        Empty when the counts are the published ones.

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
    parts = {part: manifest["usages"][part] for part in USAGES if part in manifest["usages"]}
    if sum(sum(counts.values()) for counts in parts.values()) == manifest["n_images"]:
        published = {part: _published([part], classes) for part in parts}
        return [sentence for part, counts in parts.items() for sentence in _differences(part, counts, published[part])]
    return _compare_splits(manifest["counts"], classes)


def _compare_splits(counts: dict[str, dict[str, int]], classes: list[str]) -> list[str]:
    """Return the differences of a source that names no parts, by its splits."""
    train = {name: counts.get("train", {}).get(name, 0) + counts.get("val", {}).get(name, 0) for name in classes}
    test = counts.get("test", dict.fromkeys(classes, 0))
    known_tests = [_published(parts, classes) for parts in (USAGES[1:2], USAGES[2:], USAGES[1:])]
    is_train_known = not any(train.values()) or train == _published(USAGES[:1], classes)
    is_test_known = not any(test.values()) or test in known_tests
    if is_train_known and is_test_known:
        return []
    totals = {name: train[name] + test[name] for name in classes}
    if totals == _published(USAGES, classes):
        return [
            f"The images per class are FER2013's, but the split is another: {sum(train.values()):,} train and "
            f"{sum(test.values()):,} test instead of 28,709 and 7,178."
        ]
    # The whole test split is what a copy without names of parts has on Kaggle.
    sentences = [] if is_train_known else _differences("train", train, _published(USAGES[:1], classes))
    return sentences + ([] if is_test_known else _differences("test", test, _published(USAGES[1:], classes)))


def _count(dataset: ImageDataset, column: np.ndarray, values: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the images per class for each value that `column` (n,) has."""
    return {
        value: {
            name: int(((column == value) & (dataset.labels == code)).sum())
            for code, name in enumerate(dataset.class_names)
        }
        for value in values
        if value in column
    }


def _published(parts: Iterable[str], classes: Iterable[str]) -> dict[str, int]:
    """Return FER2013's published counts of some classes, summed over some parts."""
    return {name: sum(FER2013_COUNTS[part][EMOTIONS.index(name)] for part in parts) for name in classes}


def _differences(part: str, found: dict[str, int], published: dict[str, int]) -> list[str]:
    """Return a sentence for each class of a part whose count is not the published one."""
    return [
        f"{part} has {found[name]:,} images of {name}; FER2013 was published with {published[name]:,}."
        for name in found
        if found[name] != published[name]
    ]
