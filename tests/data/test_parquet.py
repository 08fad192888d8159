"""Datasets in Parquet files, as Hugging Face exports them."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.data import load_images
from ferlib.data.raw import add_archive

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

# The order is not ferlib's, so that a guess would be wrong.
NAMES = ("surprise", "anger", "happiness", "contempt", "neutral")


def png(gray):
    """An encoded image of one gray value."""
    stream = io.BytesIO()
    Image.new("L", (20, 20), int(gray)).save(stream, "PNG")
    return stream.getvalue()


def export(path, labels, *, names=NAMES, images=None, **columns):
    """Write a file as the package datasets does: image i is of gray value 10 i, its label a code into `names`."""
    images = [{"bytes": png(10 * i), "path": f"{i}.png"} for i in range(len(labels))] if images is None else images
    table = pyarrow.table({"image": images, "label": labels} | columns)
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)
    return path


def emotions_of(dataset):
    return [dataset.class_names[label] for label in dataset.labels]


@pytest.fixture
def hub(tmp_path):
    """The folder of a dataset, as it is downloaded."""
    export(tmp_path / "hub" / "data" / "train-00000-of-00002.parquet", [0, 1, 2, 3])
    export(tmp_path / "hub" / "data" / "train-00001-of-00002.parquet", [2, 4, 0, 1, 2])
    export(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", [1])
    (tmp_path / "hub" / "README.md").write_text("---\nlicense: mit\n---\n")
    return tmp_path / "hub"


@pytest.mark.parametrize("packed", ["", "zip", "tar"])
def test_labels_are_the_names_in_the_metadata(hub, packed):
    path = shutil.make_archive(str(hub), packed, hub) if packed else hub
    data = load_images(path)
    train = data.split("train")
    assert emotions_of(train) == ["surprise", "angry", "happy", "happy", "neutral", "surprise", "angry", "happy"]
    assert emotions_of(data.split("test")) == ["angry"]
    assert train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 0, 10, 20, 30, 40]
    assert train.names[0] == "data/train-00000-of-00002.parquet/0.png"
    assert "The label 'contempt' is not one of the seven emotions: 1 image left out." in data.info.notes


def test_a_single_file_is_recognized_by_its_content(tmp_path):
    path = export(tmp_path / "faces", [0, 1], emotion=[1, 1])
    assert emotions_of(load_images(path)) == ["surprise", "angry"]  # the numbers of `emotion` have no names


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "the classes are the numbers 0, 1, which mean different emotions"), ({"label_order": "affectnet"}, None)],
)
def test_numbers_without_names_are_never_guessed(tmp_path, options, message):
    path = export(tmp_path / "faces.parquet", [0, 1], names=None)
    if message:
        with pytest.raises(DataError, match=message):
            load_images(path, **options)
    else:
        assert emotions_of(load_images(path, **options)) == ["neutral", "happy"]


def test_numbers_in_fer2013s_columns_are_its_own(tmp_path):
    pixels = [" ".join(["7"] * 2304), " ".join(["9"] * 2304), "broken"]
    table = {"emotion": [3, 0, 3], "pixels": pixels, "Usage": ["Training", "PublicTest", "Training"]}
    pq.write_table(pyarrow.table(table), tmp_path / "fer2013.parquet")
    data = load_images(tmp_path / "fer2013.parquet")
    assert (emotions_of(data), data.images[:, 0, 0, 0].tolist()) == (["happy", "angry"], [7, 9])
    assert data.source_splits.tolist() == ["Training", "PublicTest"]
    assert data.info.title == "FER2013"
    assert any("unreadable: 1 of 3" in note for note in data.info.notes)


@pytest.mark.parametrize(
    "images",
    [
        [png(50), png(60)],
        [np.full((8, 8), 50, np.uint8).tolist(), np.full((8, 8), 60, np.uint8).tolist()],
        [[50] * 64, [60] * 64],
    ],
)
def test_images_may_be_bytes_or_arrays(tmp_path, images):
    data = load_images(export(tmp_path / "faces.parquet", ["sad", "happy"], names=None, images=images))
    assert data.images[:, 0, 0, 0].tolist() == [50, 60]


def test_faults_of_rows_are_counted(tmp_path):
    images = [{"bytes": png(50), "path": None}, {"bytes": b"nothing", "path": None}, {"bytes": None, "path": "a.png"}]
    images += [{"bytes": png(90), "path": None}, {"bytes": png(90), "path": None}]
    path = export(tmp_path / "faces.parquet", [0, 0, 1, None, -1], images=images)
    data = load_images(path)
    assert data.images[:, 0, 0, 0].tolist() == [50]
    notes = " ".join(data.info.notes)
    assert "Left out: 2 images without a label." in notes
    assert "Left out as unreadable: 2 of 3 images." in notes
    with pytest.raises(DataError, match="--strict"):
        load_images(path, strict=True)


def test_a_file_of_unknown_split_is_asked_about(tmp_path):
    for name in ("train", "extra"):
        export(tmp_path / f"{name}.parquet", [0, 1])
    with pytest.raises(DataError, match=r"'extra\.parquet' does not say which split.*--split-folder"):
        load_images(tmp_path)
    data = load_images(tmp_path, split_folders={"extra.parquet": "test"})
    assert sorted(data.splits.tolist()) == ["test", "test", "train", "train"]
    assert len(load_images(tmp_path, split_folders={"extra*": "none"})) == 2


def test_shards_without_a_split_are_one_table(tmp_path):
    for number in range(2):
        export(tmp_path / f"part-{number}.parquet", [0, 1])
    data = load_images(tmp_path)
    assert data.splits.tolist() == ["train"] * 4


def test_names_of_kaggles_copy_keep_the_final_test_apart(tmp_path):
    kept = ("Training_1.jpg", "PublicTest_2.jpg", "PrivateTest_3.jpg")
    images = [{"bytes": png(10 * number), "path": name} for number, name in enumerate(kept)]
    for name in ("faces.parquet", "test.parquet"):
        data = load_images(export(tmp_path / name, [0, 1, 2], images=images))
        assert data.source_splits.tolist() == ["Training", "PublicTest"]
        assert data.splits.tolist() == (["train", "test"] if name == "faces.parquet" else ["test", "test"])


def test_a_column_gives_the_split(tmp_path):
    path = export(tmp_path / "faces.parquet", [0, 1, 2], split=["train", "validation", "test"])
    assert load_images(path).splits.tolist() == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-20], "damaged or cannot be read as Parquet"),
        (lambda data: data[:4], "damaged or cannot be read as Parquet"),
        (lambda data: data[:40] + b"\0" * 40 + data[80:], "There is no image to use|damaged"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, change, message):
    path = export(tmp_path / "faces.parquet", [0, 1])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        load_images(path)


def test_a_damaged_part_costs_only_its_rows(tmp_path):
    path = export(tmp_path / "faces.parquet", [0, 1, 2] * 3)  # in three groups of rows
    with pq.ParquetFile(path) as file:
        described = file.metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    place = described.dictionary_page_offset or described.data_page_offset
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    dataset = load_images(path)
    assert dataset.images[:, 0, 0, 0].tolist() == [0, 10, 20, 60, 70, 80]
    assert any("Left out as unreadable: 3 of 9 images" in note for note in dataset.info.notes)


def test_missing_columns_are_named(tmp_path):
    pq.write_table(pyarrow.table({"image": [png(1)], "age": [3]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"no column of labels; its columns are image \(binary\), age \(int64\)"):
        load_images(tmp_path / "a.parquet")
    pq.write_table(pyarrow.table({"file": ["a.png"], "label": ["sad"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"no column of encoded images; its columns are file \(string\)"):
        load_images(tmp_path / "a.parquet")


def test_memory_is_bounded_by_small_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("ferlib.data.layouts.parquet._MAX_GROUP_BYTES", 1000)
    path = export(
        tmp_path / "faces.parquet", [0], images=[{"bytes": bytes(np.random.default_rng(0).bytes(4000)), "path": ""}]
    )
    with pytest.raises(DataError, match="bytes, over 1,000"):
        load_images(path)


def test_values_that_are_stored_once_and_used_often_do_not_fill_the_memory(tmp_path, caplog):
    n, long = 3000, "x" * 5_000_000
    labels = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * (n - 1) + [1]), pyarrow.array([long, "sad"]))
    images = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * n), pyarrow.array([b"no image" + bytes(500_000)]))
    pq.write_table(pyarrow.table({"image": images, "label": labels}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(DataError, match="There is no image to use"):
        load_images(tmp_path / "a.parquet")
    labels = pyarrow.array(["sad"] * n)
    pq.write_table(pyarrow.table({"image": images, "label": labels}), tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(DataError, match="There is no image to use"):
        load_images(tmp_path / "a.parquet")
    assert "expands to over 200 times its size, like a decompression bomb" in caplog.text


def test_without_pyarrow_a_sentence_says_what_to_install(hub, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match="Parquet files, which need pyarrow: pip install"):
        load_images(hub)


def test_it_is_copied_and_found_again(hub, tmp_path):
    single = hub / "data" / "test-00000-of-00001.parquet"
    target, data = add_archive(single, data_dir=tmp_path / "data")
    assert target.name == "test-00000-of-00001.parquet"
    assert len(load_images(target)) == len(data) == 1
    target, data = add_archive(hub, data_dir=tmp_path / "data")
    assert (target.name, len(load_images(target))) == ("hub.zip", 9)
    assert set(data.class_names) == set(EMOTIONS)
