"""Intersection over union and non-maximum suppression."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlib.core.boxes import iou, nms

SIDES = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(1, 50))


def test_iou_by_hand():
    assert iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert iou((0, 0, 10, 10), (2, 2, 5, 5)) == 0.25


@given(SIDES, SIDES)
def test_iou_is_symmetric_and_at_most_one(a, b):
    assert 0 <= iou(a, b) == iou(b, a) <= 1
    assert iou(a, a) == 1


def test_nms_by_hand():
    corners = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 5, 5]], float)
    scores = np.array([0.5, 0.9, 0.7, 0.8])
    # The first two share 90 of 110 pixels. The last lies in the first: a quarter of it, but all of itself.
    assert nms(corners, scores, 0.7).tolist() == [1, 3, 2]
    assert nms(corners, scores, 0.85).tolist() == [1, 3, 2, 0]
    assert nms(corners, scores, 0.7, mode="min").tolist() == [1, 2]
    assert nms(corners[:0], scores[:0], 0.5).tolist() == []


def test_only_greedy_nms_keeps_neighbors_of_suppressed_boxes():
    corners = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], float)
    scores = np.array([0.9, 0.8, 0.7])
    assert nms(corners, scores, 0.3).tolist() == [0, 2]
    assert nms(corners, scores, 0.3, greedy=False).tolist() == [0]
