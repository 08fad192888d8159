"""MTCNN on ONNX Runtime: three networks that propose, refine and confirm faces, and locate five landmarks.

The image pyramid, thresholds and NMS follow the paper and agree with the boxes of the ``mtcnn`` package.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ferlib.core.boxes import iou, nms
from ferlib.core.images import to_rgb
from ferlib.faces.base import LANDMARKS, MIN_CONFIDENCE, MIN_FACE_SIZE, Face, clip_box, merge_detections, rescale
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

# Larger images of which small faces were asked for are searched in tiles of this side.
_TILE_SIDE = 1200

# A face is discarded next to one that is so many times as large, unless small faces were asked for.
_SMALLEST_SHARE = 16

# A face that fills the image covers this part of its shorter side, and the image is at most so much longer than wide.
_FILLED, _MAX_ASPECT = 0.7, 2

# Faces that the image's edge cuts: PNet's windows may reach so many pixels beyond it, faces need a probability that is
# so much lower, so much of their box inside, and no more IoU with another face.
_BORDER, _CUT_TOLERANCE, _VISIBLE, _OVERLAP = 6, 0.2, 0.55, 0.1

# A face that was in the previous frame is kept at this probability, so that turned or occluded faces are not lost.
_REDETECT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Candidates:
    """Face candidates, as float64 arrays with one row per candidate."""

    corners: np.ndarray  # (n, 4): x0, y0, x1, y1 in pixels
    scores: np.ndarray  # (n,): probability of a face
    landmarks: np.ndarray | None = None  # (n, 5, 2): x, y in the order of LANDMARKS; None before the last network

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
            named = {name: (float(x), float(y)) for name, (x, y) in zip(LANDMARKS, points, strict=True)}
            faces.append(Face(clip_box((x0, y0, x1 - x0, y1 - y0), image), float(score), named))
        return faces


class MtcnnDetector:
    """The multi-task cascaded convolutional networks of Zhang et al.

    Parameters
    ----------
    min_face_size : int or None
        Faces whose longer side is shorter than this, in pixels of the image, are discarded; large images are searched
        in tiles. If None it is 20, images of over 1,600 pixels are reduced to that, and a face next to one that is 16
        times as large is discarded: it is mostly a pattern in hair or clothes.
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
        min_face_size: int | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        n_threads: int = 0,
    ) -> None:
        self.min_face_size = MIN_FACE_SIZE if min_face_size is None else min_face_size
        self.keep_small = min_face_size is not None
        self.min_confidence = min_confidence
        self.n_threads = n_threads

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces and their landmarks; see `Detector.detect`."""
        faces = self._detect_reduced(image, min(self._scale(image), _MAX_SIDE / max(image.shape[:2])))
        if self._is_tiled(image.shape[:2]):
            faces = faces + self._detect_in_tiles(image)
        faces = merge_detections([face for face in faces if max(face.box[2:]) >= self.min_face_size])
        if not faces:
            return self._detect_filling(image)
        if self.keep_small:
            return faces
        largest = max(max(face.box[2:]) for face in faces)
        return [face for face in faces if max(face.box[2:]) * _SMALLEST_SHARE >= largest]

    def smallest_face(self, size: tuple[int, int]) -> int:
        """Return the size in pixels below which no face is looked for in an image of (height, width)."""
        if self._is_tiled(size):
            return self.min_face_size
        return max(self.min_face_size, round(_PYRAMID_FACE * max(size) / _MAX_SIDE))

    def _scale(self, image: np.ndarray) -> float:
        """Return the factor by which an image is resized for its smallest face."""
        return max(_PYRAMID_FACE / self.min_face_size, _ENLARGED_SIDE / min(image.shape[:2]))

    def _is_tiled(self, size: tuple[int, ...]) -> bool:
        """Return whether an image of (height, width) is too large for its smallest face, which was asked for."""
        return self.keep_small and max(size) * _PYRAMID_FACE / self.min_face_size > _MAX_SIDE

    def _detect_reduced(self, image: np.ndarray, scale: float) -> list[Face]:
        """Return the faces of an image that is resized by a factor, also those that its edge cuts."""
        resized = to_rgb(rescale(image, scale))
        if min(resized.shape[:2]) < _MIN_SIDE:
            return []
        found, cut = self._search(resized, border=_BORDER)
        faces = found.faces(scale, image)
        return faces + [face for face in cut.faces(scale, image) if not _overlaps(face, faces)]

    def _detect_in_tiles(self, image: np.ndarray) -> list[Face]:
        """Return the small faces of a large image, searched part by part at its full scale."""
        scale = _PYRAMID_FACE / self.min_face_size
        side = round(_TILE_SIDE / scale)
        # A face that is too small for the reduced image is entirely in one tile.
        overlap = min(side // 2, round(1.5 * _PYRAMID_FACE * max(image.shape[:2]) / _MAX_SIDE))
        faces = []
        for top in _tile_starts(image.shape[0], side, overlap):
            for left in _tile_starts(image.shape[1], side, overlap):
                tile = image[top : top + side, left : left + side]
                moved = [_moved(face, left, top) for face in self._detect_reduced(tile, scale)]
                faces += [face for face in moved if not _touches_seam(face, tile, left, top, image)]
        return faces

    def _detect_filling(self, image: np.ndarray) -> list[Face]:
        """Return the face that fills an image: larger than its windows, it is found in a small copy with a border."""
        scale = _ENLARGED_SIDE / min(image.shape[:2])
        border = _ENLARGED_SIDE // 2
        if max(image.shape[:2]) > _MAX_ASPECT * min(image.shape[:2]) or min(image.shape[:2]) < _MIN_SIDE:
            return []
        small = to_rgb(rescale(image, scale))
        # Zero in the networks' range, as where a patch reaches beyond the image.
        padded = cv2.copyMakeBorder(small, *4 * (border,), cv2.BORDER_CONSTANT, value=(127, 127, 127))
        found, _ = self._search(padded, border=0)
        large = (found.corners[:, 2:] - found.corners[:, :2]).max(axis=1) >= _FILLED * _ENLARGED_SIDE
        found = found[large]
        assert found.landmarks is not None or not len(found)
        landmarks = None if found.landmarks is None else found.landmarks - border
        return merge_detections(replace(found, corners=found.corners - border, landmarks=landmarks).faces(scale, image))

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


def _tile_starts(length: int, side: int, overlap: int) -> list[int]:
    """Return where tiles start that cover a length and overlap."""
    n = max(1, -(-(length - overlap) // (side - overlap)))
    return [round(i * max(0, length - side) / max(1, n - 1)) for i in range(n)]


def _moved(face: Face, left: int, top: int) -> Face:
    """Return a face of a tile as one of the image."""
    x, y, width, height = face.box
    landmarks = face.landmarks and {name: (u + left, v + top) for name, (u, v) in face.landmarks.items()}
    return replace(face, box=(x + left, y + top, width, height), landmarks=landmarks)


def _touches_seam(face: Face, tile: np.ndarray, left: int, top: int, image: np.ndarray) -> bool:
    """Return whether a face reaches the edge of its tile inside the image, so that another tile has all of it."""
    (x, y, width, height), (tile_height, tile_width) = face.box, tile.shape[:2]
    return bool(
        0 < left == x
        or 0 < top == y
        or left + tile_width == x + width < image.shape[1]
        or top + tile_height == y + height < image.shape[0]
    )


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
