"""A bounded queue in front of a fixed number of threads."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ferlib.web.problems import ProblemError

T = TypeVar("T")

# How much the latest duration counts in the mean from which the time to retry is estimated.
_WEIGHT = 0.1


class Workers:
    """Run functions in threads; more than `n_workers` running and `max_waiting` waiting ones are refused."""

    def __init__(self, n_workers: int, max_waiting: int) -> None:
        self.n_workers = n_workers
        self.capacity = n_workers + max_waiting
        self.n_busy = 0
        self._seconds = 0.1
        self._executor = ThreadPoolExecutor(n_workers, thread_name_prefix="recognize")

    @property
    def n_waiting(self) -> int:
        """Number of functions that wait for a thread."""
        return max(0, self.n_busy - self.n_workers)

    async def run(self, function: Callable[[], T], *, always: bool = False) -> T:
        """Return the result of a function; with `always`, the queue is not limited.

        A caller that is cancelled leaves the queue; a function that has started ends first.

        Raises
        ------
        ProblemError
            The queue is full (status 503).
        """
        if self.n_busy >= self.capacity and not always:
            wait = math.ceil(self.n_busy * self._seconds / self.n_workers)
            raise ProblemError(
                503,
                "The service is busy; try again later.",
                reason="busy",
                headers={"Retry-After": str(min(60, max(1, wait)))},
            )
        loop = asyncio.get_running_loop()
        self.n_busy += 1
        future = self._executor.submit(self._measure, function)
        future.add_done_callback(lambda done: _call_soon(loop, self._release, done))
        return await asyncio.wrap_future(future)

    def _measure(self, function: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return function()
        finally:
            self._seconds += _WEIGHT * (time.perf_counter() - start - self._seconds)

    def _release(self, _future: "Future[object]") -> None:
        self.n_busy -= 1

    def close(self) -> None:
        """Let running functions end, and start no others."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Call a function in the loop's thread, unless the loop was closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
