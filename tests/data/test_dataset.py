import dataclasses
import json
import zipfile

import numpy as np
import pytest

from ferlib.core.errors import DataError
from ferlib.data import load_images
from ferlib.data.dataset import pixel_ids, read_saved


def test_counts_have_all_classes_and_the_present_splits(make_dataset):
    table = make_dataset([0, 1, 2], [3, 3, 0], splits=["test", "train", "train"]).counts()
    assert list(table.columns) == ["train", "test"]
    assert table.loc["happy"].tolist() == [1, 1]
    assert table.loc["angry"].tolist() == [1, 0]
    assert table.loc["neutral"].tolist() == [0, 0]


def test_missing_split_is_an_error_that_names_the_others(make_dataset):
    dataset = make_dataset([0, 1], [0, 1], splits=["train", "test"])
    assert dataset.split("test").names.tolist() == ["image_1"]
    with pytest.raises(DataError, match="no images for 'val'; it has train, test"):
        dataset.split("val")
    with pytest.raises(DataError, match="no images for 'dev'"):
        dataset.split("dev")


def test_describe_is_one_sentence(make_dataset):
    dataset = make_dataset([0, 1], [0, 1], splits=["train", "test"])
    assert dataset.describe() == "folder (made): 2 images of 8 x 8 pixels, gray, 7 classes; train 1, test 1."
    drawn = dataclasses.replace(dataset, info=dataclasses.replace(dataset.info, synthetic=True))
    assert drawn.describe().startswith("SYNTHETIC faces")


def test_empty_selection_can_be_counted(make_dataset):
    empty = make_dataset([0], [0]).select(np.array([], dtype=int))
    assert len(empty) == 0
    assert empty.counts().to_numpy().sum() == 0
    assert "0 images" in empty.describe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 9]}, "Labels"),
        ({"labels": [0]}, "labels has shape"),
        ({"splits": ["train", "dev"]}, "Splits"),
        ({"groups": ["a"]}, "groups has shape"),
    ],
)
def test_inconsistent_fields_are_an_error(make_dataset, change, message):
    with pytest.raises(DataError, match=message):
        make_dataset([0, 1], **{"labels": [0, 1], **change})


def test_saved_dataset_is_loaded_unchanged(make_dataset, tmp_path):
    splits, names = ["train", "val", "test"], ("angry", "happy")
    dataset = make_dataset([0, 1, 1], [0, 1, 0], splits=splits, groups=["a", "b", "b"], class_names=names)
    dataset.save(tmp_path / "saved.npz")
    loaded = load_images(tmp_path / "saved.npz")
    for name in ("images", "labels", "splits", "names", "groups"):
        assert np.array_equal(getattr(loaded, name), getattr(dataset, name)), name
    assert loaded.class_names == dataset.class_names
    assert loaded.info == dataset.info
    assert [path.name for path in tmp_path.iterdir()] == ["saved.npz"]


def test_saved_dataset_can_be_reduced_to_some_emotions(make_dataset, tmp_path):
    path = tmp_path / "saved.npz"
    make_dataset([0, 1, 2], [2, 0, 1], class_names=("angry", "happy", "sad")).save(path)
    subset = load_images(path, emotions="sadness,angry")
    assert subset.class_names == ("angry", "sad")
    assert subset.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="saved without fear"):
        load_images(path, emotions="angry,fear")


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda c: flip(c, 200), lambda c: flip(c, 1500), lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"PK"],
)
def test_damaged_file_is_an_error_that_names_it(make_dataset, tmp_path, damage):
    path = tmp_path / "saved.npz"
    make_dataset(list(range(20)), [0] * 20).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"saved\.npz"):
        read_saved(path)


def test_other_npz_is_an_error(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(DataError, match="is not a dataset saved by ferlib"):
        load_images(tmp_path / "other.npz")
    np.savez_compressed(tmp_path / "packed.npz", images=np.zeros(3))
    with pytest.raises(DataError, match="compressed"):
        load_images(tmp_path / "packed.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        for name in ("images", "labels", "class_names", "splits", "usages", "names"):
            archive.writestr(name, "text")
        archive.writestr("info", json.dumps({}))
    with pytest.raises(DataError, match="is not a dataset saved by ferlib"):
        load_images(tmp_path / "text.npz")


def test_pixel_ids_are_equal_for_identical_images():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    images[1, 0, 0] = 1
    images[3] = images[1]
    assert pixel_ids(images).tolist() == [0, 1, 0, 1]
    assert pixel_ids(images[:0]).shape == (0,)
