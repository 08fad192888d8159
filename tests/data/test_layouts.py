"""Layouts with lists of labels: FER+, RAF-DB, AffectNet, CK+, tables, and names of files."""

import io

import numpy as np
import pytest
from PIL import Image

from ferlib.core.crops import CropGeometry
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.data import load_images


def names_of(dataset):
    """Return the emotion of each image, by its file name without folders."""
    return {
        name.split("/")[-1]: dataset.class_names[label]
        for name, label in zip(dataset.names, dataset.labels, strict=True)
    }


@pytest.fixture
def ferplus(encode):
    """FER+ as its own script writes it."""
    rows = {
        "FER2013Train": ("fer0000000.png,4,0,0,1,3,2,0,0,0,0", "fer0000001.png,0,0,0,0,5,5,0,0,0,0"),
        "FER2013Valid": ("fer0028638.png,0,9,0,0,0,0,0,1,0,0", "fer0028639.png,0,0,0,0,0,0,0,8,1,1"),
        "FER2013Test": ("fer0032220.png,0,0,0,7,1,0,1,0,0,1",),
    }
    contents = {}
    for folder, lines in rows.items():
        cells = [line.partition(",") for line in lines]
        text = "".join(f'{name},"(0, 0, 48, 48)",{votes}\r\n' for name, _, votes in cells)
        contents |= {f"data/{folder}/{name}": encode(int(name[3:10])) for name, _, _ in cells}
        contents[f"data/{folder}/label.csv"] = text.encode()
    return contents


def test_ferplus_as_its_script_writes_it(pack, ferplus):
    path = pack(ferplus)
    dataset = load_images(path, test_usage="all")
    assert names_of(dataset) == {"fer0000000.png": "neutral", "fer0028638.png": "happy", "fer0032220.png": "sad"}
    assert dataset.source_splits.tolist() == ["PrivateTest", "Training", "PublicTest"]
    assert dataset.info.title == "FER+"
    assert "Left out: 1 image with a tie between raters." in dataset.info.notes
    assert "The label 'contempt' is not one of the seven emotions: 1 image left out." in dataset.info.notes
    assert load_images(path).source_splits.tolist() == ["Training", "PublicTest"]


def test_damaged_list_of_ferplus_is_named(pack, ferplus):
    ferplus["data/FER2013Test/label.csv"] += b"fer1.png,1,2\n"
    with pytest.raises(DataError, match=r"FER2013Test/label\.csv, line 2: expected an image name, a box and ten votes"):
        load_images(pack(ferplus))


@pytest.mark.parametrize("kind", ["aligned", "original"])
def test_rafdb(pack, encode, kind):
    lines = [f"train_0000{number}.jpg {number}" for number in range(1, 8)] + ["test_0001.jpg 4", "test_0002.jpg 1"]
    contents = {"basic/EmoLabel/list_patition_label.txt": "\r\n".join(lines).encode()}
    for seed, line in enumerate(lines[:-1]):
        stem = line.split(".")[0]
        if kind == "aligned":
            contents[f"basic/Image/aligned/{stem}_aligned.jpg"] = encode(seed)
        contents[f"basic/Image/original/{stem}.jpg"] = encode(seed, size=(60, 80))
        contents[f"basic/Annotation/boundingbox/{stem}_boundingbox.txt"] = b"10.2 5.0 50.1 45.0 \n"
    path = pack(contents)
    dataset = load_images(path)
    order = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
    by_name = {
        name.removesuffix(".jpg").removesuffix("_aligned"): emotion for name, emotion in names_of(dataset).items()
    }
    assert by_name == {f"train_0000{number}": name for number, name in enumerate(order, start=1)} | {
        "test_0001": "happy"
    }
    assert dataset.counts().sum().to_dict() == {"train": 7, "test": 1}
    assert dataset.images.shape[1:3] == ((48, 48) if kind == "aligned" else (40, 40))
    assert "Left out: 1 image listed but missing." in dataset.info.notes
    with pytest.raises(DataError, match=r"--strict.*listed but missing"):
        load_images(path, strict=True)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_table_of_names(pack, encode, suffix):
    separator = "," if suffix == ".csv" else "\t"
    rows = [
        ("Image", "Emotion"),
        ("a.png", "Happiness"),
        ("sub/b.png", "ANGER"),
        ("c", "contempt"),
        ("gone.png", "sad"),
    ]
    text = "\n".join(separator.join(row) for row in rows)
    files = {
        "images/a.png": encode(1),
        "images/sub/b.png": encode(2),
        "images/c.png": encode(3),
        "images/x.png": encode(4),
    }
    dataset = load_images(pack({f"legend{suffix}": text.encode("utf-8-sig"), **files}))
    assert names_of(dataset) == {"a.png": "happy", "b.png": "angry"}
    assert "Left out: 1 image listed but missing, the first gone.png." in dataset.info.notes
    assert any(note.startswith("Left out: 1 image not listed in legend") for note in dataset.info.notes)


