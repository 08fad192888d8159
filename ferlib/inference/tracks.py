"""Summarize the tracks of a video: when each face was visible and which emotions it showed."""

from collections.abc import Iterator

import numpy as np

from ferlib.inference.results import ImageResult, Record

# Points of a timeline. When there are more, neighbors are merged, so that memory does not grow with the video's length;
# this many give each point two or three pixels in the figure.
_MAX_POINTS = 500

# Emotions with a smaller mean probability are not listed.
_LISTED = 0.1


class Track:
    """One track of a video: its ID, its first and last time in seconds, and its number of frames."""

    def __init__(self, track_id: int, time: float, n_classes: int) -> None:
        self.track_id = track_id
        self.first = self.last = time
        self.n_frames = 0
        self._sum = np.zeros(n_classes)
        self._frames_per_point = 1
        # Sums over the frames of each point: time, probabilities, number of frames.
        self._points: list[np.ndarray] = []

    def add(self, time: float, probabilities: np.ndarray) -> None:
        """Add a frame's probabilities (n_classes,)."""
        self.last = time
        self.n_frames += 1
        self._sum += probabilities
        frame = np.array([time, *probabilities, 1])
        if self._points and self._points[-1][-1] < self._frames_per_point:
            self._points[-1] += frame
        else:
            self._points.append(frame)
        if len(self._points) > _MAX_POINTS:
            pairs = [self._points[i : i + 2] for i in range(0, len(self._points), 2)]
            self._points = [np.sum(pair, axis=0) for pair in pairs]
            self._frames_per_point *= 2

    @property
    def mean(self) -> np.ndarray:
        """Mean probabilities (n_classes,)."""
        return self._sum / self.n_frames

    @property
    def timeline(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) in seconds and probabilities (n, n_classes), at most 500 points."""
        points = np.array(self._points)
        means = points[:, :-1] / points[:, -1:]
        return means[:, 0], means[:, 1:]


class TrackSummary:
    """The tracks of a video; iterate over it for each `Track` in the order of the IDs."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self._tracks: dict[int, Track] = {}

    def add(self, result: ImageResult) -> None:
        """Add a frame."""
        for found in result.faces:
            if found.track_id is None or result.time is None:
                raise ValueError("expected the result of a video's frame, with a time and track IDs")
            if found.track_id not in self._tracks:
                self._tracks[found.track_id] = Track(found.track_id, result.time, len(self.class_names))
            self._tracks[found.track_id].add(result.time, np.array(list(found.probabilities.values())))

    def __iter__(self) -> Iterator[Track]:
        """Yield the tracks."""
        return iter(sorted(self._tracks.values(), key=lambda track: track.track_id))

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self._tracks)

    def records(self) -> list[Record]:
        """Return JSON values: track_id, first and last (seconds), frames, and mean probabilities."""
        return [
            {
                "track_id": track.track_id,
                "first": round(track.first, 3),
                "last": round(track.last, 3),
                "frames": track.n_frames,
                "probabilities": {
                    name: round(float(value), 6) for name, value in zip(self.class_names, track.mean, strict=True)
                },
            }
            for track in self
        ]

    def describe(self) -> list[str]:
        """Return one line per track: when it was visible, and its emotions with a mean probability of at least 10 %."""
        lines = []
        for track in self:
            order = [i for i in np.argsort(-track.mean) if track.mean[i] >= _LISTED]
            emotions = ", ".join(f"{self.class_names[i]} {track.mean[i]:.0%}" for i in order)
            visible = f"{track.first:.1f} to {track.last:.1f} s, {track.n_frames:,} frames"
            lines.append(f"track {track.track_id}, {visible}: {emotions}")
        return lines
