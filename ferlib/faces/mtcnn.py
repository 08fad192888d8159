"""MTCNN's cascade on ONNX Runtime: pyramid, thresholds and suppression here, the three networks as ONNX files.

The networks' weights are those of the ``mtcnn`` package (I. de Paz Centeno, MIT licence), converted by
``tools/convert_mtcnn.py``; what is done around them follows the paper and agrees with that package's boxes.
"""

import functools
from importlib import resources
from typing import Any

import cv2
import numpy as np

# Side in pixels of what the first network looks at, and the factor between levels of the pyramid.
_CELL, _FACTOR = 12, 0.709
# How far apart the first network's cells are, in pixels of a level.
_STRIDE = 2
# Sides in pixels of what the second and the third network look at.
_SIDES = {"rnet": 24, "onet": 48}

#: What each network's probability has to exceed.
THRESHOLDS = (0.6, 0.7, 0.8)


class Cascade:
    """The three networks in a row: proposals at all sizes, refined twice, with five landmarks at the end.

    Parameters
    ----------
    min_face_size : int
        Side of the smallest face in pixels, 12 at least.
    thresholds : tuple of float
        What a candidate's probability has to exceed after each network.
    n_threads : int
        Of ONNX Runtime; 0 leaves it the choice.

    References
    ----------
    K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks", IEEE Signal Processing Letters 2016.
    """

    def __init__(
        self, *, min_face_size: int = 20, thresholds: tuple[float, float, float] = THRESHOLDS, n_threads: int = 0
    ) -> None:
        self.min_face_size = min_face_size
        self.thresholds = thresholds
        self.n_threads = n_threads

    def detect(self, image: np.ndarray) -> np.ndarray:
        """Return the faces of an image.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), dtype uint8
            RGB.

        Returns
        -------
        ndarray of shape (n, 15), dtype float64
            x0, y0, x1, y1, probability, five x and five y of the landmarks: left eye, right eye, nose, left and right
            corner of the mouth, left and right as the viewer sees them. The most probable first.
        """
        pixels = _normalize(image)
        boxes = self._propose(pixels)
        for name, threshold in (("rnet", self.thresholds[1]), ("onet", self.thresholds[2])):
            if not len(boxes):
                return np.empty((0, 15))
            refined = self._refine(name, pixels, boxes)
            refined = refined[refined[:, 4] > threshold]
            last = name == "onet"
            kept = suppress(refined, 0.7, by_smaller=last)
            boxes = refined[kept] if last else _make_square(refined[kept])
        return boxes

    def follow(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Look again where faces were a moment ago, with the last network alone: about a hundredth of the work.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), dtype uint8
            RGB.
        boxes : ndarray of shape (n, 4)
            x0, y0, x1, y1 of each face in an earlier frame.

        Returns
        -------
        ndarray of shape (n, 15), dtype float64
            As from `detect`, in the order of `boxes`; the probability says whether there still is a face.
        """
        squares = _make_square(np.column_stack([boxes, np.ones(len(boxes))]).astype(float))
        rows = [self._look_again(image, square) for square in squares]
        return np.concatenate(rows) if rows else np.empty((0, 15))

    def _look_again(self, image: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the last network's row (1, 15) for one square (5,)."""
        # Of a frame, only the part around the face is brought to the networks' range.
        low = np.maximum(0, np.floor(square[:2]).astype(int) - 2)
        high = np.maximum(low + 2, np.ceil(square[2:4]).astype(int) + 3)
        part = image[low[1] : high[1], low[0] : high[0]]
        if min(part.shape[:2]) < 2:
            return np.zeros((1, 15))
        shifted = square - [*low, *low, 0]
        row = self._refine("onet", _normalize(part), shifted[np.newaxis])
        row[:, [0, 2, *range(5, 10)]] += low[0]
        row[:, [1, 3, *range(10, 15)]] += low[1]
        return row

    def _refine(self, name: str, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return square boxes (n, 5) as the second or third network corrects them, (n, 5) or with landmarks (n, 15)."""
        offsets, *landmarks, scores = self._run(name, _cut_patches(pixels, boxes, _SIDES[name]))
        sizes = (boxes[:, 2:4] - boxes[:, :2] + 1).astype(float)
        refined = boxes.astype(float)
        refined[:, :4] += offsets * np.tile(sizes, 2)
        refined[:, 4] = scores[:, 1]
        if not landmarks:
            return refined
        points = landmarks[0].reshape(-1, 2, 5) * sizes[:, :, np.newaxis] + boxes[:, :2, np.newaxis] - 1
        return np.concatenate([refined, points.reshape(-1, 10)], axis=1)

    def _propose(self, pixels: np.ndarray) -> np.ndarray:
        """Return the first network's candidates, square, (n, 5)."""
        height, width = pixels.shape[:2]
        n_levels = round(-(np.log(min(height, width) / _CELL) / np.log(_FACTOR) + 1))
        found = []
        for scale in _CELL / self.min_face_size * _FACTOR ** np.arange(max(0, n_levels)):
            size = int(width * scale), int(height * scale)
            if min(size) < _CELL:
                continue
            level = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            offsets, scores = self._run("pnet", level[np.newaxis])
            rows, columns = np.nonzero(scores[0, :, :, 1] > self.thresholds[0])
            corners = np.stack([columns * _STRIDE + 1, rows * _STRIDE + 1], axis=1)
            ends = np.stack([columns * _STRIDE + _CELL, rows * _STRIDE + _CELL], axis=1)
            boxes = np.concatenate([corners, ends], axis=1) + offsets[0, rows, columns] * (_CELL - 1)
            candidates = np.column_stack([boxes / scale, scores[0, rows, columns, 1]])
            found.append(candidates[suppress(candidates, 0.5)])
        candidates = np.concatenate(found) if found else np.empty((0, 5))
        return _make_square(candidates[suppress(candidates, 0.7)])

    def _run(self, name: str, images: np.ndarray) -> list[np.ndarray]:
        """Return a network's outputs for images, float32 (n, side, side, 3) of -1 to 1."""
        return self._networks[name].run(None, {"pictures": images})

    @functools.cached_property
    def _networks(self) -> dict[str, Any]:
        """The three networks, loaded."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.n_threads
        # Images and levels of many sizes: what is kept for each of them is never used again.
        options.enable_cpu_mem_arena = False
        # Threads that wait busily take the cores from the emotion network: a video would run half as fast.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        folder = resources.files("ferlib") / "assets" / "mtcnn"
        return {
            name: onnxruntime.InferenceSession(
                (folder / f"{name}.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            for name in ("pnet", "rnet", "onet")
        }


def suppress(boxes: np.ndarray, threshold: float, *, by_smaller: bool = False) -> np.ndarray:
    """Return which boxes stay when those go that overlap a more probable one too much, the most probable first.

    As the ``mtcnn`` package does it, a box that goes still suppresses others.

    Parameters
    ----------
    boxes : ndarray of shape (n, 5 or more)
        x0, y0, x1, y1, probability.
    threshold : float
        The largest allowed common area, as a fraction of the area of both together.
    by_smaller : bool
        As a fraction of the smaller one's area instead.

    Returns
    -------
    ndarray of shape (k,), dtype int
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    x0, y0, x1, y1 = boxes[order, :4].T
    areas = (x1 - x0) * (y1 - y0)
    kept = []
    for number in range(len(order)):
        # Only with the more probable ones: a table of all pairs would be large where candidates are many.
        width = np.minimum(x1[number], x1[:number]) - np.maximum(x0[number], x0[:number])
        height = np.minimum(y1[number], y1[:number]) - np.maximum(y0[number], y0[:number])
        common = np.maximum(0, width) * np.maximum(0, height)
        both = areas[number] + areas[:number] - common
        whole = np.minimum(areas[number], areas[:number]) if by_smaller else both
        if not (common > threshold * whole).any():
            kept.append(order[number])
    return np.array(kept, dtype=int)


def _normalize(image: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) as the networks' float32 of -1 to 1."""
    return (image.astype(np.float32) - 127.5) / 128


def _make_square(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (n, 5) as squares around the same centres, as wide as their longer sides."""
    boxes = boxes.copy()
    sizes = boxes[:, 2:4] - boxes[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    boxes[:, :2] += sizes * 0.5 - side * 0.5
    boxes[:, 2:4] = boxes[:, :2] + side
    return boxes


def _cut_patches(pixels: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """Return each box's part of an image, resized linearly, float32 (n, side, side, 3); what lies outside is 0.

    Sampled where TensorFlow's ``crop_and_resize`` samples, which the networks' boxes were tuned with.
    """
    height, width = pixels.shape[:2]
    steps = np.linspace(0, 1, side)
    # Positions are fractions of the last pixel's, while boxes are fractions of the size.
    x = (boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])) * ((width - 1) / width)
    y = (boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])) * ((height - 1) / height)
    inside = ((y >= 0) & (y <= height - 1))[:, :, np.newaxis] & ((x >= 0) & (x <= width - 1))[:, np.newaxis]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    along_x = (x - left).astype(np.float32)[:, np.newaxis, :, np.newaxis]
    along_y = (y - top).astype(np.float32)[:, :, np.newaxis, np.newaxis]

    def pick(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return pixels[rows[:, :, np.newaxis], columns[:, np.newaxis]]

    upper = pick(top, left) * (1 - along_x) + pick(top, right) * along_x
    lower = pick(bottom, left) * (1 - along_x) + pick(bottom, right) * along_x
    return (upper * (1 - along_y) + lower * along_y) * inside[..., np.newaxis]
