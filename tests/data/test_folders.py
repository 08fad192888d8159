import io
import itertools
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArchiveError, DataError
from ferlib.core.images import decode_image, fit_to_model
from ferlib.data import archive, index, load_images
from ferlib.data.layouts.splits import split_of_name


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
    path = pack(contents)
    dataset = load_images(path, test_usage="all")
    assert dataset.info.title == "FER2013"
    assert len(dataset.split("PublicTest")) == len(dataset.split("PrivateTest")) == 7
    assert len(dataset.split("train")) == 7
    assert len(dataset.split("test")) == 14
    assert set(load_images(path).split("test").source_splits) == {"PublicTest"}


def test_kaggles_copy_has_public_test_as_test(pack, encode):
    names = ("train/angry/Training_3908.jpg", "train/fear/Training_10021.jpg", "test/angry/PublicTest_77.jpg")
    contents = {name: encode(seed) for seed, name in enumerate((*names, "test/fear/PrivateTest_10131363.jpg"))}
    path = pack(contents)
    dataset = load_images(path)
    assert dataset.split("test").names.tolist() == ["test/angry/PublicTest_77.jpg"]
    assert "test is PublicTest. Left out: 1 image of PrivateTest, the final test." in dataset.info.notes
    assert load_images(path, test_usage="PrivateTest").split("test").names.tolist() == [
        "test/fear/PrivateTest_10131363.jpg"
    ]


@pytest.mark.parametrize(
    "names", [("Training", "PublicTest", "PrivateTest"), ("TRAINING", "public_test", "private-test")]
)
def test_folders_of_fer2013s_usages_keep_the_final_test_apart(pack, fill, names):
    path = pack(fill(*names))
    dataset = load_images(path)
    assert set(dataset.source_splits) == {"Training", "PublicTest"}
    assert dataset.counts().to_numpy().tolist() == [[1, 1]] * 7
    assert set(load_images(path, test_usage="PrivateTest").split("test").source_splits) == {"PrivateTest"}
    chosen = load_images(path, split_folders={names[1]: "val", names[2]: "test"})
    assert chosen.counts().to_numpy().tolist() == [[1, 1, 1]] * 7


def test_folders_of_usages_do_not_prove_the_meaning_of_numbers(pack, fill):
    with pytest.raises(DataError, match="--label-order"):
        load_images(pack(fill("Training", "PublicTest", "PrivateTest", classes=tuple("0123456"))))


def test_copies_in_two_folders_are_used_once(pack, fill):
    contents = fill("images/train", "images/validation")
    twice = contents | {f"images/{name}": content for name, content in contents.items()}
    dataset = load_images(pack(twice))
    assert sorted(dataset.names) == sorted(contents)
    assert "Used once: 14 files found in two folders." in dataset.info.notes


def test_different_files_of_one_name_are_all_used(pack, fill):
    assert len(load_images(pack(fill("one/train", "two/train")))) == 14


def test_other_spellings_of_the_classes(pack, encode):
    names = ("Anger", "DISGUSTED", "fearful", "Happiness", "sadness", "Surprised", "neutrality")
    contents = {f"Train/{name}/1.PNG": encode(seed) for seed, name in enumerate(names)}
    dataset = load_images(pack(contents))
    assert sorted(dataset.labels) == list(range(7))
    assert set(dataset.splits) == {"train"}


def test_meaning_of_numbers_is_asked_for(pack, encode):
    path = pack({f"train/{code}/a.png": encode(code) for code in range(8)})
    with pytest.raises(
        DataError, match=r"classes are the numbers 0, 1, 2, .* say which with --label-order with one of"
    ):
        load_images(path)
    dataset = load_images(path, label_order="AffectNet")
    assert [EMOTIONS[label] for label in dataset.labels] == [
        *("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")
    ]
    assert "The folder '7 (contempt)' is not one of the seven emotions: 1 image left out." in dataset.info.notes
    assert dataset.info.label_order == "AffectNet"
    names = "neutral,happy,sad,surprise,fear,disgust,anger,contempt"
    assert load_images(path, label_order=names).labels.tolist() == dataset.labels.tolist()
    with pytest.raises(DataError, match="'rafdb' has 7 classes, numbered 1 to 7, but the data have the numbers 0, 1"):
        load_images(path, label_order="rafdb")


