"""What the commands share: exit statuses, logging and progress bars."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from tqdm import tqdm

from ferlib.core.errors import FerlibError

#: Exit statuses: done, failed, and stopped by Ctrl+C (128 + SIGINT, as shells have it).
EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


def run(main: Callable[[Sequence[str] | None], int]) -> None:
    """Call a command's `main` and leave the process with its exit status.

    A `FerlibError` becomes one line on standard error, Ctrl+C a word and status 130, a closed pipe silence.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        status = main(None)
        sys.stdout.flush()
    except FerlibError as error:
        sys.stderr.write(f"error: {error}\n")
        status = EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        _leave_at_once(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (| head): nothing is left to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_FAILED
    sys.exit(status)


def _leave_at_once(status: int) -> NoReturn:
    """End the process as it stands.

    TensorFlow prepares batches on threads of its own, which call Python; an interpreter that is taken down under them
    can crash.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(status)


def progress_bar(iterable: Iterable | None = None, **options: Any) -> tqdm:
    """Return a tqdm bar over `iterable`, for whatever may take over two seconds.

    Parameters
    ----------
    iterable : iterable, optional
    **options
        tqdm's own: ``desc``, ``total``, ``unit``, ``disable`` and so on.
    """
    # A notebook stores every update: once a second is enough there, and every ten seconds in a log.
    seconds = 0.2 if sys.stderr.isatty() else (1.0 if "ipykernel" in sys.modules else 10.0)
    options.setdefault("mininterval", seconds)
    options.setdefault("dynamic_ncols", sys.stderr.isatty())
    return tqdm(iterable, **options)
