"""How many threads are worth their while."""

import math
import os
from pathlib import Path

# A container's share of the processor's time, as "QUOTA PERIOD" in microseconds or "max PERIOD" (Linux, cgroup v2).
_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Return the number of cores that this process may use: fewer than the machine has in many containers and jobs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA_FILE.read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # there is no such file, or no quota
        return cores
