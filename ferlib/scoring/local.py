"""The engine of one machine: processes with one thread each."""

from collections import deque
from collections.abc import Iterator, Sequence

from ferlib.inference.results import Record
from ferlib.scoring.parts import Done, Parts
from ferlib.scoring.worker import Work


def run_local(parts: Parts, numbers: Sequence[int], work: Work, *, n_workers: int) -> Iterator[Done]:
    """Score some parts one after the other, and yield what was done, chunk by chunk.

    All processes work on the same part, so that at most one part is lost when the machine fails.
    """
    lengths: deque[tuple[int, int]] = deque()

    def chunks() -> Iterator[Sequence[str]]:
        for number in numbers:
            paths = parts.paths(number)
            lengths.append((number, len(paths)))
            yield from work.split(paths, n_workers)

    with work.make_pool(n_workers) as pool:
        records: list[Record] = []
        for finished in pool.map(chunks()):
            records += finished
            # No chunk has files of two parts.
            if len(records) == lengths[0][1]:
                parts.write(lengths.popleft()[0], records)
                records = []
            yield Done.of(finished)
