import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArchiveError, DataError
from ferlib.core.images import decode_image
from ferlib.data import load_images


@pytest.fixture
def fill(encode):
    """Return contents with one image per class in each of some folders."""

    def fill(*folders, classes=EMOTIONS, suffix="png", stem=""):
        names = [f"{folder}/{name}/{stem}{name}.{suffix}".lstrip("/") for folder in folders for name in classes]
        kind = "JPEG" if suffix == "jpg" else "PNG"
        return {name: encode(seed, kind=kind) for seed, name in enumerate(names)}

    return fill


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_train_and_test_folders(pack, fill, suffix):
    contents = fill("train", "test", suffix=suffix)
    dataset = load_images(pack(contents))
    assert dataset.counts().to_numpy().tolist() == [[1, 1]] * 7
    assert dataset.images.shape == (14, 48, 48, 1)
    for name, image, label, split in zip(dataset.names, dataset.images, dataset.labels, dataset.splits, strict=True):
        assert np.array_equal(image, decode_image(contents[name]))
        assert name.split("/")[:2] == [split, EMOTIONS[label]]
    assert dataset.info.title == "folder"
    assert dataset.info.synthetic is False


def test_validation_is_used_as_test_if_there_is_none(pack, fill):
    dataset = load_images(pack(fill("images/train", "images/validation")))
    assert set(dataset.splits) == {"train", "test"}
    assert "There is no test folder: validation is used as test." in dataset.info.notes


def test_validation_next_to_test_is_val(pack, fill):
    dataset = load_images(pack(fill("train", "valid", "test")))
    assert list(dataset.counts().columns) == ["train", "val", "test"]
    assert dataset.info.notes == ()


def test_test_alone_is_enough(pack, fill):
    dataset = load_images(pack(fill("data/test")))
    assert set(dataset.splits) == {"test"}
    assert len(dataset.split("test")) == 7


def test_class_folders_without_split_are_train(pack, fill):
    dataset = load_images(pack(fill("faces")))
    assert set(dataset.splits) == {"train"}
    assert "No folder names a split: all images are train." in dataset.info.notes


def test_path_of_a_test_folder_is_test(tmp_path, fill):
    for name, content in fill("test").items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert set(load_images(tmp_path / "test").splits) == {"test"}


def test_file_names_give_usage_and_split(pack, fill):
    contents = fill("a", stem="Training_") | fill("b", stem="PublicTest_") | fill("c", stem="PrivateTest_")
    dataset = load_images(pack(contents))
    assert dataset.info.title == "FER2013"
    assert len(dataset.split("PublicTest")) == len(dataset.split("PrivateTest")) == 7
    assert len(dataset.split("train")) == 7
    assert len(dataset.split("test")) == 14


def test_copies_in_two_folders_are_used_once(pack, fill):
    contents = fill("images/train", "images/validation")
    twice = contents | {f"images/{name}": content for name, content in contents.items()}
    dataset = load_images(pack(twice))
    assert sorted(dataset.names) == sorted(contents)
    assert "14 files are in two folders; one copy of each was used." in dataset.info.notes


def test_different_files_of_one_name_are_all_used(pack, fill):
    assert len(load_images(pack(fill("one/train", "two/train")))) == 14


def test_other_spellings_of_the_classes(pack, encode):
    names = ("Anger", "DISGUSTED", "fearful", "Happiness", "sadness", "Surprised", "neutrality")
    contents = {f"Train/{name}/1.PNG": encode(seed) for seed, name in enumerate(names)}
    dataset = load_images(pack(contents))
    assert sorted(dataset.labels) == list(range(7))
    assert set(dataset.splits) == {"train"}


def test_folders_named_by_code_are_read_with_a_note(pack, encode):
    dataset = load_images(pack({f"train/{code}/a.png": encode(code) for code in range(7)}))
    assert dataset.labels.tolist() == list(range(7))
    assert "Class folders named 0 to 6 were read as FER2013's codes." in dataset.info.notes


@pytest.mark.parametrize("place", ["train/contempt", "test/contempt"])
def test_folder_that_is_not_an_emotion_is_an_error(pack, fill, encode, place):
    path = pack(fill("train") | {f"{place}/x.png": encode(99)})
    with pytest.raises(DataError, match="folder 'contempt'"):
        load_images(path)
    dataset = load_images(path, emotions=EMOTIONS)
    assert len(dataset) == 7
    assert "The folder 'contempt' is not an emotion: 1 images left out." in dataset.info.notes