def test_table_of_numbers_is_asked_about(pack, encode):
    contents = {
        "labels.csv": b"path;label\nimg\\1.png;1\nimg\\2.png;2\n",
        "img/1.png": encode(1),
        "img/2.png": encode(2),
    }
    path = pack(contents)
    with pytest.raises(DataError, match=r"labels\.csv: the classes are the numbers 1, 2, .*--label-order"):
        load_images(path)
    assert names_of(load_images(path, label_order="ckplus")) == {"1.png": "angry"}


def test_tables_per_split_with_the_same_file_names(pack, encode):
    contents = {
        f"{split}/{name}.png": encode(n) for n, (split, name) in enumerate([("train", 1), ("train", 2), ("test", 1)])
    }
    contents["train_labels.csv"] = b"image,label\n1.png,sad\n2.png,happy\n"
    contents["test_labels.csv"] = b"image,label\n1.png,fear\n"
    dataset = load_images(pack(contents))
    found = dict(zip(dataset.names, np.array(EMOTIONS)[dataset.labels], strict=True))
    assert found == {"train/1.png": "sad", "train/2.png": "happy", "test/1.png": "fear"}
    assert dict(zip(dataset.names, dataset.splits, strict=True)) == {
        "train/1.png": "train",
        "train/2.png": "train",
        "test/1.png": "test",
    }


def test_affectnets_table_has_boxes(pack, encode):
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    rows = ["689/a.jpg,5,6,40,30,1;2,1,0.1,0.2", "12/b.jpg,0,0,30,30,1;2,7,0,0", "12/c.jpg,0,0,40,30,1;2,0,0,0"]
    files = {
        f"Manually_Annotated/{name}": encode(n, size=(60, 70))
        for n, name in enumerate(("689/a.jpg", "12/b.jpg", "12/c.jpg"))
    }
    dataset = load_images(pack({"training.csv": "\n".join([header, *rows]).encode(), **files}))
    assert names_of(dataset) == {"a.jpg": "happy", "c.jpg": "neutral"}
    # Squares with the longer side of the boxes.
    assert dataset.images.shape == (2, 40, 40, 1)
    assert dataset.info.crop == CropGeometry(margin=0)


def test_affectnets_arrays(pack, encode):
    contents = {}
    for number, (split, label) in enumerate([("train_set", "3"), ("train_set", "6"), ("val_set", "0")]):
        stream = io.BytesIO()
        np.save(stream, np.array(label))
        contents |= {
            f"{split}/images/{number}.jpg": encode(number),
            f"{split}/annotations/{number}_exp.npy": stream.getvalue(),
        }
        contents[f"{split}/annotations/{number}_aro.npy"] = b"not read"
    dataset = load_images(pack(contents))
    assert names_of(dataset) == {"0.jpg": "surprise", "1.jpg": "angry", "2.jpg": "neutral"}
    assert dataset.splits.tolist() == ["train", "train", "test"]


def test_ckplus_labels_the_last_image_of_a_sequence(pack, encode):
    contents = {}
    for number, (person, label) in enumerate([("S005", 3), ("S010", 7), ("S010", 2)]):
        stem = f"{person}_00{number}_00000011"
        folder = f"{person}/00{number}"
        contents[f"cohn-kanade-images/{folder}/{stem}.png"] = encode(number)
        contents[f"cohn-kanade-images/{folder}/{stem[:-1]}0.png"] = encode(50 + number)
        contents[f"Emotion/{folder}/{stem}_emotion.txt"] = f"   {label}.0000000e+00\n".encode()
    dataset = load_images(pack(contents))
    assert names_of(dataset) == {"S005_000_00000011.png": "disgust", "S010_001_00000011.png": "surprise"}
    assert dataset.groups.tolist() == ["s005", "s010"]


def test_names_of_jaffe_kdef_and_words(pack, encode):
    jaffe = pack({f"jaffe/KA.{code}1.{n}.tiff": encode(n, kind="TIFF") for n, code in enumerate(("AN", "SU", "NE"))})
    assert [EMOTIONS[label] for label in load_images(jaffe).labels] == ["angry", "neutral", "surprise"]
    assert set(load_images(jaffe).groups) == {"KA"}


def test_names_of_kdef(pack, encode):
    kdef = pack({f"KDEF/AF01/AF01{code}S.JPG": encode(n, kind="JPEG") for n, code in enumerate(("AF", "HA", "SA"))})
    assert [EMOTIONS[label] for label in load_images(kdef).labels] == ["fear", "happy", "sad"]


def test_words_in_names(pack, encode):
    files = {
        f"all/{name}.png": encode(n)
        for n, name in enumerate(("001_happy", "002_sad", "angry-3", "Rafd090_04_female_fearful_frontal"))
    }
    dataset = load_images(pack(files))
    assert sorted(names_of(dataset).values()) == ["angry", "fear", "happy", "sad"]
    assert "The emotions were read from the names of the files." in dataset.info.notes


def test_gray_and_color_images_of_any_suffix(tmp_path):
    folder = tmp_path / "happy"
    folder.mkdir()
    (tmp_path / "sad").mkdir()
    for name in ("a.JPG", "b.Jpeg", "c.bmp", "d.tif", "e.webp", "f.GIF"):
        Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(folder / name)
    Image.fromarray(np.full((20, 20), 90, np.uint8)).save(tmp_path / "sad" / "g.png")
    assert len(load_images(tmp_path)) == 7
