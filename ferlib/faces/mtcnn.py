"""MTCNN on ONNX Runtime: three networks that propose, refine and confirm faces, and locate five landmarks.

The weights are those of the ``mtcnn`` package (I. de Paz Centeno, MIT license), converted by
``tools/convert_mtcnn.py``. The image pyramid, thresholds and NMS follow the paper and agree with that package's boxes.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ferlib.core.boxes import nms
from ferlib.core.images import to_rgb
from ferlib.faces.base import MIN_CONFIDENCE, MIN_FACE_SIZE, Face, clip_box, merge_detections, rescale

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Input sides in pixels of the networks; PNet is applied to every window of that side, every _STRIDE pixels.
_PNET_SIDE, _RNET_SIDE, _ONET_SIDE = 12, 24, 48
_STRIDE = 2
# Scale factor between two levels of the image pyramid.
_FACTOR = 0.709
# Probabilities that candidates must exceed after PNet and RNet.
_PNET_THRESHOLD, _RNET_THRESHOLD = 0.6, 0.7

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
        Threads of ONNX Runtime; 0 lets it choose.

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
        found = self._refine("onet", _ONET_SIDE, _normalize(region), moved)
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
        refined = self._refine("rnet", _RNET_SIDE, pixels, proposed)
        refined = refined[refined.scores > _RNET_THRESHOLD]
        refined = refined[nms(refined.corners, refined.scores, 0.7, greedy=False)].squared()
        found = self._refine("onet", _ONET_SIDE, pixels, refined)
        found = found[found.scores > self.min_confidence]
        return found[nms(found.corners, found.scores, 0.7, mode="min", greedy=False)]

    def _propose(self, pixels: np.ndarray) -> Candidates:
        """Return square candidates that PNet finds in the levels of the image pyramid."""
        height, width = pixels.shape[:2]
        n_levels = round(-(np.log(min(height, width) / _PNET_SIDE) / np.log(_FACTOR) + 1))
        corners, scores = [np.empty((0, 4))], [np.empty(0)]
        for scale in _PNET_SIDE / _PYRAMID_FACE * _FACTOR ** np.arange(max(0, n_levels)):
            size = int(width * scale), int(height * scale)
            if min(size) < _PNET_SIDE:
                continue
            level = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            offsets, probabilities = self._run("pnet", level[np.newaxis])
            rows, columns = np.nonzero(probabilities[0, :, :, 1] > _PNET_THRESHOLD)
            starts = np.stack([columns, rows], axis=1) * _STRIDE
            windows = np.concatenate([starts + 1, starts + _PNET_SIDE], axis=1)
            found = (windows + offsets[0, rows, columns] * (_PNET_SIDE - 1)) / scale
            found_scores = probabilities[0, rows, columns, 1].astype(float)
            kept = nms(found, found_scores, 0.5, greedy=False)
            corners.append(found[kept])
            scores.append(found_scores[kept])
        candidates = Candidates(np.concatenate(corners), np.concatenate(scores))
        return candidates[nms(candidates.corners, candidates.scores, 0.7, greedy=False)].squared()

    def _refine(self, network: str, side: int, pixels: np.ndarray, squares: Candidates) -> Candidates:
        """Return candidates as RNet or ONet corrects them; ONet adds landmarks."""
        if not len(squares):
            return squares
        offsets, *landmarks, probabilities = self._run(network, _cut_patches(pixels, squares.corners, side))
        starts = squares.corners[:, :2]
        sizes = squares.corners[:, 2:] - starts + 1
        corners = squares.corners + offsets * np.tile(sizes, 2)
        points = None
        if landmarks:
            # The network lists five x, then five y.
            relative = landmarks[0].reshape(-1, 2, 5).transpose(0, 2, 1)
            points = relative * sizes[:, np.newaxis] + starts[:, np.newaxis] - 1
        return Candidates(corners, probabilities[:, 1].astype(float), points)

    def _run(self, network: str, images: np.ndarray) -> list[np.ndarray]:
        """Return a network's outputs for normalized images, float32 (n, side, side, 3)."""
        return _load_networks(self.n_threads)[network].run(None, {"images": images})


@functools.cache
def _load_networks(n_threads: int) -> dict[str, "InferenceSession"]:
    """Return the three networks, which all detectors of the process share."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    # Images and pyramid levels have many sizes: memory kept for each of them would not be used again.
    options.enable_cpu_mem_arena = False
    # Threads that spin while waiting take the cores from the emotion network and halve the speed on a video.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    folder = resources.files("ferlib") / "assets" / "mtcnn"
    return {
        name: onnxruntime.InferenceSession(
            (folder / f"{name}.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        for name in ("pnet", "rnet", "onet")
    }


def _normalize(image: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) as float32 from -1 to 1, the networks' input range."""
    return (image.astype(np.float32) - 127.5) / 128


def _cut_patches(pixels: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """Return each box of an image resized bilinearly, float32 (n, side, side, 3); 0 outside the image.

    Sampled at the same points as TensorFlow's ``crop_and_resize``, with which the thresholds were tuned.
    """
    height, width = pixels.shape[:2]
    steps = np.linspace(0, 1, side)
    # crop_and_resize takes corners as fractions of the size but samples at fractions of the last pixel's position.
    x = (corners[:, :1] + steps * (corners[:, 2:3] - corners[:, :1])) * ((width - 1) / width)
    y = (corners[:, 1:2] + steps * (corners[:, 3:4] - corners[:, 1:2])) * ((height - 1) / height)
    inside = ((y >= 0) & (y <= height - 1))[:, :, np.newaxis] & ((x >= 0) & (x <= width - 1))[:, np.newaxis]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    x_weight = (x - left).astype(np.float32)[:, np.newaxis, :, np.newaxis]
    y_weight = (y - top).astype(np.float32)[:, :, np.newaxis, np.newaxis]

    def pick(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return pixels[rows[:, :, np.newaxis], columns[:, np.newaxis]]

    upper = pick(top, left) * (1 - x_weight) + pick(top, right) * x_weight
    lower = pick(bottom, left) * (1 - x_weight) + pick(bottom, right) * x_weight
    return (upper * (1 - y_weight) + lower * y_weight) * inside[..., np.newaxis]
