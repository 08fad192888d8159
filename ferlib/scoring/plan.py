"""What a job has to do: its files in parts, of which each becomes one file of the output, and what has been done.

A part has a number, and the name of its output file follows from it. A part that is computed twice, because a machine
was lost or two calls ran at once, replaces the same file by the same rows: so each input has exactly one row.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ferlib.core.errors import FerlibError, OptionError
from ferlib.scoring.storage import OutputFolder

#: The version of the files that this module writes.
SCHEMA_VERSION = 1

_JOB = "_ferlib/job.json"
_LIST = "_ferlib/inputs-{:03d}.parquet"
_PART = "part-{:06d}.parquet"
_PART_NAME = re.compile(r"part-(\d{6,})\.parquet")


class Plan:
    """The parts of a job in its output folder.

    Attributes
    ----------
    n_files : int
        Number of input files.
    n_parts : int
        Number of parts.
    """

    def __init__(self, output: OutputFolder, job: Mapping[str, Any]) -> None:
        self._output = output
        self._job = dict(job)
        self._footers: dict[int, Any] = {}

    @classmethod
    def read(cls, output: OutputFolder) -> "Plan | None":
        """Return the plan in a folder, or None if there is none.

        Raises
        ------
        FerlibError
            The folder holds something else, or the plan of another version.
        """
        content = output.read(_JOB)
        if content is None:
            if any(name.endswith(".parquet") for name in output.names()):
                raise OptionError(f"{output.path} holds Parquet files of something else; name another folder.")
            return None
        try:
            job = json.loads(content)
            version = job["schema_version"]
        except (ValueError, KeyError, TypeError):
            raise FerlibError(f"{output.path}/{_JOB} is damaged; name another folder.") from None
        if version != SCHEMA_VERSION:
            raise FerlibError(f"{output.path} was made by another version of ferlib; name another folder.")
        return cls(output, job)

    @classmethod
    def create(
        cls, output: OutputFolder, paths: Iterable[str], configuration: Mapping[str, Any], part_size: int
    ) -> "Plan":
        """Write the plan of a new job."""
        plan = cls(
            output,
            {"schema_version": SCHEMA_VERSION, "configuration": configuration, "part_size": part_size, "lists": []},
        )
        plan.add(paths)
        return plan

    def add(self, paths: Iterable[str]) -> int:
        """Add files to the plan as new parts, and return how many."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        size, n_files = self._job["part_size"], 0
        schema = pa.schema([pa.field("path", pa.string(), nullable=False)])
        with tempfile.TemporaryDirectory(prefix="ferlib-") as folder:
            file = Path(folder) / "inputs.parquet"
            # A row group per part, which is read without the others. Statistics would be most of the file's footer.
            with pq.ParquetWriter(file, schema, compression="zstd", write_statistics=False) as writer:
                for group in _grouped(paths, size):
                    writer.write_table(pa.table({"path": group}, schema), row_group_size=size)
                    n_files += len(group)
            if not n_files:
                return 0
            number = len(self._job["lists"])
            self._output.write_file(_LIST.format(number), file)
        self._job["lists"] = [*self._job["lists"], {"files": n_files, "parts": -(-n_files // size)}]
        # The plan is complete when it names the list.
        self._output.write(_JOB, json.dumps(self._job, indent=2).encode() + b"\n")
        return n_files

    def check(self, configuration: Mapping[str, Any]) -> None:
        """Raise an `OptionError` if the job's rows would be made in another way, or of other inputs."""
        before = self._job["configuration"]
        # As it is after having been stored.
        now = json.loads(json.dumps(configuration))
        for name in now.keys() | before.keys():
            if now.get(name) != before.get(name):
                changed = f"{name.replace('_', ' ')}: {_shown(before.get(name))} instead of {_shown(now.get(name))}"
                raise OptionError(
                    f"{self._output.path} holds the results of another configuration ({changed}); "
                    "name another --output."
                )

    @property
    def n_files(self) -> int:
        """Number of input files."""
        return sum(item["files"] for item in self._job["lists"])

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return sum(item["parts"] for item in self._job["lists"])

    def part_length(self, number: int) -> int:
        """Return the number of files in a part."""
        place, row = self._find(number)
        item, size = self._job["lists"][place], self._job["part_size"]
        return int(min(size, item["files"] - row * size))

    def paths(self, number: int) -> list[str]:
        """Return the paths of a part."""
        import pyarrow.parquet as pq

        place, row = self._find(number)
        with (
            self._output.open(_LIST.format(place)) as file,
            pq.ParquetFile(file, metadata=self._footers.get(place)) as table,
        ):
            # The footer, which has the places of all parts, is read once.
            self._footers[place] = table.metadata
            paths: list[str] = table.read_row_group(row).column(0).to_pylist()
        return paths

    def all_paths(self) -> Iterator[str]:
        """Yield the paths of all parts."""
        for number in range(self.n_parts):
            yield from self.paths(number)

    def finished(self) -> set[int]:
        """Return the numbers of the parts that have been written."""
        found = (_PART_NAME.fullmatch(name) for name in self._output.names())
        return {int(match[1]) for match in found if match}

    def _find(self, number: int) -> tuple[int, int]:
        """Return the list that a part belongs to, and its number in it."""
        for place, item in enumerate(self._job["lists"]):
            if number < item["parts"]:
                return place, number
            number -= item["parts"]
        raise IndexError(f"there is no part {number}")


def part_name(number: int) -> str:
    """Return the name of a part's file."""
    return _PART.format(number)


def _grouped(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    for path in paths:
        group.append(path)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)
