"""Recognize people again within one video: embeddings of faces, kept in memory alone."""

import threading
from collections.abc import Sequence, Set
from importlib import resources
from typing import Protocol

import cv2
import numpy as np

from ferlib.core.backend import import_onnxruntime
from ferlib.core.images import to_rgb
from ferlib.core.threads import available_cores
from ferlib.faces.base import LANDMARKS, Face

# Side of the network's input in pixels, and where its training images have the landmarks in the order of LANDMARKS.
_SIDE = 150
_PLACES = np.array([(47.6, 46.6), (100.5, 46.6), (74.0, 87.8), (50.4, 103.0), (97.6, 103.0)])
# For a face without landmarks: where its box would have them, as fractions of its width and height.
_IN_BOX = np.array([(0.31, 0.38), (0.69, 0.38), (0.5, 0.58), (0.35, 0.77), (0.65, 0.77)])

# Largest distance of two embeddings of one person. The network's author recommends 0.6 for two good photographs; here
# a person is compared with several embeddings and has to be told apart from few others.
_SAME = 0.55
# A track keeps its ID up to this distance, and is compared with an advantage of this size.
_STILL_SAME, _ADVANTAGE = 0.65, 0.1
# A track is given up by its ID after so many comparisons that fail.
_MAX_DOUBTS = 2
# Embeddings that are kept per person, each at least this far from the others.
_MAX_EXAMPLES, _NEW_EXAMPLE = 10, 0.2


class Embedder(Protocol):
    """Interface of what makes embeddings."""

    def embed(self, image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
        """Return embeddings (n, d), float32, of the faces of an image (H, W, 1) or (H, W, 3), uint8."""
        ...


class FaceEmbedder:
    """dlib's face-recognition network: faces of one person have embeddings at a distance of less than about 0.6.

    Parameters
    ----------
    n_threads : int
        Threads of ONNX Runtime; 0 for one per available core.

    Notes
    -----
    An embedding is biometric data in the sense of many laws: it identifies a person. It is not written to any file.

    References
    ----------
    D. King, "Dlib-ml: A Machine Learning Toolkit", JMLR 2009. The network is in the public domain.
    """

    def __init__(self, n_threads: int = 0) -> None:
        self.n_threads = n_threads
        self._lock = threading.Lock()
        self._loaded: object = None

    def embed(self, image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
        """Return embeddings (n, 128), float32; see `Embedder.embed`."""
        if not faces:
            return np.empty((0, 128), np.float32)
        image = to_rgb(image)
        aligned = np.stack([_align(image, face) for face in faces])
        return np.asarray(self._session().run(None, {"faces": aligned})[0])

    def _session(self):  # type: ignore[no-untyped-def]  # ONNX Runtime is imported only here
        """Return the network, which is loaded with the first face."""
        with self._lock:
            if self._loaded is None:
                onnxruntime = import_onnxruntime()
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self.n_threads or available_cores()
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                data = (resources.files("ferlib") / "assets" / "face_embedding" / "dlib.onnx").read_bytes()
                self._loaded = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return self._loaded


class Identities:
    """The people of one video, by their embeddings, in memory alone."""

    def __init__(self) -> None:
        self._examples: dict[int, list[np.ndarray]] = {}

    def assign(
        self, embeddings: np.ndarray, current: Sequence[int | None], doubts: Sequence[int], taken: Set[int]
    ) -> list[int | None]:
        """Return whose faces they are.

        Parameters
        ----------
        embeddings : ndarray of shape (n, d)
        current : sequence of int or None
            The ID that each face has so far.
        doubts : sequence of int
            How many comparisons with that ID have failed in a row.
        taken : set of int
            IDs of other faces of the frame.

        Returns
        -------
        list of int or None
            The ID of each face, each at most once; None for a person who was not seen before.
        """
        pairs = []
        for i, (embedding, own) in enumerate(zip(embeddings, current, strict=True)):
            for number, examples in self._examples.items():
                distance = float(np.linalg.norm(np.array(examples) - embedding, axis=1).min())
                limit = _STILL_SAME if number == own else _SAME
                if distance <= limit and number not in taken:
                    pairs.append((distance - (_ADVANTAGE if number == own else 0), i, number))
        found: list[int | None] = [None] * len(embeddings)
        used = set(taken)
        for _, i, number in sorted(pairs):
            if found[i] is None and number not in used:
                found[i] = number
                used.add(number)
        for i, own in enumerate(current):
            # A turned or blurred face keeps its ID for a while.
            if found[i] is None and own is not None and own not in used and doubts[i] + 1 < _MAX_DOUBTS:
                found[i] = own
                used.add(own)
        return found

    def is_like(self, number: int, embedding: np.ndarray) -> bool:
        """Return whether a face (d,) looks like the person of an ID; true for an ID without examples."""
        examples = self._examples.get(number)
        return examples is None or bool(np.linalg.norm(np.array(examples) - embedding, axis=1).min() <= _STILL_SAME)

    def learn(self, number: int, embedding: np.ndarray) -> None:
        """Keep an embedding (d,) of a person, if it differs from those that are kept."""
        examples = self._examples.setdefault(number, [])
        if all(np.linalg.norm(example - embedding) > _NEW_EXAMPLE for example in examples):
            examples.append(embedding)
            del examples[1:-_MAX_EXAMPLES]


def _align(image: np.ndarray, face: Face) -> np.ndarray:
    """Return a face (150, 150, 3) turned, scaled and moved so that its landmarks are in their places."""
    if face.landmarks:
        points = np.array([face.landmarks[name] for name in LANDMARKS])
    else:
        x, y, width, height = face.box
        points = np.array((x, y)) + _IN_BOX * (width, height)
    # The similarity transform with the least squared error.
    equations = np.zeros((2 * len(points), 4))
    equations[0::2] = np.column_stack([points[:, 0], -points[:, 1], np.ones(5), np.zeros(5)])
    equations[1::2] = np.column_stack([points[:, 1], points[:, 0], np.zeros(5), np.ones(5)])
    a, b, dx, dy = np.linalg.lstsq(equations, _PLACES.ravel(), rcond=None)[0]
    matrix = np.array([[a, -b, dx], [b, a, dy]])
    return cv2.warpAffine(image, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
