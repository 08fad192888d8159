"""Read emotions from faces in images, videos and cameras: ``python -m ferlib.predict photo.jpg``."""

import argparse
import contextlib
import functools
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from ferlib.core.console import EXIT_FAILED, EXIT_OK, run
from ferlib.core.errors import FerlibError
from ferlib.core.images import MAX_PIXELS
from ferlib.faces import DETECTORS, MIN_CONFIDENCE, MIN_FACE_SIZE
from ferlib.inference import DEFAULT_MARGIN, DEFAULT_SMOOTHING, People
from ferlib.inference.pipeline import PredictionJob, PredictionOptions

EXAMPLES = """examples:
  python -m ferlib.predict photo.jpg
  python -m ferlib.predict photo.jpg --output-image annotated.png --output-csv faces.csv
  python -m ferlib.predict album/ more.png 'scans/**/*.tif' --output-dir annotated --counts-csv counts.csv
  python -m ferlib.predict album/ --output-json album.jsonl --resume
  python -m ferlib.predict clip.mp4 --output-video annotated.mp4 --output-csv clip.csv --timeline clip.png
  python -m ferlib.predict --webcam 0
  python -m ferlib.predict --detector none face.png
  curl -s https://example.org/photo.jpg | python -m ferlib.predict -

With several inputs --output-image is a folder, as --output-dir always is; there they keep their names and subfolders.
An image without a face is no error. A file that cannot be read is named on standard error, the others are still done,
and the exit status is 1. Ctrl+C stops the work (status 130) and keeps what was done until then; a camera it just ends.
In a video, faces keep the number of their person, and emotions are smoothed over time.
The emotion is what a face seems to show to an observer, not what the person feels.
"""


# A figure with more people than this is not read.
_MAX_PEOPLE_DRAWN = 8


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.predict",
        description="Find the faces in images and videos and read the emotion that each one seems to show.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        type=Path,
        help="image, video, folder to search for them, pattern, or - for an image on standard input",
    )
    parser.add_argument("--webcam", metavar="N", help="camera: its number, or a device or address (0 is the first)")
    parser.add_argument("--run", metavar="DIR", type=Path, help="run folder (default: the delivered model)")
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--detector",
        choices=DETECTORS,
        default="mtcnn",
        help="finds the faces; none: an image is one face (default: mtcnn)",
    )
    faces.add_argument(
        "--min-face-size",
        metavar="N",
        type=_whole_number,
        help=f"smallest face in pixels (default: {MIN_FACE_SIZE}; in a video a twelfth of its shorter side)",
    )
    faces.add_argument(
        "--min-confidence",
        metavar="F",
        type=_probability,
        default=MIN_CONFIDENCE,
        help="leave out faces of which mtcnn is less sure (default: %(default)s)",
    )
    faces.add_argument(
        "--margin",
        metavar="F",
        type=_margin,
        default=DEFAULT_MARGIN,
        help="widen the faces by this fraction on each side (default: %(default)s)",
    )
    faces.add_argument(
        "--min-probability",
        metavar="F",
        type=_probability,
        default=0.0,
        help="call a face uncertain whose emotion is less probable (default: %(default)s)",
    )
    video = parser.add_argument_group("videos and cameras")
    video.add_argument(
        "--smoothing",
        metavar="S",
        type=_seconds,
        default=DEFAULT_SMOOTHING,
        help="time constant in seconds that emotions are smoothed with, 0 for none (default: %(default)s)",
    )
    video.add_argument(
        "--show",
        action=argparse.BooleanOptionalAction,
        help="show the frames in a window; q ends it (default: for a camera)",
    )
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--output-image", metavar="P", type=Path, help="annotated image, or folder of them")
    outputs.add_argument("--output-dir", metavar="DIR", type=Path, help="folder of annotated images and videos")
    outputs.add_argument("--output-video", metavar="P", type=Path, help="annotated video of one video or the camera")
    outputs.add_argument("--output-csv", metavar="P", type=Path, help="CSV, a row per face (in a video per frame)")
    outputs.add_argument("--counts-csv", metavar="P", type=Path, help="CSV, how many faces show each emotion")
    outputs.add_argument("--output-json", metavar="P", type=Path, help="JSON Lines, an object per image or frame")
    outputs.add_argument("--timeline", metavar="P", type=Path, help="figure of a video's people over time (PNG)")
    outputs.add_argument("--resume", action="store_true", help="go on with the work whose results --output-json names")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-pixels",
        metavar="N",
        type=_whole_number,
        default=MAX_PIXELS,
        help="refuse images of more pixels (default: %(default)s)",
    )
    limits.add_argument(
        "--batch-size",
        metavar="N",
        type=_whole_number,
        default=64,
        help="how many small images are read together (default: %(default)s)",
    )
    limits.add_argument("--threads", metavar="N", type=_whole_number, default=0, help="threads (default: all cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Recognize, print what was found, write what is asked for; return the exit status."""
    parser = build_parser()
    # Images may stand before and after options.
    args = parser.parse_intermixed_args(argv)
    if not args.inputs and args.webcam is None:
        parser.error("name an image, a video or a folder, or a camera with --webcam")
    if args.resume and not args.output_json:
        parser.error("--resume needs --output-json, whose records say what was done")
    if args.output_image and args.output_dir:
        parser.error("--output-image and --output-dir are two names for one thing here; give one")
    with contextlib.ExitStack() as stack:
        job = PredictionJob(
            PredictionOptions(**vars(args)),
            stack,
            tell=functools.partial(_say, stream=sys.stdout),
            warn=functools.partial(_say, stream=sys.stderr),
            draw_timeline=_draw_timeline,
        )
        return EXIT_OK if job.do() else EXIT_FAILED


def _whole_number(text: str) -> int:
    """Parse a number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got '{text}'")
    return int(text)


def _number(text: str, highest: float) -> float:
    """Parse a number from 0 to a highest one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= highest:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {highest:g}, got '{text}'")
    return value


def _margin(text: str) -> float:
    """Parse a margin."""
    return _number(text, 2)


def _probability(text: str) -> float:
    """Parse a probability."""
    return _number(text, 1)


def _seconds(text: str) -> float:
    """Parse a time constant."""
    return _number(text, 3600)


def _draw_timeline(path: Path, people: People, name: str) -> None:
    """Write the figure of a video's people over time."""
    try:
        from ferlib import plots
    except ImportError:
        raise FerlibError(f"{path}: the timeline needs Matplotlib and seaborn, which are not installed.") from None
    plots.use_style()
    often = sorted(people, key=lambda person: -person.n_frames)[:_MAX_PEOPLE_DRAWN]
    drawn = {f"person {person.number}": person.timeline for person in sorted(often, key=lambda person: person.number)}
    left_out = len(people) - len(drawn)
    title = name + (f" (and {left_out} seen for less long)" if left_out else "")
    plots.save_figure(plots.plot_timeline(drawn, people.class_names, title=title), path.parent, path.stem)


def _say(line: str, stream: TextIO) -> None:
    """Write a line; on a terminal around the progress bar."""
    if sys.stderr.isatty():
        tqdm.write(line, file=stream)
    else:
        stream.write(line + "\n")


if __name__ == "__main__":
    run(main)
