"""Exit statuses, log messages and progress bars of the commands."""

import contextlib
import logging
import os
import re
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ferlib.core.errors import FerlibError, OptionError

# The extras that packages belong to, except for ``train``.
_EXTRAS = {"optuna": "tune", "sqlalchemy": "tune"}

# Importing tqdm takes a tenth of the start-up time of `ferlib predict`, which often shows no progress.
if TYPE_CHECKING:
    from tqdm import tqdm

#: Exit statuses: success, failure, wrong usage, and Ctrl+C (128 + SIGINT, as in shells).
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

# Characters that would move a terminal's cursor, change its colors, or reverse the order of the text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

#: The logger of the whole package.
logger = logging.getLogger("ferlib")


# Whether signals wait, and those that do; only the main thread, which handles signals, changes them.
_holding = False
_waiting: list[KeyboardInterrupt] = []


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as containers, Slurm and ``timeout`` do, or by SIGHUP."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.status = 128 + signal_number


def run(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Call a command's `main` and end the process with its exit status.

    A `FerlibError` and a missing package become one line on standard error. Ctrl+C ends with status 130, SIGTERM in the
    same way with 143, a closed pipe without a message.
    """
    _open_streams()
    _raise_on_signals()
    set_verbosity()
    try:
        status = main(None)
        with _write_errors():
            sys.stdout.flush()
    except FerlibError as error:
        _write_last(f"error: {error}\n")
        status = EXIT_USAGE if isinstance(error, OptionError) else EXIT_FAILED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "ferlib":
            raise
        name = error.name.split(".")[0]
        extra = _EXTRAS.get(name, "train")
        _write_last(f'error: The package {name} is not installed: pip install "ferlib[{extra}]".\n')
        status = EXIT_FAILED
    except KeyboardInterrupt as interrupt:
        _write_last("\nstopped\n")
        _leave_at_once(getattr(interrupt, "status", EXIT_INTERRUPTED))
    except BrokenPipeError:
        # The reader of the output, such as `| head`, has closed the pipe.
        status = EXIT_FAILED
    _discard_unwritten()
    sys.exit(status)


def _open_streams() -> None:
    """Replace closed standard streams, and let the others write any text.

    Without that, a file that is opened later would become standard output. Characters that a terminal's encoding lacks
    are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _raise_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the process as Ctrl+C does, so that files are completed; ignored ones stay ignored."""

    def interrupt(number: int, frame: types.FrameType | None) -> None:  # noqa: ARG001
        _raise_or_wait(KeyboardInterrupt())

    def end(number: int, frame: types.FrameType | None) -> None:  # noqa: ARG001
        signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the completion
        _raise_or_wait(Terminated(number))

    with contextlib.suppress(ValueError):
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Only the main thread may set handlers.
        with contextlib.suppress(ValueError):
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, end)


def _raise_or_wait(interrupt: KeyboardInterrupt) -> None:
    if not _holding:
        raise interrupt
    _waiting.append(interrupt)


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """Let Ctrl+C, SIGTERM and SIGHUP wait until a block has ended, so that several files get the same rows.

    For the main thread, in commands that `run` has started.
    """
    global _holding
    _holding = True
    try:
        yield
    finally:
        _holding = False
    if _waiting:
        raise _waiting.pop()


@contextlib.contextmanager
def _write_errors() -> Iterator[None]:
    """Raise as one sentence that standard output cannot be written, because of a full disk for example."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FerlibError(f"standard output cannot be written ({error.strerror or error}).") from error


def _write_last(text: str) -> None:
    """Write to standard error before the process ends, if that is possible."""
    with contextlib.suppress(OSError):
        sys.stderr.write(printable(text))
        sys.stderr.flush()


def _discard_unwritten() -> None:
    """Discard what cannot be written, about which Python would complain when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """Return text with control characters, which names of files may contain, as escapes; lines stay lines."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def set_verbosity(*, verbose: bool = False, quiet: bool = False) -> None:
    """Write the package's log messages to standard error: all, those from INFO, or only warnings and errors."""
    if not logger.handlers:
        logger.addHandler(_ConsoleHandler())
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def write_line(text: str, *, error: bool = False) -> None:
    """Write a line to standard output, or for notes and failures to standard error, without breaking a progress bar."""
    stream = sys.stderr if error else sys.stdout
    with contextlib.suppress(OSError) if error else _write_errors():
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(printable(text), file=stream)
        else:
            stream.write(f"{printable(text)}\n")


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
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; a program that executes notebooks imports it, too."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def progress_bar(iterable: Iterable | None = None, **options: Any) -> "tqdm":
    """Return a tqdm progress bar with tqdm's `options`, such as ``desc`` and ``total``.

    There is no bar with ``--quiet``, nor where standard error is neither a terminal nor a notebook, such as a log file.
    """
    notebook = in_notebook()
    if logger.level >= logging.WARNING or not (sys.stderr.isatty() or notebook):
        options["disable"] = True
    # A notebook stores every update.
    options.setdefault("mininterval", 1.0 if notebook else 0.2)
    options.setdefault("dynamic_ncols", not notebook)
    from tqdm import tqdm

    return tqdm(iterable, **options)
