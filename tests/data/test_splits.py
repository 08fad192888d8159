import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlib.core.errors import DataError
from ferlib.data import audit_dataset, limit_train, load_images, split_dataset

SCHEMES = ("official", "90/10", "70/15/15")


def parts_of(dataset, keys, split_names=("train", "val", "test")):
    """Return, for each key, the splits in which it occurs."""
    return {key: set(dataset.splits[np.asarray(keys) == key]) & set(split_names) for key in set(keys)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2), st.integers(0, 25)), min_size=1, max_size=60),
    st.sampled_from(["90/10", "70/15/15", "60/40"]),
    st.integers(0, 5),
)
def test_duplicates_and_groups_stay_in_one_split(rows, scheme, seed):
    pixels, labels, groups = zip(*rows, strict=True)
    dataset = make(pixels, labels, groups=[str(group) for group in groups])
    split = split_dataset(dataset, scheme, val_fraction=0.2, seed=seed)
    assert all(len(parts) == 1 for parts in parts_of(split, pixels).values())
    assert all(len(parts) == 1 for parts in parts_of(split, groups).values())
    assert split.names.tolist() == dataset.names.tolist()
    assert audit_dataset(split).across == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=80), st.integers(0, 5))
def test_class_fractions_miss_by_at_most_one_group(rows, seed):
    pixels, labels = zip(*rows, strict=True)
    split = split_dataset(make(pixels, labels), "70/15/15", seed=seed)
    largest = max(Counter(pixels).values())
    for label, count in Counter(labels).items():
        for name, fraction in {"train": 0.7, "val": 0.15, "test": 0.15}.items():
            assigned = ((split.splits == name) & (split.labels == label)).sum()
            assert abs(assigned - fraction * count) < largest + 1


def make(pixels, labels, groups=None):
    """Make a dataset; hypothesis does not allow the fixture."""
    from ferlib.data import DataInfo, ImageDataset

    noise = np.random.default_rng(0).integers(0, 256, (max(pixels) + 1, 4, 4, 1), dtype=np.uint8)
    n = len(pixels)
    return ImageDataset(
        images=noise[list(pixels)],
        labels=np.array(labels),
        class_names=("angry", "happy", "sad"),
        splits=np.full(n, "train"),
        names=np.array([str(row) for row in range(n)]),
        info=DataInfo(title="folder", layout="folders", path="made", sha256="0"),
        groups=None if groups is None else np.array(groups),
    )


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("90/10", {"train": 81, "val": 9, "test": 10}),
        ("70/15/15", {"train": 70, "val": 15, "test": 15}),
        ("80/20", {"train": 72, "val": 8, "test": 20}),
    ],
)
def test_fractions_are_exact_without_duplicates(make_dataset, scheme, expected):
    split = split_dataset(make_dataset(range(300), [0] * 100 + [3] * 200), scheme)
    assert split.counts().loc["angry"].to_dict() == expected
    assert split.counts().loc["happy"].to_dict() == {name: 2 * count for name, count in expected.items()}


def test_official_keeps_test_and_takes_val_from_train(make_dataset):
    dataset = make_dataset(range(120), [0, 1] * 60, splits=["train"] * 100 + ["test"] * 20)
    split = split_dataset(dataset, val_fraction=0.2)
    assert (split.splits[100:] == "test").all()
    assert split.counts().loc["angry"].to_dict() == {"train": 40, "val": 10, "test": 10}
    assert dataset.splits.tolist() == ["train"] * 100 + ["test"] * 20


