"""Serve the REST API and the page: ``ferlib serve``."""

import importlib
import os
from collections.abc import Sequence

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import FerlibError
from ferlib.core.options import OptionParser
from ferlib.web.options import ServeOptions

EXAMPLES = """examples:
  ferlib serve
  ferlib serve --port 8080 --run data/runs/mine
  FERLIB_API_KEY=... ferlib serve --host 0.0.0.0 --allowed-hosts faces.example.org
  curl -F file=@photo.jpg http://127.0.0.1:5000/v1/faces

http://127.0.0.1:5000/ is the page, http://127.0.0.1:5000/docs describes the API.
Images are processed in memory and not stored. Ctrl+C stops the service.
"""


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "serve",
        (ServeOptions,),
        description="Serve the REST API and the page that recognizes emotions in a browser.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl+C; return the exit status."""
    options = build_parser().parse(argv).build(ServeOptions)
    if os.name == "nt":
        raise FerlibError("ferlib serve needs Linux or macOS; on Windows, run it in WSL or in the container.")
    try:
        server = importlib.import_module("ferlib.web.server")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "ferlib":
            raise
        raise FerlibError(f'The package {error.name} is not installed: pip install "ferlib[serve]".') from None
    server.serve(options)
    return EXIT_OK


if __name__ == "__main__":
    run(main)
