import json

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.data import DataInfo, ImageDataset, build_manifest, compare_with_fer2013
from ferlib.data.layouts.fer2013 import FER2013_COUNTS, is_fer2013


def make_fer2013(counts, *, source_splits=True, splits=None):
    """Return a dataset with the given number of one-pixel images per usage and class."""
    labels = np.concatenate([np.repeat(np.arange(7), numbers) for numbers in counts.values()])
    parts = np.concatenate([np.full(sum(numbers), part) for part, numbers in counts.items()])
    return ImageDataset(
        images=np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels=labels,
        class_names=EMOTIONS,
        splits=np.where(parts == "Training", "train", "test") if splits is None else splits(parts),
        source_splits=parts if source_splits else None,
        names=parts,
        info=DataInfo(title="FER2013", layout="csv", path="x", sha256="0", notes=("Hm.",)),
    )


def changed(counts, part, label, difference):
    numbers = list(counts[part])
    numbers[label] += difference
    return counts | {part: tuple(numbers)}


def only(*parts):
    return {part: FER2013_COUNTS[part] for part in parts}


def test_published_counts_have_the_published_totals():
    assert {part: sum(counts) for part, counts in FER2013_COUNTS.items()} == {
        "Training": 28709,
        "PublicTest": 3589,
        "PrivateTest": 3589,
    }
    test_folder = np.add(FER2013_COUNTS["PublicTest"], FER2013_COUNTS["PrivateTest"])
    assert test_folder.tolist() == [958, 111, 1024, 1774, 1247, 831, 1233]


@pytest.mark.parametrize("source_splits", [True, False])
@pytest.mark.parametrize(
    "parts",
    [tuple(FER2013_COUNTS), ("Training", "PublicTest"), ("Training", "PrivateTest"), ("PublicTest",), ("Training",)],
)
def test_complete_splits_show_no_difference(parts, source_splits):
    assert compare_with_fer2013(build_manifest(make_fer2013(only(*parts), source_splits=source_splits))) == []


@pytest.mark.parametrize("source_splits", [True, False])
def test_missing_image_is_reported(source_splits):
    counts = changed(FER2013_COUNTS, "Training", 3, -1)
    part = "Training" if source_splits else "train"
    assert compare_with_fer2013(build_manifest(make_fer2013(counts, source_splits=source_splits))) == [
        f"{part} has 7,214 images of happy; FER2013 was published with 7,215."
    ]


def test_other_split_of_the_same_images_is_reported():
    counts = changed(changed(FER2013_COUNTS, "Training", 3, -51), "PublicTest", 3, 51)
    sentences = compare_with_fer2013(build_manifest(make_fer2013(counts, source_splits=False)))
    assert len(sentences) == 1
    assert "but the split is not: 28,658 train and 7,229 test" in sentences[0]


def test_subset_of_emotions_is_compared():
    dataset = make_fer2013(FER2013_COUNTS)
    manifest = build_manifest(dataset.select(np.isin(dataset.labels, [3, 4])))
    manifest["class_names"] = ["happy", "sad"]
    for part in manifest["source_counts"].values():
        for name in set(EMOTIONS) - {"happy", "sad"}:
            del part[name]
    assert compare_with_fer2013(manifest) == []


def test_other_datasets_and_samples_are_not_compared():
    manifest = build_manifest(make_fer2013(only("PublicTest")))
    assert "not FER2013 (ExpW)" in compare_with_fer2013(manifest | {"title": "ExpW"})[0]
    assert "a sample of 3,589" in compare_with_fer2013(manifest | {"sample_size": 3589})[0]


def test_manifest_is_json_with_counts_and_checksums():
    dataset = make_fer2013(only("PublicTest", "PrivateTest"))
    manifest = build_manifest(dataset)
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["counts"]["test"]["disgust"] == 111
    assert manifest["source_counts"]["PublicTest"]["disgust"] == 56
    assert manifest["notes"] == ["Hm."]
    dataset.images[0] = 1
    assert build_manifest(dataset)["pixels_sha256"] != manifest["pixels_sha256"]


def test_fer2013_is_recognized_by_its_counts():
    labels = make_fer2013(FER2013_COUNTS).labels
    assert is_fer2013(labels, np.full(len(labels), ""))
    assert not is_fer2013(labels[1:], np.full(len(labels) - 1, ""))
