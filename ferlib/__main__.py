"""The command ``ferlib NAME``; ``python -m ferlib NAME`` is the same."""

import importlib
import sys
from collections.abc import Sequence

from ferlib import __version__
from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import OptionError

#: The module and a description of each command.
COMMANDS = {
    "download": ("ferlib.download", "get a dataset, or draw a synthetic one"),
    "train": ("ferlib.train", "train a model and save it as a run folder"),
    "tune": ("ferlib.tune", "tune a model's settings and train the best of them again"),
    "evaluate": ("ferlib.evaluate", "measure a run on a dataset"),
    "predict": ("ferlib.predict", "detect faces in images and videos and classify their expressions"),
    "score": ("ferlib.score", "score millions of images or videos to Parquet, on one machine or many"),
    "serve": ("ferlib.serve", "serve the REST API and the page in a browser"),
    "export": ("ferlib.export.__main__", "convert a run to another format"),
    "import": ("ferlib.import_model", "make a run folder from an ONNX or Keras file of another program"),
    "runs": ("ferlib.runs.__main__", "compare runs in a table"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Import the command that the first argument names and call it with the others; return its exit status."""
    name, *arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
    elif name == "--version":
        sys.stdout.write(f"ferlib {__version__}\n")
    elif name in COMMANDS:
        # Only the module of this command is imported, so that `ferlib predict` starts quickly.
        return int(importlib.import_module(COMMANDS[name][0]).main(arguments))
    else:
        raise OptionError(f"Expected one of the commands {', '.join(COMMANDS)}, got '{name}'; see ferlib --help.")
    return EXIT_OK


def _help() -> str:
    """Return the help text."""
    commands = "".join(f"  {name:10}  {description}\n" for name, (_, description) in COMMANDS.items())
    return (
        "usage: ferlib COMMAND ...\n\nFacial emotion recognition.\n\n"
        f"commands:\n{commands}\n"
        "options:\n  -h, --help  show this message, or that of a command: ferlib predict --help\n"
        "  --version   show the version\n"
    )


def script() -> None:
    """Run the command (the entry point ``ferlib``) and leave the process with its exit status."""
    run(main)


if __name__ == "__main__":
    script()
