"""Reading of CSV files from any program: encodings, separators, headers."""

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO

from ferlib.core.errors import DataError
from ferlib.data.archive import FileTree

_HEADER_BYTES = 64 << 10

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def is_table(name: str) -> bool:
    """Return whether a file is a table by its suffix."""
    return name.lower().endswith((".csv", ".tsv", ".csv.txt"))


def read_header(tree: FileTree, name: str) -> list[str]:
    """Return the column names of a table, in lower case and without spaces around them; empty if it has none."""
    with tree.open(name) as stream:
        text, separator, _ = _start(stream)
    if text.startswith("PAR1"):  # Parquet
        return []
    try:
        cells = next(csv.reader(io.StringIO(text.splitlines()[0] if text else ""), delimiter=separator), [])
    except csv.Error:
        return []
    return [cell.strip(' \t\r\n"').lower() for cell in cells]


def read_rows(tree: FileTree, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row after the header, without empty rows.

    The encoding is told by a byte-order mark and is otherwise UTF-8 or, where the file is not, Latin-1; the separator
    is the one of comma, semicolon, tab and bar that occurs most in the header. Raises DataError if it is not a CSV.
    """
    with tree.open(name) as stream:
        _, separator, encoding = _start(stream)
    try:
        with tree.open(name) as stream:
            lines = csv.reader(io.TextIOWrapper(stream, encoding=encoding, newline=""), delimiter=separator)
            next(lines, None)
            for cells in lines:
                if any(cell.strip() for cell in cells):
                    yield lines.line_num, cells
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{name} cannot be read as a CSV ({error}).") from error


def _start(stream: IO[bytes]) -> tuple[str, str, str]:
    """Return the start of a table as text, its separator and its encoding."""
    start = stream.read(_HEADER_BYTES)
    encoding = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "")
    if not encoding:
        # Half a character at the end does not mean another encoding.
        try:
            codecs.getincrementaldecoder("utf-8")().decode(start)
            encoding = "utf-8"
        except UnicodeDecodeError:
            encoding = "latin-1"
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    header = text.splitlines()[0] if text else ""
    return text, max(",;\t|", key=header.count), encoding
