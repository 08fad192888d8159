"""Read what is to be done for a part, and write its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ferlib.core.errors import FerlibError
from ferlib.inference.results import Record
from ferlib.scoring.plan import Plan, part_name
from ferlib.scoring.storage import OutputFolder
from ferlib.scoring.table import to_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Done:
    """What was done: numbers of files, of errors among them, and of faces or tracks."""

    files: int = 0
    errors: int = 0
    found: int = 0

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Count some records."""
        found = sum(len(record.get("faces") or record.get("tracks") or ()) for record in records)
        return cls(len(records), sum(record["error"] is not None for record in records), found)

    def __add__(self, other: "Done") -> "Done":
        """Return the sum."""
        return Done(self.files + other.files, self.errors + other.errors, self.found + other.found)


class Parts:
    """The parts of a job as they are scored and written.

    Parameters
    ----------
    plan : Plan
    output : OutputFolder
    schema : pyarrow.Schema
    retry : bool
        Score the files of finished parts again whose rows have an error; the other rows are kept.
    """

    def __init__(self, plan: Plan, output: OutputFolder, schema: "pa.Schema", *, retry: bool = False) -> None:
        self._plan = plan
        self._output = output
        self._schema = schema
        self._retry = retry
        self._kept: dict[int, pa.Table] = {}

    def pending(self) -> list[int]:
        """Return the numbers of the parts that are to be scored."""
        finished = self._plan.finished()
        again = {number for number in finished if self._retry and self._count_errors(number)}
        return [number for number in range(self._plan.n_parts) if number not in finished or number in again]

    def count_pending(self, numbers: Sequence[int]) -> int:
        """Return the number of files to score in some parts."""
        finished = self._plan.finished() if self._retry else set()
        return sum(
            self._count_errors(number) if number in finished else self._plan.part_length(number) for number in numbers
        )

    def is_finished(self, number: int) -> bool:
        """Return whether there is nothing to do for a part, because another process has written it."""
        return not self._retry and self._output.has(part_name(number))

    def paths(self, number: int) -> list[str]:
        """Return the paths of a part that are to be scored."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if not (self._retry and self._output.has(part_name(number))):
            return self._plan.paths(number)
        with self._output.open(part_name(number)) as file:
            table = pq.read_table(file, schema=self._schema)
        failed = pc.is_valid(table["error"])
        self._kept[number] = table.filter(pc.invert(failed))
        paths: list[str] = table.filter(failed)["path"].to_pylist()
        return paths

    def write(self, number: int, records: Sequence[Record]) -> None:
        """Write the rows of a part, in the order of its files."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = to_table(records, self._schema)
        if number in self._kept:
            table = pa.concat_tables([self._kept.pop(number), table])
            places = {path: place for place, path in enumerate(table["path"].to_pylist())}
            table = table.take([places[path] for path in self._plan.paths(number)])
        if table.num_rows != self._plan.part_length(number):
            raise FerlibError(f"{part_name(number)}: {table.num_rows} rows for {self._plan.part_length(number)} files.")
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        self._output.write(part_name(number), buffer.getvalue())

    def _count_errors(self, number: int) -> int:
        """Return the number of rows of a finished part that have an error."""
        import pyarrow.parquet as pq

        with self._output.open(part_name(number)) as file:
            metadata = pq.read_metadata(file)
        return sum(_count_valid(metadata.row_group(place), "error") for place in range(metadata.num_row_groups))


def _count_valid(group: Any, column: str) -> int:
    """Return the number of values of a column of a row group that are not null."""
    columns: Iterator[Any] = (group.column(place) for place in range(group.num_columns))
    found = next(item for item in columns if item.path_in_schema == column)
    return int(found.num_values - found.statistics.null_count)