def test_file_names_prove_the_meaning_of_numbers(pack, encode):
    dataset = load_images(pack({f"train/{code}/Training_{code}.png": encode(code) for code in range(7)}))
    assert dataset.labels.tolist() == list(range(7))


def test_file_names_prove_rafdb(pack, encode):
    contents = {f"DATASET/train/{code}/train_0000{code}_aligned.jpg": encode(code) for code in range(1, 8)}
    dataset = load_images(pack(contents))
    assert [EMOTIONS[label] for label in dataset.labels] == [
        *("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
    ]


def test_list_of_names_counts_from_zero_or_one(pack, encode):
    path = pack({f"{code}/a.png": encode(code) for code in (1, 2, 3)})
    assert load_images(path, label_order="sad,happy,fear").labels.tolist() == [4, 3, 2]
    with pytest.raises(DataError, match="unclear whether the first of 'sad,happy,fear,angry' is number 0 or 1"):
        load_images(path, label_order="sad,happy,fear,angry")
    assert load_images(path, label_order="1=sad,2=happy,3=fear,4=angry").labels.tolist() == [4, 3, 2]
    for wrong, message in (
        ("hapy,sad", "did you mean happy"),
        ("happy,joy", "twice"),
        ("fer", "is not a known label order"),
        ("a,b", "fewer than two emotions"),
        ("1=sad,happy", "has to be names, or pairs"),
    ):
        with pytest.raises(DataError, match=message):
            load_images(path, label_order=wrong)


@pytest.mark.parametrize("place", ["train/contempt", "test/Unknown", "train/NF", "train/07 none", "train/Boredom"])
def test_other_classes_are_left_out_with_counts(pack, fill, encode, place):
    path = pack(fill("train") | {f"{place}/x.png": encode(99)})
    dataset = load_images(path)
    assert len(dataset) == 7
    note = f"The folder '{place.split('/')[1]}' is not one of the seven emotions: 1 image left out."
    assert note in dataset.info.notes
    with pytest.raises(DataError, match=".*--strict.*" + re.escape(note)):
        load_images(path, strict=True)
    assert note in load_images(path, emotions=EMOTIONS, strict=True).info.notes


def test_misspelled_class_is_proposed_and_never_lost(pack, fill, encode):
    path = pack(fill("train") | {"train/hapy/x.png": encode(99)})
    with pytest.raises(DataError, match=r"the folder 'hapy' .1 image. is not an emotion; did you mean happy"):
        load_images(path)


def test_numbered_and_decorated_names(pack, encode):
    contents = {f"Training Set/{code}_{name}/1.png": encode(code) for code, name in enumerate(EMOTIONS)}
    contents |= {"Validation Set/05-Surprise faces/2.png": encode(8), "Test_Set/HAPPY/3.png": encode(9)}
    dataset = load_images(pack(contents))
    assert dataset.counts().loc["happy"].tolist() == [1, 0, 1]
    assert dataset.counts().loc["surprise"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        *(("Training Set", "train"), ("test_images", "test"), ("FER2013Test", "test"), ("testing-data", "test")),
        *(("valid", "val"), ("my Validation data", "val"), ("03 TEST", "test"), ("TrainData", "train")),
        *(("contest", None), ("latest", None), ("train_val", None), ("train-test-split", None)),
    ],
)
def test_words_in_the_name_decide_the_split(folder, split):
    assert split_of_name(folder) == split


