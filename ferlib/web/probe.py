"""Print what a video file states about itself: ``python -m ferlib.web.probe FILE``.

The service runs this in a process of its own, because a damaged file can end the process that opens it.
"""

import json
import sys
from collections.abc import Sequence

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.video import open_video


def main(argv: Sequence[str] | None = None) -> int:
    """Print height and width in pixels, frames per second and the number of frames as JSON."""
    (path,) = sys.argv[1:] if argv is None else argv
    with open_video(path) as video:
        write_line(json.dumps({"size": video.size, "rate": video.rate, "frames": video.n_frames}))
    return EXIT_OK


if __name__ == "__main__":
    run(main)
