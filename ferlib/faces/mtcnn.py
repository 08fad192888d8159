"""MTCNN on ONNX Runtime: three networks that propose, refine and confirm faces, and locate five landmarks.

The image pyramid, thresholds and NMS follow the paper and agree with the boxes of the ``mtcnn`` package.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ferlib.core.boxes import nms
from ferlib.core.images import to_rgb
from ferlib.faces.base import MIN_CONFIDENCE, MIN_FACE_SIZE, Face, clip_box, merge_detections, rescale
from ferlib.faces.mtcnn_networks import PNET_SIDE, PNET_STRIDE, MtcnnNetworks, load_networks

# Scale factor between two levels of the image pyramid.
_FACTOR = 0.709
# Probabilities that candidates must exceed after PNet and RNet.
_PNET_THRESHOLD, _RNET_THRESHOLD = 0.6, 0.7
_PNET_LOG_ODDS = math.log(_PNET_THRESHOLD / (1 - _PNET_THRESHOLD))

# The networks run on an image in which the smallest face has this size and the shorter side at least this length.
_PYRAMID_FACE = 20
_MIN_SIDE = 24
# Smaller images are enlarged first, because a face that fills a tiny image has no pyramid level.
_ENLARGED_SIDE = 48

# Larger images are reduced to this many pixels on the longer side, which raises the size of the smallest face.
_MAX_SIDE = 1600

# A face that was in the previous frame is kept at this probability, so that turned or occluded faces are not lost.
_REDETECT_THRESHOLD = 0.5

_LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@dataclass(frozen=True)
class Candidates:
    """Face candidates, as float64 arrays with one row per candidate."""

    corners: np.ndarray  # (n, 4): x0, y0, x1, y1 in pixels
    scores: np.ndarray  # (n,): probability of a face
    landmarks: np.ndarray | None = None  # (n, 5, 2): x, y in the order of _LANDMARKS; None before the last network

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.scores)

    def __getitem__(self, index: np.ndarray) -> "Candidates":
        """Return some of the candidates, by indices or a mask."""
        landmarks = None if self.landmarks is None else self.landmarks[index]
        return Candidates(self.corners[index], self.scores[index], landmarks)

    def squared(self) -> "Candidates":
        """Return the boxes as squares around the same centers, as wide as their longer sides."""
        sizes = self.corners[:, 2:] - self.corners[:, :2]
        side = sizes.max(axis=1, keepdims=True)
        starts = self.corners[:, :2] + (sizes * 0.5 - side * 0.5)
        return replace(self, corners=np.concatenate([starts, starts + side], axis=1))

    def faces(self, scale: float, image: np.ndarray) -> list[Face]:
        """Return the candidates of an image that was resized by a factor as faces of the original image."""
        landmarks = np.zeros((len(self), 5, 2)) if self.landmarks is None else self.landmarks
        faces = []
        for corners, score, points in zip(self.corners / scale, self.scores, landmarks / scale, strict=True):
            x0, y0, x1, y1 = corners
            named = {name: (float(x), float(y)) for name, (x, y) in zip(_LANDMARKS, points, strict=True)}
            faces.append(Face(clip_box((x0, y0, x1 - x0, y1 - y0), image), float(score), named))
        return faces


class MtcnnDetector:
    """The multi-task cascaded convolutional networks of Zhang et al.

    Parameters
    ----------
    min_face_size : int
        Faces whose longer side is shorter than this, in pixels of the image, are discarded.
    min_confidence : float
        Faces with a lower probability are discarded, 0 to 1.
    n_threads : int
        Threads; 0 for one per available core.

    Notes
    -----
    `min_face_size` resizes the image rather than the pyramid, which is designed for faces of at least 20 pixels. An
    image that is narrower than 24 pixels even when it is enlarged has no faces.

    References
    ----------
    K. Zhang, Z. Zhang, Z. Li, Y. Qiao. Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks. IEEE Signal Processing Letters 23(10), 2016.
    """

    def __init__(
        self,
        *,
        min_face_size: int = MIN_FACE_SIZE,
        min_confidence: float = MIN_CONFIDENCE,
        n_threads: int = 0,
    ) -> None:
        self.min_face_size = min_face_size
        self.min_confidence = min_confidence
        self.n_threads = n_threads

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces and their landmarks; see `Detector.detect`."""
        height, width = image.shape[:2]
        scale = max(_PYRAMID_FACE / self.min_face_size, _ENLARGED_SIDE / min(height, width))
        scale = min(scale, _MAX_SIDE / max(height, width))
        resized = to_rgb(rescale(image, scale))
        if min(resized.shape[:2]) < _MIN_SIDE:
            return []
        faces = self.detect_candidates(resized).faces(scale, image)
        return merge_detections([face for face in faces if max(face.box[2:]) >= self.min_face_size])

    def redetect(self, image: np.ndarray, faces: Sequence[Face]) -> list[Face | None]:
        """Update faces of the previous frame with the last network alone, at about a hundredth of the cost."""
        return [self._redetect(to_rgb(image), face) for face in faces]

    def _redetect(self, image: np.ndarray, face: Face) -> Face | None:
        """Return a face of the previous frame as it is in this one, (H, W, 3)."""
        x, y, width, height = face.box
        square = Candidates(np.array([[x, y, x + width, y + height]], float), np.ones(1)).squared()
        # Only the region around the face is normalized.
        corners = square.corners[0]
        start = np.maximum(0, np.floor(corners[:2]).astype(int) - 2)
        end = np.maximum(start + 2, np.ceil(corners[2:]).astype(int) + 3)
        region = image[start[1] : end[1], start[0] : end[0]]
        if min(region.shape[:2]) < 2:
            return None
        moved = replace(square, corners=square.corners - np.tile(start, 2))
        found = self._refine("onet", _as_planes(_normalize(region)), moved)
        if not found.scores[0] > _REDETECT_THRESHOLD:
            return None
        assert found.landmarks is not None
        back = replace(found, corners=found.corners + np.tile(start, 2), landmarks=found.landmarks + start)
        return back.faces(1.0, image)[0]

    def detect_candidates(self, image: np.ndarray) -> Candidates:
        """Run the three networks on an RGB image (H, W, 3) in which the smallest face has 20 pixels.

        The candidates have landmarks, and are ordered by score; boxes are neither rounded nor clipped.
        """
        pixels = _normalize(image)
        proposed = self._propose(pixels)
        planes = _as_planes(pixels)
        refined = self._refine("rnet", planes, proposed)
        refined = refined[refined.scores > _RNET_THRESHOLD]
        refined = refined[nms(refined.corners, refined.scores, 0.7, greedy=False)].squared()
        found = self._refine("onet", planes, refined)
        found = found[found.scores > self.min_confidence]
        return found[nms(found.corners, found.scores, 0.7, mode="min", greedy=False)]

    def _propose(self, pixels: np.ndarray) -> Candidates:
        """Return square candidates that PNet finds in the levels of the image pyramid."""
        height, width = pixels.shape[:2]
        n_levels = round(-(np.log(min(height, width) / PNET_SIDE) / np.log(_FACTOR) + 1))
        all_scales = PNET_SIDE / _PYRAMID_FACE * _FACTOR ** np.arange(max(0, n_levels))
        scales = [scale for scale in all_scales if min(int(width * scale), int(height * scale)) >= PNET_SIDE]
        sizes = [(int(width * scale), int(height * scale)) for scale in scales]
        corners, scores = [np.empty((0, 4))], [np.empty(0)]
        for scale, values in zip(scales, self._networks.propose(pixels, sizes), strict=True):
            rows, columns = np.nonzero(values[-1] > _PNET_LOG_ODDS)
            starts = np.stack([columns, rows], axis=1) * PNET_STRIDE
            windows = np.concatenate([starts + 1, starts + PNET_SIDE], axis=1)
            found = (windows + values[:4, rows, columns].T * (PNET_SIDE - 1)) / scale
            found_scores = _sigmoid(values[-1, rows, columns])
            kept = nms(found.astype(np.float32), found_scores, 0.5, greedy=False)
            corners.append(found[kept])
            scores.append(found_scores[kept])
        candidates = Candidates(np.concatenate(corners), np.concatenate(scores))
        return candidates[nms(candidates.corners.astype(np.float32), candidates.scores, 0.7, greedy=False)].squared()

    def _refine(self, network: str, planes: np.ndarray, squares: Candidates) -> Candidates:
        """Return candidates as RNet or ONet corrects them; ONet adds landmarks."""
        if not len(squares):
            return squares
        values = self._networks.refine(network, planes, squares.corners)
        starts = squares.corners[:, :2]
        sizes = squares.corners[:, 2:] - starts + 1
        corners = squares.corners + values[:, :4] * np.tile(sizes, 2)
        points = None
        if network == "onet":
            # The network lists five x, then five y.
            relative = values[:, 4:14].reshape(-1, 2, 5).transpose(0, 2, 1)
            points = relative * sizes[:, np.newaxis] + starts[:, np.newaxis] - 1
        return Candidates(corners, _sigmoid(values[:, -1]), points)

    @property
    def _networks(self) -> MtcnnNetworks:
        return load_networks(self.n_threads)


def _normalize(image: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) as float32 from -1 to 1, the networks' input range."""
    pixels = image.astype(np.float32)
    pixels -= 127.5
    pixels /= 128
    return pixels


def _as_planes(pixels: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) as (1, 3, H, W)."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[np.newaxis]


def _sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, rounded to float32: candidates that tie in the package must tie here."""
    return (1 / (1 + np.exp(-log_odds))).astype(float)
