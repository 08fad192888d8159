"""From frames to people: track the faces of a video and smooth their emotions over time."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ferlib.faces.tracker import FaceTracker
from ferlib.inference.recognizer import EmotionRecognizer, ImageResult
from ferlib.video.reader import Frame

#: Time constant of smoothing, in seconds: what was seen this long ago counts a third of what is seen now.
DEFAULT_SMOOTHING = 0.5


def recognize_stream(
    frames: Iterable[Frame],
    recognizer: EmotionRecognizer,
    *,
    path: str | Path,
    tracker: FaceTracker | None = None,
    smoothing: float = DEFAULT_SMOOTHING,
) -> Iterator[tuple[Frame, ImageResult]]:
    """Yield each frame with its people and their emotions; what is kept in memory does not grow.

    Parameters
    ----------
    frames : iterable of Frame
        In order.
    recognizer : EmotionRecognizer
    path : path
        What the results call the video.
    tracker : FaceTracker, optional
        A new one with the recognizer's detector when None.
    smoothing : float
        Time constant in seconds of the exponential mean that each person's probabilities are; 0 for none.

    Yields
    ------
    frame : Frame
    result : ImageResult
        With `frame` and `time`, and in each face the number of its `person`.
    """
    tracker = tracker or FaceTracker(recognizer.detector)
    smoother = Smoother(smoothing)
    for frame in frames:
        tracked = tracker.update(frame.image, frame.time)
        probabilities = recognizer.predict_faces(frame.image, [one.face for one in tracked])
        faces = tuple(
            replace(recognizer.describe(one.face, smoother.update(one.person, row, frame.time)), person=one.person)
            for one, row in zip(tracked, probabilities, strict=True)
        )
        yield frame, ImageResult(Path(path), frame.image.shape[:2], faces, frame=frame.index, time=frame.time)


class Smoother:
    """Exponential means of people's probabilities over time, whatever the distance between frames.

    Parameters
    ----------
    seconds : float
        The time constant; 0 passes everything through.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._known: dict[int, tuple[np.ndarray, float]] = {}

    def update(self, person: int, probabilities: np.ndarray, time: float) -> np.ndarray:
        """Return a person's smoothed probabilities (n_classes,) after seeing new ones at a time in seconds."""
        if self.seconds > 0 and person in self._known:
            before, seen = self._known[person]
            # After a long absence the exponential has forgotten what was before by itself.
            share = np.exp(-max(0.0, time - seen) / self.seconds)
            probabilities = share * before + (1 - share) * probabilities
        # Who has gone for long is not kept: a long video may see many.
        self._known = {who: what for who, what in self._known.items() if time - what[1] < 20 * self.seconds + 1}
        self._known[person] = probabilities, time
        return probabilities
