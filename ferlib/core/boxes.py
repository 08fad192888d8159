"""Geometry of boxes: intersection over union (IoU) and non-maximum suppression (NMS)."""

from typing import Literal

import numpy as np

#: x, y, width and height in pixels, origin top left.
Box = tuple[float, float, float, float]


def iou(a: Box, b: Box) -> float:
    """Return the intersection of two boxes divided by their union, 0 to 1.

    Examples
    --------
    >>> iou((0, 0, 10, 10), (0, 5, 10, 10))
    0.3333333333333333
    """
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    intersection = max(0, width) * max(0, height)
    return intersection / (a[2] * a[3] + b[2] * b[3] - intersection)


def nms(
    corners: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    *,
    mode: Literal["union", "min"] = "union",
    greedy: bool = True,
) -> np.ndarray:
    """Return the indices of the boxes that remain after non-maximum suppression.

    Parameters
    ----------
    corners : ndarray of shape (n, 4)
        x0, y0, x1, y1 of each box in pixels.
    scores : ndarray of shape (n,)
    threshold : float
        The largest allowed overlap with a box of a higher score.
    mode : {"union", "min"}
        What the intersection is divided by: the union of both boxes, or the smaller box.
    greedy : bool
        Only boxes that remain suppress others. If False, suppressed boxes suppress others too.

    Returns
    -------
    ndarray of shape (k,), dtype int
        Highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    x0, y0, x1, y1 = corners[order].T
    areas = (x1 - x0) * (y1 - y0)
    remaining = np.zeros(len(order), bool)
    # One row at a time: the table of all pairs would be large where candidates are many.
    for i in range(len(order)):
        width = np.minimum(x1[i], x1[:i]) - np.maximum(x0[i], x0[:i])
        height = np.minimum(y1[i], y1[:i]) - np.maximum(y0[i], y0[:i])
        intersection = np.maximum(0, width) * np.maximum(0, height)
        smaller = np.minimum(areas[i], areas[:i])
        limit = threshold * (smaller if mode == "min" else areas[i] + areas[:i] - intersection)
        suppressed = intersection > limit
        remaining[i] = not (suppressed & remaining[:i] if greedy else suppressed).any()
    return order[remaining]
