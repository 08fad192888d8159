"""Track faces through the frames of a video: a person keeps the same track ID."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ferlib.core.boxes import iou
from ferlib.faces.base import Detector, Face, RedetectingDetector
from ferlib.faces.embedding import Embedder, Identities

# Seconds between detections on the entire frame, and after which a lost face is forgotten and would get a new ID.
_DETECT_INTERVAL, _MAX_AGE = 0.5, 2.0
# A face of this confidence starts a track at once; others must first be seen in so many frames.
_HIGH_CONFIDENCE, _MIN_HITS = 0.98, 3
# Smallest IoU of a track's boxes in consecutive frames.
_MATCH_IOU = 0.2
# Two tracks whose boxes have a higher IoU are of one face.
_DUPLICATE_IOU = 0.5
# A lost face is found again within this distance, in widths of its box, and with this change of scale.
_RETURN_DISTANCE, _RETURN_SCALE = 1.0, 1.6
# After a loss, detections follow this many times as often.
_LOST_FACTOR = 5
# Smaller faces, in pixels, are too coarse for an embedding.
_MIN_EMBEDDED = 32
# Mean difference of two frames' thumbnails, 0 to 255, from which they are of different scenes.
_CUT = 25


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame and its track's ID, from 1 in the order of appearance."""

    track_id: int
    face: Face


@dataclass(eq=False)
class _Track:
    """A face over time."""

    face: Face
    last_seen: float  # seconds
    hits: int = 1  # frames with the face
    track_id: int | None = None  # None until the track is confirmed
    visible: bool = True
    doubts: int = 0  # comparisons with the ID's other faces that have failed in a row

    @property
    def is_sure(self) -> bool:
        """Whether the track has earned an ID."""
        return self.face.confidence >= _HIGH_CONFIDENCE or self.hits >= _MIN_HITS

    def hit(self, face: Face, time: float) -> None:
        """Record that the face was seen."""
        self.face, self.last_seen, self.visible = face, time, True
        self.hits += 1


