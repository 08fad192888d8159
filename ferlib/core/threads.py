"""How many threads are worth their while."""

import os


def available_cores() -> int:
    """Return the number of cores that this process may use: fewer than the machine has in many containers and jobs."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
