"""Geometry of boxes: intersection over union (IoU) and non-maximum suppression (NMS)."""

from typing import Literal

import numpy as np

#: x, y, width and height in pixels, origin top left.
Box = tuple[float, float, float, float]

# Pairs of boxes that are compared at a time: their values stay in the processor's cache.
_MAX_PAIRS = 60_000


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
    sorted_corners = corners[order].astype(np.result_type(corners, np.float32), copy=False)
    remaining = np.ones(len(order), bool)
    # In blocks of rows: the table of all pairs would be large where candidates are many.
    step = max(1, _MAX_PAIRS // max(1, len(order)))
    for start in range(0, len(order), step):
        end = min(start + step, len(order))
        suppressed = _exceed_overlap(sorted_corners[start:end], sorted_corners[:end], threshold, mode)
        # Only boxes of a higher score suppress.
        suppressed[:, start:] &= np.tri(end - start, k=-1, dtype=bool)
        if not greedy:
            remaining[start:end] = ~suppressed.any(axis=1)
            continue
        for i, row in zip(range(start, end), suppressed, strict=True):
            remaining[i] = not (row & remaining[:end]).any()
    return order[remaining]


def _exceed_overlap(rows: np.ndarray, columns: np.ndarray, threshold: float, mode: str) -> np.ndarray:
    """Return for each pair of boxes, (n, 4) and (m, 4), whether they overlap by more than a threshold, (n, m)."""
    x0, y0, x1, y1 = rows.T[:, :, np.newaxis]
    u0, v0, u1, v1 = np.ascontiguousarray(columns.T)
    intersection = np.minimum(x1, u1)
    other = np.maximum(x0, u0)
    intersection -= other
    # One side of no overlap is set to 0, so that two negative sides do not make a positive area.
    np.maximum(intersection, 0, out=intersection)
    height = np.minimum(y1, v1)
    height -= np.maximum(y0, v0, out=other)
    intersection *= height
    area, areas = (x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0)
    if mode == "min":
        limit = np.minimum(area, areas, out=other)
    else:
        limit = np.add(area, areas, out=other)
        limit -= intersection
    limit *= threshold
    return intersection > limit
