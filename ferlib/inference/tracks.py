"""Who was in a video, when, and what they seemed to show: a summary and a timeline that do not grow with its length."""

from typing import Any

import numpy as np

from ferlib.inference.recognizer import ImageResult

# A timeline of this many points leaves two or three pixels of the figure to each; when it is full, neighbors are
# merged. More points cost the figure memory: drawing 2,000 took 5 MB more than drawing 200.
_MAX_POINTS = 500


class Person:
    """One person of a video.

    Attributes
    ----------
    number : int
    first, last : float
        Seconds, when seen.
    n_frames : int
    """

    def __init__(self, number: int, time: float) -> None:
        self.number = number
        self.first = self.last = time
        self.n_frames = 0
        self._merged = 1
        self._points: list[np.ndarray] = []  # time, probabilities, frames
        self._sum: np.ndarray | None = None

    def add(self, time: float, probabilities: np.ndarray) -> None:
        """Note the probabilities (n_classes,) of a frame."""
        self.last = time
        self.n_frames += 1
        self._sum = probabilities if self._sum is None else self._sum + probabilities
        point = np.array([time, *probabilities, 1], np.float32)
        if self._points and self._points[-1][-1] < self._merged:
            self._points[-1] = _merge(self._points[-1], point)
        else:
            self._points.append(point)
        if len(self._points) > _MAX_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=False)
            rest = self._points[-1:] if len(self._points) % 2 else []
            self._points = [_merge(first, second) for first, second in pairs] + rest
            self._merged *= 2

    @property
    def mean(self) -> np.ndarray:
        """The mean probabilities (n_classes,)."""
        return self._sum / self.n_frames

    @property
    def timeline(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) in seconds and the probabilities (n, n_classes) then."""
        points = np.array(self._points)
        return points[:, 0], points[:, 1:-1]


def _merge(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the mean of two points by their frames."""
    n = first[-1] + second[-1]
    merged = (first * first[-1] + second * second[-1]) / n
    merged[-1] = n
    return merged


class People:
    """The people of a video, as they come.

    Attributes
    ----------
    class_names : tuple of str
    """

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self._people: dict[int, Person] = {}

    def add(self, result: ImageResult) -> None:
        """Note one frame."""
        for found in result.faces:
            person = self._people.setdefault(found.person, Person(found.person, result.time))
            person.add(result.time, np.array(list(found.probabilities.values())))

    def __iter__(self):
        """Yield each `Person` in the order of their numbers."""
        return iter(sorted(self._people.values(), key=lambda person: person.number))

    def __len__(self) -> int:
        """Return how many there were."""
        return len(self._people)

    def records(self) -> list[dict[str, Any]]:
        """Return what JSON can hold: person, first and last (seconds), frames, and mean probabilities."""
        return [
            {
                "person": person.number,
                "first": round(person.first, 3),
                "last": round(person.last, 3),
                "frames": person.n_frames,
                "probabilities": {
                    name: round(float(value), 6) for name, value in zip(self.class_names, person.mean, strict=True)
                },
            }
            for person in self
        ]

    def describe(self) -> list[str]:
        """Return a line for each person: when, and the emotions that make up a tenth of the time or more."""
        lines = []
        for person in self:
            order = [index for index in np.argsort(-person.mean) if person.mean[index] >= 0.1]
            shares = ", ".join(f"{self.class_names[index]} {person.mean[index]:.0%}" for index in order)
            when = f"{person.first:.1f} to {person.last:.1f} s, {person.n_frames:,} frames"
            lines.append(f"person {person.number}, {when}: {shares}")
        return lines
