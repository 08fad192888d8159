"""MTCNN on ONNX Runtime: three networks that propose, refine and confirm faces, and locate five landmarks.

The image pyramid, thresholds and NMS follow the paper and agree with the boxes of the ``mtcnn`` package.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ferlib.core.boxes import iou, nms
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

# Faces that the image's edge cuts: PNet's windows may reach so many pixels beyond it, faces need a probability that is
# so much lower, so much of their box inside, and no more IoU with another face.
_BORDER, _CUT_TOLERANCE, _VISIBLE, _OVERLAP = 6, 0.2, 0.55, 0.1

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

    def __getitem__(self, index: np.ndarray | slice) -> "Candidates":
        """Return some of the candidates, by indices or a mask."""
        landmarks = None if self.landmarks is None else self.landmarks[index]
        return Candidates(self.corners[index], self.scores[index], landmarks)

    @staticmethod
    def join(parts: Sequence["Candidates"]) -> "Candidates":
        """Return the candidates of several groups, without landmarks if a group has none."""
        corners = np.concatenate([np.empty((0, 4)), *(part.corners for part in parts)])
        scores = np.concatenate([np.empty(0), *(part.scores for part in parts)])
        landmarks = [part.landmarks for part in parts if part.landmarks is not None]
        joined = np.concatenate(landmarks) if landmarks and len(landmarks) == len(parts) else None
        return Candidates(corners, scores, joined)

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
        found, cut = self._search(resized, border=_BORDER)
        faces = found.faces(scale, image)
        faces += [face for face in cut.faces(scale, image) if not _overlaps(face, faces)]
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

        The candidates have landmarks, and are ordered by score; boxes are neither rounded nor clipped. They are those
        of the ``mtcnn`` package.
        """
        return self._search(image, border=0)[0]

    def _search(self, image: np.ndarray, border: int) -> tuple[Candidates, Candidates]:
        """Return the candidates of `detect_candidates`, and with a border also those that the image's edge cuts."""
        pixels = _normalize(image)
        groups = self._propose(pixels, border)
        planes = _as_planes(pixels)
        refined = []
        for group in self._refine_groups("rnet", planes, groups):
            group = group[group.scores > _RNET_THRESHOLD]
            refined.append(group[nms(group.corners, group.scores, 0.7, greedy=False)].squared())
        found, outside = self._refine_groups("onet", planes, refined)
        cut = found[(found.scores > self.min_confidence - _CUT_TOLERANCE) & (found.scores <= self.min_confidence)]
        outside = outside[outside.scores > self.min_confidence - _CUT_TOLERANCE]
        found = found[found.scores > self.min_confidence]
        found = found[nms(found.corners, found.scores, 0.7, mode="min", greedy=False)]
        if not border:
            return found, cut[:0]
        cut = Candidates.join([cut, outside])
        cut = cut[_is_cut(cut.corners, image.shape)]
        return found, cut[nms(cut.corners, cut.scores, 0.7, mode="min")]

    def _refine_groups(self, network: str, planes: np.ndarray, groups: Sequence[Candidates]) -> list[Candidates]:
        """Return groups of candidates as a network corrects them, in one call."""
        values = self._refine(network, planes, Candidates.join(groups))
        ends = np.cumsum([len(group) for group in groups])
        return [values[end - len(group) : end] for end, group in zip(ends, groups, strict=True)]

    def _propose(self, pixels: np.ndarray, border: int) -> list[Candidates]:
        """Return square candidates that PNet finds in the levels of the image pyramid: inside, and beyond the edge."""
        height, width = pixels.shape[:2]
        n_levels = round(-(np.log(min(height, width) / PNET_SIDE) / np.log(_FACTOR) + 1))
        all_scales = PNET_SIDE / _PYRAMID_FACE * _FACTOR ** np.arange(max(0, n_levels))
        scales = [scale for scale in all_scales if min(int(width * scale), int(height * scale)) >= PNET_SIDE]
        sizes = [(int(width * scale), int(height * scale)) for scale in scales]
        groups: list[list[Candidates]] = [[], []]
        for scale, (values, outside) in zip(scales, self._networks.propose(pixels, sizes, border=border), strict=True):
            rows, columns = np.nonzero(values[-1] > _PNET_LOG_ODDS)
            outside = outside[outside[:, -1] > _PNET_LOG_ODDS]
            groups[0].append(_candidates(rows, columns, values[:, rows, columns].T, scale))
            groups[1].append(_candidates(outside[:, 0], outside[:, 1], outside[:, 2:], scale))
        joined = [Candidates.join(group) for group in groups]
        return [
            group[nms(group.corners.astype(np.float32), group.scores, 0.7, greedy=False)].squared() for group in joined
        ]

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


def _candidates(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, scale: float) -> Candidates:
    """Return the candidates of a level's windows that are left after NMS, from PNet's values (n, 5)."""
    starts = np.stack([columns, rows], axis=1) * PNET_STRIDE
    windows = np.concatenate([starts + 1, starts + PNET_SIDE], axis=1)
    corners = (windows + values[:, :4] * (PNET_SIDE - 1)) / scale
    scores = _sigmoid(values[:, -1])
    kept = nms(corners.astype(np.float32), scores, 0.5, greedy=False)
    return Candidates(corners[kept], scores[kept])


def _is_cut(corners: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return whether boxes reach beyond the edge of an image, with most of their area inside."""
    height, width = shape[:2]
    size = np.array([width, height, width, height], float)
    clipped = np.clip(corners, 0, size)
    visible = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1) / (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return np.asarray((clipped != corners).any(axis=1) & (visible >= _VISIBLE))


def _overlaps(face: Face, others: Sequence[Face]) -> bool:
    """Return whether a face shares area with one of others that is worth mentioning."""
    return any(iou(face.box, other.box) > _OVERLAP for other in others)


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
