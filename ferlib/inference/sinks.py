"""Stream records to files: CSV, JSON, JSON Lines and counts of emotions."""

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.core.files import write_text
from ferlib.inference.results import UNCERTAIN, Record, face_columns, face_rows


class _TextSink:
    """A text file that grows as ``PATH.part``, and gets its name at the end, also after an error or Ctrl+C.

    A file that cannot be written is a `FerlibError`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._part = _part_path(self.path)

    def __enter__(self) -> Self:
        with self._report_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = self._part.open("w", newline="", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        # A first error is the one to report.
        with self._report_errors() if kind is None else contextlib.suppress(OSError):
            try:
                self._finish()
            finally:
                # Closing a file on a full disk fails once more.
                with contextlib.suppress(OSError):
                    self._file.close()
                self._part.replace(self.path)

    def _finish(self) -> None:
        """Write the end of the file."""
        self._file.flush()

    @contextlib.contextmanager
    def _report_errors(self) -> Iterator[None]:
        """Raise errors of the operating system as one sentence."""
        try:
            yield
        except OSError as error:
            raise FerlibError(f"{self.path} cannot be written ({error.strerror or error}).") from error


class CsvSink(_TextSink):
    """Write one row per face, with the columns of `ferlib.inference.results.face_rows`.

    Parameters
    ----------
    path : path
    class_names : sequence of str
        Those of the classifier.
    empty_rows : bool
        Also write a row for each image and frame without a face.
    spreadsheet : bool
        Write for spreadsheets: a byte-order mark tells them that the text is UTF-8, and text that they would take for a
        formula starts with an apostrophe.
    """

    def __init__(
        self, path: str | Path, class_names: Sequence[str], *, empty_rows: bool = False, spreadsheet: bool = False
    ) -> None:
        super().__init__(path)
        self._columns = face_columns(class_names)
        self._empty_rows = empty_rows
        self._spreadsheet = spreadsheet

    def __enter__(self) -> Self:
        """Write the header."""
        super().__enter__()
        self._writer = csv.DictWriter(self._file, self._columns, restval="", lineterminator="\n")
        with self._report_errors():
            if self._spreadsheet:
                self._file.write("\ufeff")
            self._writer.writeheader()
        return self

    def write(self, record: Record) -> None:
        """Add the rows of a record's faces."""
        rows = face_rows(record, empty_rows=self._empty_rows)
        if self._spreadsheet:
            rows = [{name: _no_formula(value) for name, value in row.items()} for row in rows]
        with self._report_errors():
            self._writer.writerows(rows)
            self._file.flush()


def _no_formula(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    is_formula = isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@")
    return f"'{value}" if is_formula or (isinstance(value, str) and value[:1] in ("\t", "\r")) else value


class JsonSink(_TextSink):
    """Write the records of images, frames, videos and failures as JSON, one per line.

    If the path ends in ``.json``, the file is one JSON document, a list. Otherwise it is JSON Lines.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._is_document = self.path.suffix.lower() == ".json"
        self._n_records = 0

    def __enter__(self) -> Self:
        """Begin the list."""
        super().__enter__()
        if self._is_document:
            with self._report_errors():
                self._file.write("[\n")
        return self

    def write(self, record: Record) -> None:
        """Add a record."""
        # A line that is complete but for its end is a valid one if the process is killed.
        before = (",\n" if self._n_records else "") if self._is_document else ""
        after = "" if self._is_document else "\n"
        with self._report_errors():
            self._file.write(before + json.dumps(record, allow_nan=False) + after)
            self._file.flush()
        self._n_records += 1

    def _finish(self) -> None:
        """End the list."""
        if self._is_document:
            self._file.write("\n]\n" if self._n_records else "]\n")
        super()._finish()


class CountsSink:
    """Count the faces of each emotion, in a video in each frame; a CSV of emotion and count is written at the end."""

    def __init__(
        self, path: str | Path | None = None, class_names: Sequence[str] = EMOTIONS, *, spreadsheet: bool = False
    ) -> None:
        self.path = None if path is None else Path(path)
        self.class_names = tuple(class_names)
        self._spreadsheet = spreadsheet
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """Number of faces of each class, including zeros, and of `UNCERTAIN` if there are any."""
        counts = {emotion: self._counts[emotion] for emotion in self.class_names}
        return counts | ({UNCERTAIN: self._counts[UNCERTAIN]} if self._counts[UNCERTAIN] else {})

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def write(self, record: Record) -> None:
        """Count the faces of a record."""
        self._counts.update(face["emotion"] for face in record.get("faces", ()))

    def __exit__(self, *error: object) -> None:
        """Write the table."""
        if self.path is not None:
            table = io.StringIO()
            table.write("\ufeff" if self._spreadsheet else "")
            csv.writer(table, lineterminator="\n").writerows([("emotion", "count"), *self.counts.items()])
            write_text(self.path, table.getvalue())


#: A context manager whose ``write`` takes a record; see `ferlib.inference.results.image_record`.
Sink = CsvSink | JsonSink | CountsSink


def read_finished(path: str | Path) -> list[Record]:
    """Return the records of completed images and videos that an earlier, possibly killed, call has written.

    Failures and incomplete videos are left out, so that they are repeated.

    Raises
    ------
    FerlibError
        The file is not one that `JsonSink` has written.
    """
    path = Path(path)
    finished: dict[str, list[Record]] = {}
    # A call that was killed while it copied the records of an earlier one has only some of them in the growing file.
    for source in (path, _part_path(path)):
        if source.exists():
            finished |= _group_finished(_read_records(source))
    return [record for records in finished.values() for record in records]


def _part_path(path: Path) -> Path:
    """Return where a file grows until it is complete."""
    return path.with_name(path.name + ".part")


def _read_records(path: Path) -> list[Record]:
    """Return the records of a file of `JsonSink`, without an incomplete last line."""
    records = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FerlibError(f"{path} cannot be read in order to resume ({error}).") from None
    for number, line in enumerate(lines, start=1):
        line = line.strip().rstrip(",")
        if line in ("", "[", "]", "[]"):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and "file" in record:
            records.append(record)
        elif number < len(lines):
            raise FerlibError(f"{path}, line {number}: not a record of ferlib predict; name another file.")
    return records


def _group_finished(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the records of completed files by file."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["file"], []).append(record)
    # The last record of a completed video is its summary, not a frame.
    return {name: group for name, group in groups.items() if "error" not in group[-1] and "frame" not in group[-1]}
