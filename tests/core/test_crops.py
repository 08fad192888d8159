"""Faces cut out of images."""

import numpy as np
import pytest

from ferlib.core.crops import DEFAULT_CROP, CropGeometry, cut_face
from ferlib.core.images import resize

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)

# Landmarks of a face of 48 x 48 pixels at (0, 0), as FER2013's faces have them.
FACE = {
    "left_eye": (14.5, 17.7),
    "right_eye": (32.4, 17.2),
    "nose": (23.5, 27.9),
    "mouth_left": (16.4, 37.4),
    "mouth_right": (31.1, 37.1),
}
ALIGNED = CropGeometry(method="landmarks", margin=0)


def place(degrees=0.0, scale=1.0, move=(0.0, 0.0)):
    """Return the landmarks of the face after a turn about its center, a scale and a move."""
    turn = scale * np.exp(1j * np.radians(degrees))
    points = {name: (complex(*point) - (24 + 24j)) * turn + complex(*move) for name, point in FACE.items()}
    return {name: (point.real, point.imag) for name, point in points.items()}


def draw(landmarks, scale, size=200):
    """Return an image with a bright disc at each landmark."""
    y, x = np.mgrid[:size, :size] + 0.5
    image = np.zeros((size, size, 1), np.uint8)
    for column, row in landmarks.values():
        image[(x - column) ** 2 + (y - row) ** 2 < (2.5 * scale) ** 2] = 255
    return image


def test_a_face_is_a_square_with_the_longer_side_of_its_box():
    face = cut_face(NOISE, (40, 20, 20, 30), CropGeometry(margin=0))
    np.testing.assert_array_equal(face, NOISE[20:50, 35:65])
    np.testing.assert_array_equal(cut_face(NOISE, (40, 20, 20, 30), CropGeometry(margin=0.1)), NOISE[17:53, 32:68])
    assert cut_face(NOISE, (40, 20, 20, 40)).shape == (46, 46, 3)


@pytest.mark.parametrize("box", [(0, 0, 30, 40), (100, 60, 20, 30), (-10, -10, 20, 20), (110, 0, 40, 90)])
def test_outside_of_the_image_pixels_are_mirrored(box):
    x, y, width, height = box
    side = round(1.5 * max(width, height))
    padded = np.pad(NOISE, [(89, 89), (119, 119), (0, 0)], mode="reflect")
    x0, y0 = round(x + width / 2 - side / 2) + 119, round(y + height / 2 - side / 2) + 89
    face = cut_face(NOISE, box, CropGeometry(margin=0.25))
    np.testing.assert_array_equal(face, padded[y0 : y0 + side, x0 : x0 + side])


def test_an_image_of_a_face_stays_as_it_is():
    assert cut_face(NOISE, (0, 0, 120, 90)) is NOISE
    assert cut_face(NOISE, (-5, -5, 200, 200), ALIGNED, landmarks=FACE) is NOISE


@pytest.mark.parametrize("box", [(120, 0, 10, 10), (0, 90, 10, 10), (-10, 0, 10, 10), (0, -30, 5, 30)])
def test_a_box_outside_of_the_image_is_an_error(box):
    with pytest.raises(ValueError, match="lies outside an image of 120 x 90 pixels"):
        cut_face(NOISE, box)


def test_the_smallest_face_has_one_pixel():
    assert cut_face(NOISE, (5, 5, 0.2, 0.3)).shape == (1, 1, 3)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (25, 2), (-40, 2.5)])
def test_landmarks_come_to_their_places_in_fer2013(degrees, scale):
    landmarks = place(degrees, scale, (100, 100))
    face = cut_face(draw(landmarks, scale), (70, 60, 60, 80), ALIGNED, landmarks=landmarks)
    assert face.shape == (round(48 * scale), round(48 * scale), 1)
    small = resize(face, (48, 48))
    for column, row in FACE.values():
        window = small[round(row) - 1 : round(row) + 1, round(column) - 1 : round(column) + 1]
        assert window.min() > 100
    assert small[24:32, 2:10].max() == small[42:, :].max() == 0


def test_alignment_of_an_upright_face_is_a_crop():
    landmarks = place(0, 1, (60, 45))
    face = cut_face(NOISE, (45, 25, 30, 40), ALIGNED, landmarks=landmarks)
    np.testing.assert_array_equal(face, NOISE[21:69, 36:84])


def test_without_usable_landmarks_the_box_decides():
    square = cut_face(NOISE, (40, 20, 20, 30), CropGeometry(margin=0))
    np.testing.assert_array_equal(cut_face(NOISE, (40, 20, 20, 30), ALIGNED), square)
    profile = {name: (50 + (x - 24) / 50, 35 + (y - 24) / 50) for name, (x, y) in FACE.items()}
    np.testing.assert_array_equal(cut_face(NOISE, (40, 20, 20, 30), ALIGNED, landmarks=profile), square)


def test_geometry_is_stored_as_json():
    assert CropGeometry.from_json(ALIGNED.to_json()) == ALIGNED
    assert CropGeometry.from_json({}) == DEFAULT_CROP
    for wrong in ({"margin": -0.5}, {"margin": 3.0}, {"margin": float("nan")}):
        with pytest.raises(ValueError, match="crop margin"):
            CropGeometry.from_json(wrong)
    with pytest.raises(TypeError, match="method"):
        CropGeometry.from_json({"method": "stretch"})
