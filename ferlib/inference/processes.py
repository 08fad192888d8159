"""Work in several processes: results in order, whatever happens to a process."""

import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, Self, TypeVar

import cv2

from ferlib.core.errors import FerlibError

T = TypeVar("T")
R = TypeVar("R")

# Chunks of work that wait for each process, so that none is idle while results are written.
_WAITING = 2


class ProcessPool(Generic[T, R]):
    """Processes that apply a function to chunks of items and stay alive between calls.

    A process that ends early, for lack of memory or because of a fault in a native library, costs only the item that
    ended it: the chunks that were in progress are repeated in a process of their own, and an item that ends this one as
    well is given to `lost`. When the process that made the pool ends in any way, the pool's processes end too.

    Parameters
    ----------
    function : callable
        Takes a chunk, a sequence of items, and returns a list. It is importable, as are its arguments.
    n_workers : int
        Number of processes.
    start : callable
        Prepares each process; called with `arguments`.
    arguments : tuple
    lost : callable
        Returns the result of an item that ended its process.
    """

    def __init__(
        self,
        function: Callable[[Sequence[T]], list[R]],
        *,
        n_workers: int,
        start: Callable[..., None],
        arguments: tuple[object, ...] = (),
        lost: Callable[[T], R],
    ) -> None:
        self._function = function
        self._n_workers = n_workers
        self._start = (start, arguments)
        self._lost = lost
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """End the processes once they have finished their present chunks."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, chunks: Iterable[Sequence[T]]) -> Iterator[list[R]]:
        """Yield the results of each chunk in order; a few chunks per process are in memory.

        Raises
        ------
        FerlibError
            A process ends before it has done anything.
        """
        waiting: deque[tuple[Sequence[T], Future[list[R]] | list[R]]] = deque()
        try:
            for chunk in chunks:
                if len(waiting) > _WAITING * self._n_workers:
                    yield self._finish_first(waiting)
                waiting.append((chunk, self._submit(chunk)))
            while waiting:
                yield self._finish_first(waiting)
        finally:
            for _, future in waiting:
                if isinstance(future, Future):
                    future.cancel()

    def _submit(self, chunk: Sequence[T]) -> "Future[list[R]]":
        """Hand out a chunk."""
        self._pool = self._pool or self._make_pool(self._n_workers)
        try:
            return self._pool.submit(self._function, chunk)
        except BrokenProcessPool as error:
            broken: Future[list[R]] = Future()
            broken.set_exception(error)
            return broken

    def _finish_first(self, waiting: "deque[tuple[Sequence[T], Future[list[R]] | list[R]]]") -> list[R]:
        """Return the results of the first chunk that waits."""
        results = waiting[0][1]
        if isinstance(results, Future):
            try:
                results = results.result()
            except BrokenProcessPool:
                self.close()
                self._repeat(waiting)
                return self._finish_first(waiting)
        waiting.popleft()
        return results

    def _repeat(self, waiting: "deque[tuple[Sequence[T], Future[list[R]] | list[R]]]") -> None:
        """Replace the chunks that a broken pool has not finished by their results, computed in one process."""
        with ProcessPool(
            self._function, n_workers=1, start=self._start[0], arguments=self._start[1], lost=self._lost
        ) as pool:
            for place, (chunk, future) in enumerate(waiting):
                if isinstance(future, Future) and (future.cancelled() or not future.done() or future.exception()):
                    waiting[place] = (chunk, pool._run_alone(chunk))

    def _run_alone(self, chunk: Sequence[T]) -> list[R]:
        """Return the results of a chunk; if its process ends, those of its items one by one."""
        if self._pool is None:
            self._pool = self._make_pool(1)
            try:
                self._pool.submit(_do_nothing).result()
            except BrokenProcessPool:
                raise FerlibError(
                    "A worker process ended early; is there enough memory? Try fewer --workers."
                ) from None
        try:
            return self._pool.submit(self._function, chunk).result()
        except BrokenProcessPool:
            self.close()
        if len(chunk) == 1:
            return [self._lost(chunk[0])]
        return [result for item in chunk for result in self._run_alone([item])]

    def _make_pool(self, n_workers: int) -> ProcessPoolExecutor:
        # A fork would copy the threads' locks in whatever state they are.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(n_workers, context, initializer=_start_process, initargs=self._start)


def _start_process(start: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """Prepare a process of the pool."""
    # Ctrl+C reaches all processes; the one that made the pool stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    cv2.setNumThreads(1)
    start(*arguments)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, which SIGKILL leaves no time to announce."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _do_nothing() -> None:
    """Return, which shows that a process has started."""