@pytest.mark.parametrize("others", [("fold2",), ("train",), ("",)])
def test_folders_of_unknown_split_are_asked_about(pack, fill, others):
    path = pack(fill("fold1", *others))
    with pytest.raises(DataError, match=r"have the same classes, and the name '.*' does not say which split it is"):
        load_images(path)
    chosen = load_images(path, split_folders={"fold1": "test", "*": "train"})
    assert chosen.counts().to_numpy().tolist() == [[1, 1]] * 7
    assert chosen.info.split_folders == {"fold1": "test", "*": "train"}
    assert len(load_images(path, split_folders={"fold1": "none"})) == 7
    with pytest.raises(DataError, match="--split-folder fold1: expected train, val, test or none, got 'dev'"):
        load_images(path, split_folders={"fold1": "dev"})


def test_folders_of_different_classes_are_merged(pack, fill):
    path = pack(fill("good", classes=("happy", "surprise")) | fill("bad", classes=("sad", "angry")))
    assert len(load_images(path)) == 4


def test_split_and_person_inside_the_class_folder(pack, encode):
    contents = {
        f"{name}/{part}/s01/1.png": encode(n)
        for n, (name, part) in enumerate(itertools.product(EMOTIONS, ("train", "test")))
    }
    assert load_images(pack(contents)).counts().to_numpy().tolist() == [[1, 1]] * 7


def test_files_that_are_no_images_are_counted(pack, fill, encode):
    harmless = {
        "train/Icon\r": b"",
        "train/happy/Icon\r": b"",
        "train/happy/Thumbs.db": b"x",
        "train/sad/.DS_Store": b"x",
    }
    others = {"train/sad/notes.txt": b"hm", "train/sad/clip.mp4": b"0000ftypisom", "train/readme.txt": b"x"}
    no_suffix = {"train/fear/face": encode(77), "train/fear/s01.happy": encode(78)}
    dataset = load_images(pack(fill("train") | harmless | others | no_suffix))
    assert len(dataset) == 9
    assert dataset.info.notes == ("Left out as not images: 2 files in class folders (.mp4 1, .txt 1).",)


def test_classes_in_two_spellings_are_one(pack, encode):
    dataset = load_images(pack({"happy/1.png": encode(1), "Happiness/2.png": encode(2), "SAD/3.PNG": encode(3)}))
    assert dataset.labels.tolist() == [3, 4, 3]


def test_images_outside_class_folders_are_left_out(pack, fill, encode):
    others = {"cover.png": encode(90), "docs/figures/flow.png": encode(91), "test/7.png": encode(92), "README.md": b"#"}
    dataset = load_images(pack(fill("train") | others))
    assert len(dataset) == 7
    assert "Left out: 3 images outside class folders, the first cover.png." in dataset.info.notes


def test_unknown_layout_is_an_error(pack, encode):
    with pytest.raises(DataError, match=r"not in a known layout.*Folders with images: 'cats' .1., 'dogs' .1.\.$"):
        load_images(pack({"cats/1.png": encode(1), "dogs/2.png": encode(2)}))
    with pytest.raises(DataError, match=r"Did you mean 'a/hapy' for happy, 'a/sadnes' for sad\? Rename them\."):
        load_images(pack({"a/hapy/1.png": encode(1), "a/sadnes/2.png": encode(2)}))


def test_nested_archive_is_named(pack):
    with pytest.raises(DataError, match=r"contains another archive, 'x/fer2013\.tar\.gz': unpack it and name that"):
        load_images(pack({"x/fer2013.tar.gz": b"\x1f\x8b", "x/readme.md": b"#"}))


def test_unreadable_images_are_left_out_and_all_listed(pack, fill, caplog):
    broken = {f"train/sad/broken{number}.png": b"no image" for number in range(5)} | {"train/sad/empty.jpg": b""}
    path = pack(fill("train") | broken)
    dataset = load_images(path)
    assert len(dataset) == 7
    assert dataset.info.notes[-1].startswith("Left out as unreadable: 6 of 13 images. train/sad/broken0.png")
    assert all(f"left out: {name}" in caplog.text for name in broken)
    with pytest.raises(DataError, match=r"--strict allows no fault\. .*6 of 13 images.*train/sad/broken0\.png"):
        load_images(path, strict=True)


