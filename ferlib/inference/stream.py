"""Recognize emotions in videos: track the faces and smooth their probabilities over time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ferlib.faces import MIN_FACE_SIZE, AdaptiveDetector, RedetectingDetector
from ferlib.faces.embedding import FaceEmbedder
from ferlib.faces.tracker import FaceTracker, TrackedFace
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import ImageResult
from ferlib.video import Frame

#: Time constant of smoothing in seconds: a frame this long ago has 1/e (37 %) of the present frame's weight.
DEFAULT_SMOOTHING = 0.5

#: In a video, the default smallest face is this fraction of the shorter side: 40 of 480 pixels.
VIDEO_FACE = 1 / 12

#: In the first frames of a video, faces of this fraction of the usual smallest size are looked for.
FIRST_FACE = 1 / 3


def make_video_recognizer(
    make: Callable[[int | None], EmotionRecognizer],
    size: tuple[int, int],
    *,
    min_face_size: int | None = None,
    detector: str = "mtcnn",
) -> tuple[EmotionRecognizer, int | None]:
    """Return the recognizer of one video, and the size of the smallest face after the first seconds.

    Parameters
    ----------
    make : callable
        Takes the size of the smallest face in pixels and returns a recognizer.
    size : tuple of int
        (height, width) of the video in pixels.
    min_face_size : int, optional
        The size for the whole video. If it is None, the size depends on that of the video and on the faces in its first
        frames, and it is returned.
    detector : str
        The detector's name.
    """
    usual = max(MIN_FACE_SIZE, round(min(size) * VIDEO_FACE))
    recognizer = make(usual)
    small = max(MIN_FACE_SIZE, round(usual * FIRST_FACE))
    if min_face_size is not None or small == usual or detector == "none":
        return recognizer, None
    if isinstance(recognizer.detector, RedetectingDetector):

        def make_detector(size: int) -> RedetectingDetector:
            other = make(size).detector
            assert isinstance(other, RedetectingDetector)
            return other

        recognizer.detector = AdaptiveDetector(make_detector, smallest=small, usual=usual)
    return recognizer, usual


def predict_video(
    frames: Iterable[Frame],
    recognizer: EmotionRecognizer,
    *,
    path: str | Path,
    smoothing: float = DEFAULT_SMOOTHING,
    read_ahead: bool = False,
    reid: bool = False,
) -> Iterator[tuple[Frame, ImageResult]]:
    """Yield each frame of a video or camera with the emotions of its faces, in constant memory.

    Parameters
    ----------
    frames : iterable of Frame, such as an open `Video`
    recognizer : EmotionRecognizer
    path : path
        Stored in the results.
    smoothing : float
        Time constant in seconds of the exponential mean of each track's probabilities; 0 for no smoothing.
    read_ahead : bool
        Read the next frame and find its faces in another thread while the faces of this one are classified. A result
        is not delayed by that.
    reid : bool
        Recognize people again by their faces, so that they keep their track ID after an absence, a cut or a crossing.
        Embeddings of their faces, which are biometric data, are kept in memory until the video ends.

    Yields
    ------
    frame : Frame
    result : ImageResult
        With ``frame``, ``time`` and the ``track_id`` of each face.
    """
    smoother = Smoother(smoothing)
    tracker = FaceTracker(recognizer.detector, embedder=FaceEmbedder() if reid else None)
    for frame, tracked in _track(frames, tracker, read_ahead=read_ahead):
        y_proba = recognizer.predict_faces(frame.image, [item.face for item in tracked])
        faces = []
        for item, row in zip(tracked, y_proba, strict=True):
            found = recognizer.describe(item.face, smoother.update(item.track_id, row, frame.time))
            faces.append(replace(found, track_id=item.track_id))
        height, width = frame.image.shape[:2]
        yield (
            frame,
            ImageResult(
                Path(path),
                (height, width),
                tuple(faces),
                frame=frame.index,
                time=frame.time,
                prior=recognizer.prior.name,
            ),
        )


def _track(
    frames: Iterable[Frame], tracker: FaceTracker, *, read_ahead: bool
) -> Iterator[tuple[Frame, list[TrackedFace]]]:
    """Yield each frame with its faces."""
    source = iter(frames)

    def follow() -> tuple[Frame, list[TrackedFace]] | None:
        frame = next(source, None)
        return None if frame is None else (frame, tracker.update(frame.image, frame.time))

    if not read_ahead:
        while (item := follow()) is not None:
            yield item
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "frames") as pool:
        item = follow()
        while item is not None:
            following = pool.submit(follow)
            yield item
            item = following.result()


class Smoother:
    """Exponential means of each track's probabilities over time with a time constant, independent of the frame rate."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._means: dict[int, tuple[np.ndarray, float]] = {}

    def update(self, track_id: int, probabilities: np.ndarray, time: float) -> np.ndarray:
        """Return a track's smoothed probabilities (n_classes,) after a new frame at a time in seconds."""
        if self.seconds > 0 and track_id in self._means:
            mean, last = self._means[track_id]
            weight = np.exp(-max(0.0, time - last) / self.seconds)
            probabilities = weight * mean + (1 - weight) * probabilities
        # Forget tracks whose weight has become negligible: a long video may have many.
        limit = time - 20 * self.seconds - 1
        self._means = {other: item for other, item in self._means.items() if item[1] > limit}
        self._means[track_id] = probabilities, time
        return probabilities
