"""Write what was recognised: a CSV row per face, the count of each emotion, a line of JSON per picture."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ferlib.emotions import EMOTIONS
from ferlib.files import write_text
from ferlib.inference.recognize import FaceEmotion, PictureResult


def display_path(path: str | Path) -> str:
    """Return a path as text that can be written anywhere; bytes that are no UTF-8 become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def face_rows(results: Iterable[PictureResult]) -> list[dict[str, Any]]:
    """Return one flat row per face; pictures without a face have none.

    The columns are file, face (from 1), x, y, width, height (pixels), confidence (the detector's), emotion,
    probability (the emotion's) and p_<class> for each class. ``pandas.DataFrame(face_rows(results))`` is a table.
    """
    return [
        {
            "file": display_path(result.path),
            "face": number,
            **dict(zip(("x", "y", "width", "height"), found.face.box, strict=True)),
            "confidence": round(found.face.confidence, 6),
            "emotion": found.emotion,
            "probability": round(found.probability, 6),
            **{f"p_{name}": round(value, 6) for name, value in found.probabilities.items()},
        }
        for result in results
        for number, found in enumerate(result.faces, start=1)
    ]


def count_emotions(results: Iterable[PictureResult]) -> dict[str, int]:
    """Return how many faces show each of the seven emotions, zeros included, in the order of their codes."""
    counts = Counter(found.emotion for result in results for found in result.faces)
    return {emotion: counts[emotion] for emotion in EMOTIONS}


def picture_record(result: PictureResult) -> dict[str, Any]:
    """Return one picture's result as what JSON can hold: file, width, height, and faces with box and probabilities."""
    height, width = result.image_size
    return {
        "file": display_path(result.path),
        "width": width,
        "height": height,
        "faces": [_face_record(found) for found in result.faces],
    }


def write_faces_csv(path: str | Path, results: Iterable[PictureResult], class_names: Sequence[str]) -> None:
    """Write `face_rows` as CSV, with a header even when there is no face; whole or not at all."""
    columns = ["file", "face", "x", "y", "width", "height", "confidence", "emotion", "probability"]
    columns += [f"p_{name}" for name in class_names]
    _write_csv(path, columns, [[row[column] for column in columns] for row in face_rows(results)])


def write_counts_csv(path: str | Path, results: Iterable[PictureResult]) -> None:
    """Write `count_emotions` as CSV with the columns emotion and count; whole or not at all."""
    _write_csv(path, ["emotion", "count"], list(count_emotions(results).items()))


def write_json_lines(path: str | Path, records: Iterable[dict[str, Any]]) -> None:
    """Write JSON Lines, one object a line (so one picture's file is plain JSON); whole or not at all."""
    write_text(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))


def _face_record(found: FaceEmotion) -> dict[str, Any]:
    """Return one face as what JSON can hold."""
    landmarks = found.face.landmarks
    return {
        "box": list(found.face.box),
        "confidence": round(found.face.confidence, 6),
        "landmarks": landmarks and {name: [round(x, 1), round(y, 1)] for name, (x, y) in landmarks.items()},
        "emotion": found.emotion,
        "probability": round(found.probability, 6),
        "probabilities": {name: round(value, 6) for name, value in found.probabilities.items()},
    }


def _write_csv(path: str | Path, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows under a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