class FaceTracker:
    """Assign track IDs to the faces of a video, and run the detector on entire frames only as often as needed.

    A `RedetectingDetector` such as MTCNN updates the known faces in each frame, at a small part of a detection's cost.
    It searches the entire frame for new faces twice per second, and more often after a face was lost. Other detectors
    search every frame.

    Parameters
    ----------
    detector : Detector
    embedder : Embedder, optional
        Recognizes people again by their faces. Embeddings are kept in memory, for this video alone.

    Notes
    -----
    Without an embedder, tracks are matched by position alone, as in SORT (without its Kalman filter): a person who
    leaves and returns elsewhere gets a new ID, and two people who cross may swap IDs. With one, every new track and,
    with each detection, every face is compared with the people seen so far. A tracker serves one video at a time.

    References
    ----------
    A. Bewley, Z. Ge, L. Ott, F. Ramos, B. Upcroft. Simple Online and Realtime Tracking. ICIP, 2016.
    """

    def __init__(self, detector: Detector, *, embedder: Embedder | None = None) -> None:
        self.detector = detector
        self.embedder = embedder
        self._identities = Identities()
        self._thumbnail: np.ndarray | None = None
        self._tracks: list[_Track] = []
        self._last_detection = -math.inf
        self._n_ids = 0

    def update(self, image: np.ndarray, time: float) -> list[TrackedFace]:
        """Return the faces of the next frame, (H, W, 1) or (H, W, 3), uint8, from left to right.

        The time is in seconds. An earlier time than the last one means that another video starts.
        """
        if time < self._last_detection:
            self._tracks, self._last_detection = [], -math.inf
            self._identities = Identities()
        if self.embedder is not None and self._is_cut(image):
            self._tracks, self._last_detection = [], -math.inf
        self._tracks = [track for track in self._tracks if time - track.last_seen <= _MAX_AGE]
        if isinstance(self.detector, RedetectingDetector):
            self._redetect(self.detector, image, time)
            # Lost faces are looked for soon, but not in every frame.
            lost = any(not track.visible for track in self._tracks)
            interval = _DETECT_INTERVAL / (_LOST_FACTOR if lost else 1)
            if time - self._last_detection >= interval:
                self._detect(image, time)
        else:
            self._detect(image, time)
        self._merge_duplicates()
        if self.embedder is not None:
            self._identify(self.embedder, image, everyone=self._last_detection == time)
        return self._confirmed()

    def _is_cut(self, image: np.ndarray) -> bool:
        """Return whether a frame shows another scene than the last one."""
        thumbnail = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._thumbnail = self._thumbnail, thumbnail
        return last is not None and bool(last.shape != thumbnail.shape or np.abs(last - thumbnail).mean() > _CUT)

    def _identify(self, embedder: Embedder, image: np.ndarray, *, everyone: bool) -> None:
        """Give the right IDs to new tracks; with `everyone`, check those of the others."""
        visible = [track for track in self._tracks if track.visible]
        new = [track for track in visible if track.track_id is None and track.is_sure]
        checked = [
            track
            for track in visible
            if (track in new or (everyone and track.track_id is not None)) and max(track.face.box[2:]) >= _MIN_EMBEDDED
        ]
        if not checked:
            return
        embeddings = embedder.embed(image, [track.face for track in checked])
        taken = {track.track_id for track in visible if track.track_id is not None and track not in checked}
        numbers = self._identities.assign(
            embeddings, [track.track_id for track in checked], [track.doubts for track in checked], taken
        )
        for track, number, embedding in zip(checked, numbers, embeddings, strict=True):
            if number is None:
                self._n_ids += 1
                number = self._n_ids
            is_like = self._identities.is_like(number, embedding)
            track.track_id, track.doubts = number, 0 if is_like else track.doubts + 1
            if is_like:
                self._identities.learn(number, embedding)

    def _redetect(self, detector: RedetectingDetector, image: np.ndarray, time: float) -> None:
        """Update the visible tracks; those whose face is gone become invisible."""
        visible = [track for track in self._tracks if track.visible]
        for track, face in zip(visible, detector.redetect(image, [track.face for track in visible]), strict=True):
            if face is None or iou(face.box, track.face.box) < _MATCH_IOU:
                track.visible = False
            else:
                track.hit(face, time)

    def _detect(self, image: np.ndarray, time: float) -> None:
        """Search the entire frame, match the faces to tracks, and start tracks for the others."""
        self._last_detection = time
        faces = self.detector.detect(image)
        matches = self._match(faces)
        for i, track in enumerate(self._tracks):
            if i not in matches:
                # If the track was just updated by a redetection, that counts more than a missing detection.
                track.visible = track.visible and isinstance(self.detector, RedetectingDetector)
            elif track.last_seen == time and track.visible:
                track.face = faces[matches[i]]
            else:
                track.hit(faces[matches[i]], time)
        matched = set(matches.values())
        self._tracks += [_Track(face, time) for j, face in enumerate(faces) if j not in matched]

    def _match(self, faces: list[Face]) -> dict[int, int]:
        """Return indices of tracks to indices of their faces; best matches first, each face once."""
        scores = [
            (score, i, j)
            for i, track in enumerate(self._tracks)
            for j, face in enumerate(faces)
            if (score := _match_score(track, face)) > 0
        ]
        matches: dict[int, int] = {}
        for _, i, j in sorted(scores, reverse=True):
            if i not in matches and j not in matches.values():
                matches[i] = j
        return matches

    def _merge_duplicates(self) -> None:
        """Keep the older of two tracks that came to follow the same face."""
        kept: list[_Track] = []
        for track in sorted(self._tracks, key=lambda track: (track.track_id is None, -track.hits)):
            others = [other for other in kept if other.visible and track.visible]
            if all(iou(track.face.box, other.face.box) <= _DUPLICATE_IOU for other in others):
                kept.append(track)
        self._tracks = kept

    def _confirmed(self) -> list[TrackedFace]:
        """Give IDs to tracks that have earned one; return the visible tracks with an ID."""
        tracked = []
        for track in self._tracks:
            if not track.visible:
                continue
            if track.track_id is None and track.is_sure:
                self._n_ids += 1
                track.track_id = self._n_ids
            if track.track_id is not None:
                tracked.append(TrackedFace(track.track_id, track.face))
        return sorted(tracked, key=lambda item: item.face.box)


def _match_score(track: _Track, face: Face) -> float:
    """Return how well a face matches a track: above 1 by IoU, below 1 by distance if it was lost, 0 for no match."""
    overlap = iou(track.face.box, face.box)
    if overlap >= _MATCH_IOU:
        return 1 + overlap + track.visible
    if track.visible:
        return 0.0
    (x, y, width, height), (u, v, w, h) = track.face.box, face.box
    distance = math.hypot(x + width / 2 - u - w / 2, y + height / 2 - v - h / 2) / max(width, height)
    scale = max(w * h, width * height) / min(w * h, width * height)
    return max(0.0, 1 - distance / _RETURN_DISTANCE) if scale <= _RETURN_SCALE**2 else 0.0
