"""What was recognized: results, and the records in which all outputs store them."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.emotions import EMOTIONS
from ferlib.faces import Face

if TYPE_CHECKING:
    import pandas as pd

#: The emotion of a face for which no emotion is probable enough.
UNCERTAIN = "uncertain"

#: A result as JSON values; see `image_record`.
Record = dict[str, Any]


@dataclass(frozen=True)
class FaceEmotion:
    """A face and its expression.

    Attributes
    ----------
    face : Face
    emotion, probability : str and float
        The most probable emotion, or `UNCERTAIN`, and the largest probability, 0 to 1.
    probabilities : dict
        Probability of each class by name, in the classifier's order; they sum to 1.
    track_id : int or None
        The face's track in a video, from 1; None in an image.
    """

    face: Face
    emotion: str
    probability: float
    probabilities: dict[str, float]
    track_id: int | None = None


@dataclass(frozen=True)
class ImageResult:
    """The faces of an image or of one frame of a video.

    Attributes
    ----------
    path : Path, as it was given
    image_size : tuple of int
        (height, width) in pixels, upright.
    faces : tuple of FaceEmotion
        From left to right; empty if there are none.
    frame, time : int and float, or None
        Index of the frame in its video, from 0, and seconds since the first frame.
    prior : str or None
        The name of the class prior of the probabilities, as `ferlib.runs.prior.parse_prior` reads it; None if unknown.
    """

    path: Path
    image_size: tuple[int, int]
    faces: tuple[FaceEmotion, ...]
    frame: int | None = None
    time: float | None = None
    prior: str | None = None


def display_path(path: str | Path) -> str:
    """Return a path as text that any output can store; bytes that are not UTF-8 become replacement characters."""
    text = os.fsencode(path).decode("utf-8", "replace")
    # A path has one slash less than the address of a camera.
    return re.sub(r"^(camera \w\w+:/)(?!/)", r"\1/", text)


def image_record(result: ImageResult, **origin: str) -> Record:
    """Return the record of an image or a frame, with `origin`, such as the names of the detector and the model.

    JSON values: ``file``; of a frame ``frame`` and ``time`` (seconds); ``width`` and ``height`` (pixels); ``prior``;
    ``faces``, each with ``track_id`` (in a video), ``box``, ``confidence``, ``landmarks``, ``emotion``, ``probability``
    and ``probabilities``.
    """
    height, width = result.image_size
    position = {} if result.frame is None else {"frame": result.frame, "time": round(result.time or 0.0, 3)}
    faces = [_face_record(found) for found in result.faces]
    size = {"width": width, "height": height}
    return {"file": display_path(result.path), **position, **size, "prior": result.prior, "faces": faces, **origin}


def _face_record(found: FaceEmotion) -> Record:
    landmarks = found.face.landmarks
    return {
        **({} if found.track_id is None else {"track_id": found.track_id}),
        "box": list(found.face.box),
        "confidence": round(found.face.confidence, 6),
        "landmarks": landmarks and {name: [round(x, 1), round(y, 1)] for name, (x, y) in landmarks.items()},
        "emotion": found.emotion,
        "probability": round(found.probability, 6),
        "probabilities": {name: round(value, 6) for name, value in found.probabilities.items()},
    }


def face_columns(class_names: Sequence[str]) -> list[str]:
    """Return the columns of `face_rows`."""
    columns = ["file", "frame", "time", "face", "x", "y", "width", "height", "confidence", "emotion", "probability"]
    return [*columns, *(f"p_{name}" for name in class_names), "prior"]


def face_rows(record: Record, *, empty_rows: bool = False) -> list[Record]:
    """Return the faces of a record as flat rows.

    Columns: file; frame and time (seconds), empty for an image; face (from 1 from left to right, in a video the track
    ID); x, y, width, height (pixels); confidence (the detector's); emotion; probability; p_<class> for each class;
    prior (the class prior of the probabilities). With `empty_rows` an image or a frame without a face has one row with
    file, frame and time only.
    """
    start = {"file": record["file"], "frame": record.get("frame", ""), "time": record.get("time", "")}
    faces = record.get("faces")
    if empty_rows and faces == []:
        return [start]
    return [
        {
            **start,
            "face": face.get("track_id", number),
            **dict(zip(("x", "y", "width", "height"), face["box"], strict=True)),
            **{name: face[name] for name in ("confidence", "emotion", "probability")},
            **{f"p_{name}": value for name, value in face["probabilities"].items()},
            "prior": record.get("prior", ""),
        }
        for number, face in enumerate(faces or (), start=1)
    ]


def to_frame(results: ImageResult | Iterable[ImageResult], class_names: Sequence[str] = EMOTIONS) -> "pd.DataFrame":
    """Return a data frame with one row per face and the columns of `face_rows`; `class_names` are the classifier's."""
    import pandas as pd

    results = [results] if isinstance(results, ImageResult) else results
    rows = [row for result in results for row in face_rows(image_record(result))]
    return pd.DataFrame(rows, columns=face_columns(class_names))
