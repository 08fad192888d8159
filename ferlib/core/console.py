"""Exit statuses, log messages and progress bars of the commands."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ferlib.core.errors import FerlibError, OptionError

# Importing tqdm takes a tenth of the start-up time of `ferlib predict`, which often shows no progress.
if TYPE_CHECKING:
    from tqdm import tqdm

#: Exit statuses: success, failure, wrong usage, and Ctrl+C (128 + SIGINT, as in shells).
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

#: The logger of the whole package.
logger = logging.getLogger("ferlib")


def run(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Call a command's `main` and end the process with its exit status.

    A `FerlibError` and a missing package become one line on standard error. Ctrl+C ends with status 130, a closed pipe
    without a message.
    """
    set_verbosity()
    try:
        status = main(None)
        sys.stdout.flush()
    except FerlibError as error:
        sys.stderr.write(f"error: {error}\n")
        status = EXIT_USAGE if isinstance(error, OptionError) else EXIT_FAILED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "ferlib":
            raise
        name = error.name.split(".")[0]
        sys.stderr.write(f'error: The package {name} is not installed: pip install "ferlib[train]".\n')
        status = EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        _leave_at_once(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of the output, such as `| head`, has closed the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_FAILED
    sys.exit(status)


def set_verbosity(*, verbose: bool = False, quiet: bool = False) -> None:
    """Write the package's log messages to standard error: all, those from INFO, or only warnings and errors."""
    if not logger.handlers:
        logger.addHandler(_ConsoleHandler())
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def write_line(text: str, *, error: bool = False) -> None:
    """Write a line to standard output, or for notes and failures to standard error, without breaking a progress bar."""
    stream = sys.stderr if error else sys.stdout
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(text, file=stream)
    else:
        stream.write(f"{text}\n")


class _ConsoleHandler(logging.Handler):
    """Writes log messages to the current standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        write_line(self.format(record), error=True)


def _leave_at_once(status: int) -> NoReturn:
    """End the process without shutting down the interpreter.

    TensorFlow prepares batches in threads that call Python, which can crash while the interpreter shuts down.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(status)


def progress_bar(iterable: Iterable | None = None, **options: Any) -> "tqdm":
    """Return a tqdm progress bar with tqdm's `options`, such as ``desc`` and ``total``; ``--quiet`` hides it."""
    if logger.level >= logging.WARNING:
        options["disable"] = True
    # A notebook stores every update, and a log file shows each on a line.
    seconds = 0.2 if sys.stderr.isatty() else (1.0 if "ipykernel" in sys.modules else 10.0)
    options.setdefault("mininterval", seconds)
    options.setdefault("dynamic_ncols", sys.stderr.isatty())
    from tqdm import tqdm

    return tqdm(iterable, **options)