def test_images_outside_class_folders_are_left_out(pack, fill, encode):
    others = {"cover.png": encode(90), "docs/figures/flow.png": encode(91), "test/7.png": encode(92), "README.md": b"#"}
    dataset = load_images(pack(fill("train") | others))
    assert len(dataset) == 7
    assert "3 images outside class folders were left out, the first cover.png." in dataset.info.notes


def test_unknown_layout_is_an_error(pack, encode):
    with pytest.raises(DataError, match="not in a known layout"):
        load_images(pack({"cats/1.png": encode(1), "dogs/2.png": encode(2)}))


def test_unreadable_images_are_reported_together(pack, fill):
    contents = fill("train") | {"train/sad/broken.png": b"no image", "train/sad/empty.jpg": b""}
    with pytest.raises(DataError, match=r"2 of 9 images cannot be read.*train/sad/broken\.png.*train/sad/empty\.jpg"):
        load_images(pack(contents))


def test_damaged_file_in_a_zip_is_named(tmp_path, fill):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in fill("train").items():
            archive.writestr(name, content)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"IDAT") + 100] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="train/angry"):
        load_images(tmp_path / "a.zip")


def test_images_of_different_sizes_are_resized(pack, encode):
    path = pack({"train/sad/a.png": encode(0, size=(30, 60)), "train/happy/b.png": encode(1, size=(100, 80))})
    dataset = load_images(path)
    assert dataset.images.shape == (2, 48, 48, 1)
    assert "Images of different sizes were resized to 48 x 48 pixels." in dataset.info.notes
    assert load_images(path, image_size=(20, 24)).images.shape == (2, 20, 24, 1)


def test_images_of_one_size_keep_it(pack, encode):
    path = pack({f"train/{name}/a.png": encode(i, size=(31, 40)) for i, name in enumerate(("sad", "happy"))})
    assert load_images(path).images.shape == (2, 31, 40, 1)


def test_color_images_make_all_rgb(pack, encode):
    path = pack({"train/sad/a.png": encode(0), "train/happy/b.png": encode(1, channels=3)})
    assert load_images(path).images.shape[-1] == 3
    assert load_images(path, channels=1).images.shape[-1] == 1
    with pytest.raises(DataError, match="channels must be 1"):
        load_images(path, channels=2)


def test_gray_images_stored_as_rgb_become_gray(pack, encode):
    gray = decode_image(encode(5))
    stream = io.BytesIO()
    Image.fromarray(np.repeat(gray, 3, axis=2)).save(stream, "PNG")
    path = pack({"train/sad/a.png": stream.getvalue(), "train/happy/b.png": encode(6)})
    dataset = load_images(path)
    assert dataset.images.shape == (2, 48, 48, 1)
    assert any(np.array_equal(image, gray) for image in dataset.images)


def test_synthetic_faces_are_recognized_by_their_note(pack, fill):
    dataset = load_images(pack(fill("train") | {"SYNTHETIC.txt": b"These faces are drawn."}))
    assert dataset.info.synthetic is True
    assert dataset.describe().startswith("SYNTHETIC faces")


def test_sample_is_stratified_and_seeded(pack, encode):
    contents = {f"train/happy/{i}.png": encode(i, size=(4, 4)) for i in range(60)}
    contents |= {f"train/sad/{i}.png": encode(100 + i, size=(4, 4)) for i in range(20)}
    contents |= {f"test/sad/{i}.png": encode(200 + i, size=(4, 4)) for i in range(20)}
    path = pack(contents)
    sample = load_images(path, sample_size=20, seed=1)
    assert sample.counts().loc["happy"].tolist() == [12, 0]
    assert sample.counts().loc["sad"].tolist() == [4, 4]
    assert sample.info.sample_size == 20
    assert sample.names.tolist() == load_images(path, sample_size=20, seed=1).names.tolist()
    assert sample.names.tolist() != load_images(path, sample_size=20, seed=2).names.tolist()
    assert (load_images(path, sample_size=3).counts().loc[["happy", "sad"]].sum(axis=1) > 0).all()
    assert len(load_images(path, sample_size=1000)) == 100
    with pytest.raises(DataError, match="sample_size must be at least 1"):
        load_images(path, sample_size=0)


def test_emotions_without_images_are_noted(pack, encode):
    path = pack({"train/happy/1.png": encode(1), "train/sad/2.png": encode(2)})
    dataset = load_images(path, emotions="happy,sad,fear")
    assert dataset.class_names == ("fear", "happy", "sad")
    assert "There are no images of fear." in dataset.info.notes
    with pytest.raises(DataError, match="no images of fear, surprise"):
        load_images(path, emotions="fear,surprise")
