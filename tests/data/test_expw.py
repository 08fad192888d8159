import io
import re

import numpy as np
import pytest
from PIL import Image

from ferlib.core.crops import CropGeometry
from ferlib.core.data_info import DataInfo
from ferlib.core.errors import DataError
from ferlib.core.images import decode_image
from ferlib.data import load_images
from ferlib.data.layouts.expw import read_labeled_photos


def photo(seed, size=(60, 100)):
    """Return an encoded photo and its pixels (H, W, 3)."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def pack_expw(pack):
    def pack_expw(lines, photos=("a.jpg", "b b.jpg"), prefix=""):
        contents = {f"{prefix}image/origin/{name}": photo(seed) for seed, name in enumerate(photos)}
        contents[f"{prefix}label/label.lst"] = "\n".join(lines).encode()
        return pack(contents)

    return pack_expw


@pytest.mark.parametrize("prefix", ["", "ExpW/data/"])
def test_boxes_are_read(pack_expw, prefix):
    lines = ["b b.jpg 0 10 20 50 40 88.5 3", "a.jpg 1 -5 80 120 25 40.1 6", "a.jpg 0 5 7 37 47 60 0", ""]
    dataset = load_images(pack_expw(lines, prefix=prefix), image_size=(30, 30))
    assert dataset.names.tolist() == ["a.jpg#1", "a.jpg#0", "b b.jpg#0"]
    assert dataset.groups.tolist() == ["a.jpg", "a.jpg", "b b.jpg"]
    assert dataset.labels.tolist() == [6, 0, 3]
    assert dataset.images.shape == (3, 30, 30, 3)
    # The happy face has the wanted size already, so its pixels are the photo's own.
    assert np.array_equal(dataset.images[2], decode_image(photo(1))[10:40, 20:50])
    assert dataset.info.crop == CropGeometry(margin=0)
    assert DataInfo.from_json(dataset.info.to_json()).reading()["crop_margin"] == 0
    assert set(dataset.splits) == {"train"}
    assert dataset.info.title == "ExpW"


def test_faces_are_64_by_64_and_the_margin_adds_context(pack_expw):
    path = pack_expw(["a.jpg 0 20 30 62 52 60 0"], photos=("a.jpg",))
    dataset = load_images(path)
    assert dataset.images.shape == (1, 64, 64, 3)
    wide = load_images(path, crop_margin=0.25, image_size=(48, 48))
    assert wide.info.crop == CropGeometry(margin=0.25)
    assert np.array_equal(wide.images[0], decode_image(photo(0))[12:60, 22:70])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg 0 1 2 30 40 50 7", "line 2: '7' is not an emotion"),
        ("a.jpg 0 1 2 30 40 50", "line 2: expected"),
        ("a.jpg 0 1 2 x 40 50 3", "line 2: expected"),
        ("a.jpg 0 1 30 2 40 50 3", "line 2: the box is empty"),
    ],
)
def test_invalid_line_is_an_error_that_names_it(pack_expw, line, message):
    with pytest.raises(DataError, match=message):
        load_images(pack_expw(["a.jpg 0 5 7 37 47 60 0", line]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c.jpg 0 1 2 30 40 50 3", r"1 photo of label/label\.lst missing.*'c\.jpg'"),
        ("a.jpg 0 500 500 600 600 50 3", "1 of 2 images.*outside an image"),
    ],
)
def test_unusable_face_is_left_out(pack_expw, line, message):
    path = pack_expw(["a.jpg 0 5 7 37 47 60 0", line])
    dataset = load_images(path)
    assert dataset.names.tolist() == ["a.jpg#0"]
    assert any(re.search(message, note) for note in dataset.info.notes)
    with pytest.raises(DataError, match=f"--strict.*{message}"):
        load_images(path, strict=True)


@pytest.mark.real_data
def test_expw_sample_has_its_counts(expw_archive):
    dataset = load_images(expw_archive)
    assert dataset.counts()["train"].tolist() == [150, 150, 60, 400, 250, 200, 400]
    assert dataset.images.shape == (1610, 64, 64, 3)
    assert len(set(dataset.names)) == 1610


def test_photos_are_read_with_their_labeled_faces(pack_expw):
    path = pack_expw(["b b.jpg 0 10 20 50 30 88.5 3", "a.jpg 1 5 8 12 25 40.1 6", "a.jpg 0 5 7 37 47 60 0"])
    photos = list(read_labeled_photos(path))
    # Top, left, right and bottom in the file; x, y, width and height here.
    assert [face.box for photo in photos for face in photo.faces] == [(8, 5, 4, 20), (7, 5, 30, 42), (20, 10, 30, 20)]
    assert [[face.label for face in photo.faces] for photo in photos] == [[6, 0], [3]]
    assert np.array_equal(photos[0].image, decode_image(photo(0)))
    assert len(list(read_labeled_photos(path, sample_size=1, seed=3))) == 1


def test_folder_without_label_file_is_an_error(pack):
    with pytest.raises(DataError, match=r"has no label\.lst; it is not ExpW"):
        next(read_labeled_photos(pack({"a.txt": b"x"})))
