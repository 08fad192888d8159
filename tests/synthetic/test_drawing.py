import cv2
import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.synthetic.drawing import draw_face


def _draw(emotion: str, size: tuple[int, int], seed: int) -> np.ndarray:
    return draw_face(emotion, size, np.random.default_rng(seed))


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_face_is_gray_and_has_the_size(emotion):
    face = _draw(emotion, (40, 56), 0)
    assert (face.shape, face.dtype) == ((40, 56), np.uint8)


def test_face_is_the_same_at_every_size():
    for seed in range(10):
        small, large = _draw("happy", (48, 48), seed), _draw("happy", (192, 192), seed)
        shrunk = cv2.resize(large, (48, 48), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.85
