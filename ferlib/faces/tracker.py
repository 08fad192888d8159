"""Follow faces through the frames of a video: the same person keeps the same number."""

from dataclasses import dataclass

import numpy as np

from ferlib.faces.detectors import Detector, Face, iou

# A face that the detector is this sure of is somebody at once; others have to stay for so many frames first.
_SURE, _FRAMES_TO_CONFIRM = 0.98, 3
# Boxes of one face in consecutive frames share at least this part of both together.
_SAME_FACE = 0.2
# Two trails on one face share more than this; the younger one goes.
_ONE_FACE = 0.5
# A face that was lost may come back this far from where it was, in widths of its box, and changed in size by this.
_RETURN_DISTANCE, _RETURN_SCALE = 1.0, 1.6


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame, and whose it is.

    Attributes
    ----------
    person : int
        A number from 1, in the order of appearance; the same in all frames.
    face : Face
    """

    person: int
    face: Face


@dataclass
class _Trail:
    """One person's way through the frames."""

    face: Face
    seen: float  # seconds: when last
    frames: int = 1
    person: int | None = None
    present: bool = True


class FaceTracker:
    """Number the faces of a video, and search whole frames only as often as needed.

    Between searches a detector that can (`MtcnnDetector.follow`) looks again where the faces were, which costs a small
    part of a search. The whole frame is searched every `search_every` seconds for newcomers, and soon after a face was
    lost.

    Parameters
    ----------
    detector : Detector
    search_every : float
        Seconds between searches of the whole frame; 0 searches every frame.
    forget_after : float
        Who was away for longer, in seconds, gets a new number.

    Notes
    -----
    People are told apart by place alone: who leaves and comes back elsewhere is somebody new, and two who change places
    behind somebody else may change numbers.
    """

    def __init__(self, detector: Detector, *, search_every: float = 0.5, forget_after: float = 2.0) -> None:
        self.detector = detector
        self.search_every = search_every
        self.forget_after = forget_after
        self._trails: list[_Trail] = []
        self._searched = -np.inf
        self._n_persons = 0

    def update(self, image: np.ndarray, time: float) -> list[TrackedFace]:
        """Take the next frame and return who is in it.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        time : float
            Of the frame, in seconds; never less than that of the frame before.

        Returns
        -------
        list of TrackedFace
            From left to right.
        """
        # At the start of another video, or of a stream that begins anew, nobody is known.
        if time < self._searched:
            self._trails, self._searched = [], -np.inf
        self._trails = [trail for trail in self._trails if time - trail.seen <= self.forget_after]
        lost = self._follow(image, time)
        # Who was lost is searched at once, but not in every frame that they stay away.
        patience = self.search_every / (1 if not lost else 5)
        if time - self._searched >= patience:
            self._search(image, time)
        self._drop_doubles()
        for trail in self._trails:
            sure = trail.face.confidence >= _SURE or trail.frames >= _FRAMES_TO_CONFIRM
            if trail.present and trail.person is None and sure:
                self._n_persons += 1
                trail.person = self._n_persons
        known = [TrackedFace(trail.person, trail.face) for trail in self._trails if trail.present and trail.person]
        return sorted(known, key=lambda tracked: tracked.face.box)

    def _follow(self, image: np.ndarray, time: float) -> bool:
        """Look again where faces were; return whether one is missing, or was missing before."""
        follow = getattr(self.detector, "follow", None)
        present = [trail for trail in self._trails if trail.present]
        if follow is None:
            self._searched = -np.inf  # who cannot follow has to search
            return False
        for trail, face in zip(present, follow(image, [trail.face for trail in present]), strict=True):
            if face is None or iou(face.box, trail.face.box) < _SAME_FACE:
                trail.present = False
            else:
                _meet(trail, face, time)
        return any(not trail.present for trail in self._trails)

    def _search(self, image: np.ndarray, time: float) -> None:
        """Search the whole frame, and match what is found to who is known."""
        self._searched = time
        faces = self.detector.detect(image)
        follows = hasattr(self.detector, "follow")
        pairs = [
            (closeness, trail_number, face_number)
            for trail_number, trail in enumerate(self._trails)
            for face_number, face in enumerate(faces)
            if (closeness := _closeness(trail, face)) > 0
        ]
        matched: dict[int, int] = {}
        for _, trail_number, face_number in sorted(pairs, reverse=True):
            if trail_number not in matched and face_number not in matched.values():
                matched[trail_number] = face_number
        for number, trail in enumerate(self._trails):
            if number not in matched:
                # A detector that follows has just seen the face that its search did not find.
                trail.present = trail.present and follows
            elif trail.seen == time and trail.present:
                trail.face = faces[matched[number]]
            else:
                _meet(trail, faces[matched[number]], time)
        new = [face for number, face in enumerate(faces) if number not in matched.values()]
        self._trails += [_Trail(face, time) for face in new]

    def _drop_doubles(self) -> None:
        """Keep one of two trails that came to follow the same face: the older one."""
        kept: list[_Trail] = []
        for trail in sorted(self._trails, key=lambda trail: (trail.person is None, -trail.frames)):
            others = [other for other in kept if other.present and trail.present]
            if all(iou(trail.face.box, other.face.box) <= _ONE_FACE for other in others):
                kept.append(trail)
        self._trails = kept


def _meet(trail: _Trail, face: Face, time: float) -> None:
    """Note that a trail's person was seen."""
    trail.face, trail.seen, trail.present = face, time, True
    trail.frames += 1


def _closeness(trail: _Trail, face: Face) -> float:
    """Return how likely a face is a trail's: over 1 by iou, below by distance for who was lost, 0 for not."""
    common = iou(trail.face.box, face.box)
    if common >= _SAME_FACE:
        return 1 + common + trail.present
    if trail.present:
        return 0.0
    (x, y, width, height), (u, v, w, h) = trail.face.box, face.box
    distance = np.hypot(x + width / 2 - u - w / 2, y + height / 2 - v - h / 2) / max(width, height)
    scale = max(w * h, width * height) / min(w * h, width * height)
    return float(max(0.0, 1 - distance / _RETURN_DISTANCE)) if scale <= _RETURN_SCALE**2 else 0.0
