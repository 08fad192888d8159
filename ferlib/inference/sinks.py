"""What was recognized as rows and records, and the files that they are streamed to."""

import contextlib
import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.core.files import write_text
from ferlib.inference.recognizer import UNCERTAIN, FaceEmotion, ImageResult


def display_path(path: str | Path) -> str:
    """Return a path as text that can be written anywhere; bytes that are no UTF-8 become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def image_record(result: ImageResult) -> dict[str, Any]:
    """Return one image's result as what JSON can hold: file, width, height, and faces with box and probabilities.

    A frame of a video also has ``frame`` and ``time``, and its faces have ``person``.
    """
    height, width = result.image_size
    place = {} if result.frame is None else {"frame": result.frame, "time": round(result.time or 0.0, 3)}
    faces = [_face_record(found) for found in result.faces]
    return {"file": display_path(result.path), **place, "width": width, "height": height, "faces": faces}


def face_columns(class_names: Sequence[str]) -> list[str]:
    """Return the columns of `face_rows`."""
    columns = ["file", "frame", "time", "face", "x", "y", "width", "height", "confidence", "emotion", "probability"]
    return columns + [f"p_{name}" for name in class_names]


def face_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row per face of a `image_record`.

    The columns are file; frame and time (seconds), empty for an image; face (from 1 from left to right in an image,
    the person's number in a video); x, y, width, height (pixels); confidence (the detector's); emotion; probability
    (the emotion's); and p_<class> for each class.
    """
    return [
        {
            "file": record["file"],
            "frame": record.get("frame", ""),
            "time": record.get("time", ""),
            "face": face.get("person", number),
            **dict(zip(("x", "y", "width", "height"), face["box"], strict=True)),
            **{name: face[name] for name in ("confidence", "emotion", "probability")},
            **{f"p_{name}": value for name, value in face["probabilities"].items()},
        }
        for number, face in enumerate(record.get("faces", ()), start=1)
    ]


def _face_record(found: FaceEmotion) -> dict[str, Any]:
    """Return one face as what JSON can hold."""
    landmarks = found.face.landmarks
    return {
        **({} if found.person is None else {"person": found.person}),
        "box": list(found.face.box),
        "confidence": round(found.face.confidence, 6),
        "landmarks": landmarks and {name: [round(x, 1), round(y, 1)] for name, (x, y) in landmarks.items()},
        "emotion": found.emotion,
        "probability": round(found.probability, 6),
        "probabilities": {name: round(value, 6) for name, value in found.probabilities.items()},
    }


class ResultFiles:
    """The files that results are streamed to: whatever was done is in them, and memory does not grow.

    While the work goes on they end in ``.part``; at its end, be it an error or Ctrl+C, they take their names. Use as a
    context manager.

    Parameters
    ----------
    class_names : sequence of str
    faces_csv, json_lines, counts_csv : path or None
        A row a face; a record an image, frame, video or failure; how many faces show each emotion (in a video, in how
        many frames).
    resume : bool
        Go on where an earlier work ended, or was killed: its records are kept, `done` names its files, and the tables
        are made anew from them. Needs `json_lines`.

    Attributes
    ----------
    done : set of str
        The files, as `display_path` writes them, that an earlier work has finished.
    counts : Counter
        Emotions to faces.

    Raises
    ------
    FerlibError
        A file cannot be made, or the one to resume holds something else.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        faces_csv: Path | None = None,
        json_lines: Path | None = None,
        counts_csv: Path | None = None,
        resume: bool = False,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._paths = {"csv": faces_csv, "json": json_lines}
        self._counts_csv = counts_csv
        self._columns = face_columns(class_names)
        self._files: dict[str, TextIO] = {}
        self._earlier = _read_finished(json_lines) if resume and json_lines else []
        self.done = {record["file"] for record in self._earlier}

    def __enter__(self) -> "ResultFiles":
        """Begin, with what an earlier work has finished."""
        for name, path in self._paths.items():
            if path is not None:
                self._files[name] = _open_part(path)
        if "csv" in self._files:
            self._csv = csv.DictWriter(self._files["csv"], self._columns, lineterminator="\n")
            self._csv.writeheader()
        for record in self._earlier:
            self.add(record)
        self._earlier = []
        return self

    def add(self, record: dict[str, Any]) -> None:
        """Write a record, and the rows of its faces."""
        rows = face_rows(record)
        self.counts.update(row["emotion"] for row in rows)
        try:
            if "csv" in self._files:
                self._csv.writerows(rows)
            if "json" in self._files:
                self._files["json"].write(json.dumps(record, allow_nan=False) + "\n")
            for file in self._files.values():
                file.flush()
        except OSError as error:
            raise FerlibError(f"The results cannot be written ({error.strerror or error}).") from error

    def count_emotions(self) -> dict[str, int]:
        """Return how many faces show each of the seven emotions, zeros included; and `UNCERTAIN` where there are."""
        counts = {emotion: self.counts[emotion] for emotion in EMOTIONS}
        return counts | ({UNCERTAIN: self.counts[UNCERTAIN]} if self.counts[UNCERTAIN] else {})

    @property
    def paths(self) -> list[Path]:
        """The files that are there at the end."""
        return [path for path in (self._paths["csv"], self._counts_csv, self._paths["json"]) if path]

    def __exit__(self, *error: Any) -> None:
        """Give the files their names."""
        for name, file in self._files.items():
            with contextlib.suppress(OSError):  # what could not be written was told when it was
                file.close()
            path = self._paths[name]
            _part(path).replace(path)
        if self._counts_csv:
            rows = "".join(f"{emotion},{count}\n" for emotion, count in self.count_emotions().items())
            write_text(self._counts_csv, "emotion,count\n" + rows)


def _part(path: Path) -> Path:
    """Return where a file grows until it is whole."""
    return path.with_name(path.name + ".part")


def _open_part(path: Path) -> TextIO:
    """Open the growing file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _part(path).open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise FerlibError(f"{path} cannot be written ({error.strerror or error}).") from error


def _read_finished(path: Path) -> list[dict[str, Any]]:
    """Return the records of the files that an earlier work finished: images, and videos with their last record."""
    found: dict[str, list[dict[str, Any]]] = {}
    for source in (path, _part(path)):
        if source.exists():
            # A work that was killed while it took over an earlier one has only a part of that.
            found = found | _group_finished(_read_lines(source))
    return [record for records in found.values() for record in records]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file; a last line that was cut off is left out."""
    records = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FerlibError(f"{path} cannot be read to go on with it ({error}).") from None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            known = isinstance(record, dict) and "file" in record
        except ValueError:
            known = False
        if not known:
            if number == len(lines):
                break
            raise FerlibError(f"{path}, line {number}: no record of ferlib.predict; name another file to write.")
        records.append(record)
    return records


def _group_finished(records: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the records by file, of the files that need not be done again."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record["file"], []).append(record)
    # A failure may have been mended; frames without the video's own record are half a video.
    return {name: group for name, group in groups.items() if "error" not in group[-1] and "frame" not in group[-1]}
