"""Boxes and labels drawn onto images."""

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from ferlib.core.emotions import EMOTION_COLORS, EMOTIONS, class_colors
from ferlib.core.errors import FerlibError
from ferlib.faces import Face
from ferlib.inference import FaceEmotion, annotate, write_image


def found(box, emotion="happy", probability=0.93):
    rest = (1 - probability) / 6
    probabilities = {name: probability if name == emotion else rest for name in EMOTIONS}
    return FaceEmotion(Face(box, 0.99), emotion, probability, probabilities)


def is_color(image, emotion):
    return (image == ImageColor.getrgb(EMOTION_COLORS[emotion])).all(axis=-1)


@pytest.mark.parametrize("channels", [1, 3])
def test_only_box_and_label_change(channels):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, channels), dtype=np.uint8)
    before = image.copy()
    drawn = annotate(image, [found((100, 120, 80, 100))])
    assert drawn.shape == (300, 400, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(drawn[130:210, 110:170], np.broadcast_to(image, (300, 400, 3))[130:210, 110:170])
    np.testing.assert_array_equal(drawn[230:], np.broadcast_to(image, (300, 400, 3))[230:])
    assert not np.array_equal(drawn, np.broadcast_to(image, drawn.shape))


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_box_and_label_have_the_color_of_the_emotion(emotion):
    drawn = annotate(np.full((400, 400, 1), 128, np.uint8), [found((100, 120, 80, 100), emotion)])
    colored = is_color(drawn, emotion)
    assert colored[120, 100:180].all()
    assert colored[219, 100:180].all()
    assert colored[120:220, [100, 179]].all()
    label = drawn[90:116, 90:200]
    brightness = label[~is_color(label, emotion)].mean(axis=-1)
    fill = np.mean(ImageColor.getrgb(EMOTION_COLORS[emotion]))
    letters = brightness[np.abs(brightness - 128) > 100]
    assert len(letters) > 100
    assert np.abs(letters - fill).min() > 60


def test_classes_of_ones_own_have_colors():
    probabilities = {"positive": 0.7, "negative": 0.3}
    mine = FaceEmotion(Face((100, 120, 80, 100), 0.99), "positive", 0.7, probabilities)
    drawn = annotate(np.full((400, 400, 1), 128, np.uint8), [mine])
    assert (drawn[120, 100:180] == ImageColor.getrgb(class_colors(probabilities)["positive"])).all()


def test_only_faces_among_several_are_numbered(monkeypatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, **options: texts.append(text))
    blank = np.zeros((400, 600, 1), np.uint8)
    annotate(blank, [found((100, 120, 80, 100))])
    annotate(blank, [found((100, 120, 80, 100)), found((300, 120, 80, 100), "sad")])
    assert texts == ["happy 93%", "1: happy 93%", "2: sad 93%"]


def test_labels_grow_with_the_image():
    def label_height(size):
        blank = np.zeros((size, size, 1), np.uint8)
        drawn = annotate(blank, [found((size // 2, size // 2, size // 4, size // 4))])
        return is_color(drawn, "happy")[: size // 2 - size // 50].any(axis=1).sum()

    small, large = label_height(400), label_height(4000)
    assert small >= 14
    assert large > 8 * small


@pytest.mark.parametrize("box", [(0, 0, 60, 80), (340, 0, 60, 80), (340, 220, 60, 80), (0, 220, 60, 80)])
def test_a_label_at_the_edge_is_complete(box):
    """The label of a face in a corner has as many pixels as that of one in the middle."""
    blank = np.zeros((300, 400, 1), np.uint8)

    def drawn_pixels(box):
        return is_color(annotate(blank, [found(box)]), "happy").sum()

    assert drawn_pixels(box) == pytest.approx(drawn_pixels((170, 110, 60, 80)), rel=0.02)


def test_neighboring_labels_do_not_overlap():
    blank = np.zeros((300, 400, 1), np.uint8)
    boxes = {"sad": (100, 100, 30, 40), "fear": (135, 102, 30, 40), "angry": (170, 99, 30, 40)}
    together = annotate(blank, [found(box, emotion) for emotion, box in boxes.items()])
    for emotion, box in boxes.items():
        alone = is_color(annotate(blank, [found(box, emotion)]), emotion).sum()
        assert is_color(together, emotion).sum() > 0.85 * alone


@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (19, 30), (48, 48), (4, 5000), (5000, 4)])
def test_tiny_and_thin_images_can_be_annotated(shape):
    height, width = shape
    assert annotate(np.zeros((*shape, 1), np.uint8), [found((0, 0, width, height), "surprise")]).shape == (*shape, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tiff"])
def test_the_suffix_selects_the_format(tmp_path, suffix):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = 200
    path = tmp_path / f"new/drawn{suffix}"
    write_image(path, image)
    with Image.open(path) as written:
        assert written.format == {"jpg": "JPEG", "tif": "TIFF"}.get(suffix[1:], suffix[1:].upper())
        assert np.abs(np.asarray(written.convert("RGB")).astype(int) - image).mean() < 3
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_an_image_too_large_for_its_format_is_refused(tmp_path):
    path = tmp_path / "wide.webp"
    with pytest.raises(FerlibError, match=r"wide\.webp cannot be written"):
        write_image(path, np.zeros((1, 20_000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