def test_dataset_without_a_readable_image_is_an_error(pack):
    with pytest.raises(DataError, match=r"There is no image to use\. Left out as unreadable: 2 of 2 images"):
        load_images(pack({"happy/1.png": b"1", "sad/2.png": b"2"}))


def test_image_without_permission_is_left_out(tmp_path, fill, monkeypatch):
    for name, content in fill("train").items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(content)
    # As root, one may read everything: a file that disappears stands in for one without permission.
    read = archive.FileTree.read

    def fail(tree, name):
        if "happy" in name:
            raise ArchiveError(f"{name} cannot be read (Permission denied).")
        return read(tree, name)

    monkeypatch.setattr(archive.FileTree, "read", fail)
    assert len(load_images(tmp_path)) == 6


def test_damaged_file_in_a_zip_is_left_out(tmp_path, fill):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in fill("train").items():
            archive.writestr(name, content)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"IDAT") + 100] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    dataset = load_images(tmp_path / "a.zip")
    assert len(dataset) == 6
    assert "'train/angry/angry.png' is damaged" in dataset.info.notes[-2]
    with pytest.raises(DataError, match="train/angry"):
        load_images(tmp_path / "a.zip", strict=True)


def test_images_of_different_sizes_are_resized(pack, encode):
    path = pack({"train/sad/a.png": encode(0, size=(30, 60)), "train/happy/b.png": encode(1, size=(100, 80))})
    dataset = load_images(path)
    assert dataset.images.shape == (2, 48, 48, 1)
    assert "Images of different sizes were resized to 48 x 48 pixels." in dataset.info.notes
    assert load_images(path, image_size=(20, 24)).images.shape == (2, 20, 24, 1)


def test_images_of_one_size_keep_it(pack, encode):
    path = pack({f"train/{name}/a.png": encode(i, size=(31, 40)) for i, name in enumerate(("sad", "happy"))})
    assert load_images(path).images.shape == (2, 31, 40, 1)
    assert load_images(path, max_image_size=(48, 48)).images.shape == (2, 31, 40, 1)


def test_larger_images_are_reduced_to_the_size_of_a_model(pack, encode):
    path = pack({f"train/{name}/a.png": encode(i, size=(90, 80)) for i, name in enumerate(("sad", "happy"))})
    reduced = load_images(path, max_image_size=(48, 44))
    expected = fit_to_model(load_images(path).images, image_size=(48, 44), channels=1)
    assert np.array_equal(reduced.images, expected)


def test_images_that_would_fill_the_memory_are_reduced(pack, encode, monkeypatch):
    monkeypatch.setattr(index, "_MAX_BYTES", 10_000)
    path = pack({f"train/{name}/a.png": encode(i, size=(90, 80)) for i, name in enumerate(("sad", "happy"))})
    dataset = load_images(path)
    assert dataset.images.shape == (2, 48, 48, 1)
    assert "As 2 images of 90 x 80 pixels would take" in dataset.info.notes[0]
    assert load_images(path, image_size=(90, 80)).images.shape == (2, 90, 80, 1)


def test_processed_images_are_used_or_left_out(pack, encode):
    path = pack({"sad/a.png": encode(0, size=(30, 30)), "happy/b.png": encode(1, size=(20, 20))})
    dataset = load_images(path, process=lambda image: image[:8, :8] if len(image) == 20 else None)
    assert dataset.names.tolist() == ["happy/b.png"]
    assert dataset.images.shape == (1, 8, 8, 1)
    assert "Left out without a face: 1 of 2 images." in dataset.info.notes


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