def test_official_keeps_duplicates_together_and_counts_those_in_test(make_dataset):
    pixels = [row // 2 for row in range(100)] + [0, 1]
    dataset = make_dataset(pixels, [0] * 102, splits=["train"] * 100 + ["test"] * 2)
    split = split_dataset(dataset, val_fraction=0.3)
    assert all(len(parts) == 1 for parts in parts_of(split, pixels, ("train", "val")).values())
    assert set(split.splits[100:]) == {"test"}
    assert any(note.startswith("4 images of train or val have an identical copy") for note in split.info.notes)


def test_val_of_the_source_is_kept(make_dataset):
    dataset = make_dataset(range(40), [0] * 40, splits=["train"] * 20 + ["val"] * 10 + ["test"] * 10)
    assert split_dataset(dataset, val_fraction=0.5).splits.tolist() == dataset.splits.tolist()
    first = split_dataset(make_dataset(range(40), [0] * 40), val_fraction=0.1)
    again = split_dataset(first, val_fraction=0.5)
    assert ((first.splits == "val").sum(), (again.splits == "val").sum()) == (4, 20)


def test_dataset_with_test_alone_is_unchanged(make_dataset):
    split = split_dataset(make_dataset(range(5), [0] * 5, splits=["test"] * 5))
    assert set(split.splits) == {"test"}


def test_recorded_split_can_be_repeated(make_dataset):
    dataset = make_dataset(range(100), [0] * 100)
    split = split_dataset(dataset, "80/20", val_fraction=0.25, seed=7)
    assert split_dataset(dataset, **dataclasses.asdict(split.info.split)).splits.tolist() == split.splits.tolist()


def test_seed_determines_the_split(make_dataset):
    dataset = make_dataset(range(100), [0] * 100)
    splits = [split_dataset(dataset, "90/10", seed=seed).splits.tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [1, 2])
def test_tiny_class_goes_to_train_with_a_note(make_dataset, scheme, size):
    split = split_dataset(make_dataset(range(100 + size), [0] * 100 + [1] * size), scheme)
    assert set(split.splits[100:]) == {"train"}
    assert any(note.startswith(f"Of {size} images of disgust, none is in val") for note in split.info.notes)


def test_notes_of_an_earlier_split_are_replaced(make_dataset):
    dataset = make_dataset(range(50), [0] * 50)
    official = split_dataset(dataset)
    assert any("no test split" in note for note in official.info.notes)
    assert not any("no test split" in note for note in split_dataset(official, "90/10").info.notes)


def test_official_split_cannot_be_restored(make_dataset):
    split = split_dataset(make_dataset(range(50), [0] * 50), "90/10")
    with pytest.raises(DataError, match="split 90/10; load it again"):
        split_dataset(split, "official")


@pytest.mark.parametrize("scheme", ["", "90", "90/20", "a/b", "50/25/15/10", "-10/110", "stratified"])
def test_invalid_scheme_is_an_error(make_dataset, scheme):
    with pytest.raises(DataError, match="is not a split scheme"):
        split_dataset(make_dataset(range(4), [0] * 4), scheme)


@pytest.mark.parametrize("val_fraction", [-0.1, 1, 1.5])
def test_invalid_val_fraction_is_an_error(make_dataset, val_fraction):
    with pytest.raises(DataError, match="val_fraction"):
        split_dataset(make_dataset(range(4), [0] * 4), val_fraction=val_fraction)


def test_val_fraction_of_zero_gives_no_val(make_dataset):
    assert set(split_dataset(make_dataset(range(50), [0] * 50), val_fraction=0).splits) == {"train"}


@pytest.mark.real_data
@pytest.mark.parametrize("scheme", SCHEMES)
def test_fer2013_splits_without_a_leak(fer2013, scheme):
    split = split_dataset(fer2013, scheme, val_fraction=0.1, seed=3)
    published = "test" if scheme == "official" else ""
    assert audit_dataset(split.select(split.splits != published)).across == ()
    share = {"official": (0.1 * 28709), "90/10": 0.09 * 32298, "70/15/15": 0.15 * 32298}[scheme]
    assert abs((split.splits == "val").sum() - share) < 5
    if scheme == "official":
        assert (split.splits == "test").sum() == 3589


@pytest.mark.real_data
def test_expw_keeps_the_faces_of_a_photo_together(expw_archive):
    dataset = load_images(expw_archive)
    split = split_dataset(dataset, "70/15/15", seed=1)
    photos = {photo: set(split.splits[split.groups == photo]) for photo in set(split.groups)}
    assert len(photos) == 1520
    assert all(len(parts) == 1 for parts in photos.values())
    shares = split.counts().to_numpy() / split.counts().sum(axis=1).to_numpy()[:, np.newaxis]
    assert np.allclose(shares, [0.7, 0.15, 0.15], atol=0.02)


def test_train_is_limited_and_val_and_test_are_not(drawn_faces):
    small = limit_train(drawn_faces, 70)
    assert small.counts().sum().to_dict() == {"train": 70, "val": 60, "test": 60}
    assert set(small.counts()["train"]) <= {9, 10, 11}
    assert small.info.train_size == 70
    assert limit_train(drawn_faces, 300) is drawn_faces
    assert (limit_train(drawn_faces, 70, seed=1).names != small.names).any()
    with pytest.raises(DataError, match="3 images cannot be chosen from train"):
        limit_train(drawn_faces, 3)
