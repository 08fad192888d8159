"""Limit this process and become another command: ``python limited.py MEMORY SECONDS FILE_SIZE COMMAND ...``.

The limits stay in force for the command. Memory and file size are in bytes, seconds are of processor time. The command
is killed when the process that started it ends. This file is run by its path, so that it starts at once.
"""

import ctypes
import os
import resource
import signal
import sys

# Linux: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1

# More open files than a video needs, and fewer than an attack.
_MAX_OPEN_FILES = 256

# Videos give way to requests.
_NICE = 5


def main() -> None:
    """Set the limits and replace this process."""
    memory, seconds, file_size = map(int, sys.argv[1:4])
    command = sys.argv[4:]
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
    os.nice(_NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
