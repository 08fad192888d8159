"""Read emotions from the faces in photographs: ``python -m ferlib.predict photo.jpg``."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from ferlib.artifacts import load_classifier
from ferlib.commands import EXIT_FAILED, EXIT_OK, run
from ferlib.errors import FerlibError
from ferlib.faces import DETECTORS, MIN_FACE_SIZE, make_detector
from ferlib.files import check_outputs
from ferlib.images import read_picture
from ferlib.inference import (
    DEFAULT_MARGIN,
    EmotionRecognizer,
    PictureResult,
    annotate,
    count_emotions,
    display_path,
    find_photos,
    picture_record,
    plan_annotated,
    write_counts_csv,
    write_faces_csv,
    write_json_lines,
    write_picture,
)
from ferlib.progress import track

EXAMPLES = """examples:
  python -m ferlib.predict photo.jpg
  python -m ferlib.predict photo.jpg --output-image annotated.png --output-csv faces.csv
  python -m ferlib.predict album/ more.png --output-image annotated/ --counts-csv counts.csv
  python -m ferlib.predict --detector none face.png

With several pictures --output-image is a folder; there they keep their names and subfolders.
A picture without a face is no error. A file that is no picture is named on standard error, the others are still done,
and the exit status is 1. Ctrl+C stops the work (status 130) and writes what was done until then.
The emotion is what a face seems to show to an observer, not what the person feels.
"""


@dataclass
class _Outcome:
    """What came of the pictures so far; `records` are for JSON and hold the failed ones too, in order."""

    results: list[PictureResult] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.predict",
        description="Find the faces in photographs and read the emotion that each one seems to show.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", type=Path, help="picture, or folder to search for them")
    parser.add_argument(
        "--detector",
        choices=DETECTORS,
        default="mtcnn",
        help="finds the faces; none: a picture is one face (default: mtcnn)",
    )
    parser.add_argument("--run", metavar="DIR", type=Path, help="run folder (default: the delivered model)")
    parser.add_argument(
        "--min-face-size",
        metavar="N",
        type=_pixels,
        default=MIN_FACE_SIZE,
        help="smallest face in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--margin",
        metavar="F",
        type=_fraction,
        default=DEFAULT_MARGIN,
        help="widen the faces by this fraction on each side (default: %(default)s)",
    )
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--output-image", metavar="P", type=Path, help="annotated picture, or folder of them")
    outputs.add_argument("--output-csv", metavar="P", type=Path, help="CSV, a row per face")
    outputs.add_argument("--counts-csv", metavar="P", type=Path, help="CSV, how many faces show each emotion")
    outputs.add_argument("--output-json", metavar="P", type=Path, help="JSON Lines, an object per picture")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Recognise, print a line per face, write what is asked for; return the exit status."""
    # Pictures may stand before and after options.
    args = build_parser().parse_intermixed_args(argv)
    photos, empty = find_photos(args.photos, skip=args.output_image)
    annotated = plan_annotated(photos, args.output_image) if args.output_image else [None] * len(photos)
    tables = (args.output_csv, args.counts_csv, args.output_json)
    check_outputs([path for path in (*annotated, *tables) if path], [photo.path for photo in photos])
    outcome = _Outcome()
    for folder in empty:
        _fail(outcome, folder, f"{folder}: the folder holds no picture.")
    detector = make_detector(args.detector, min_face_size=args.min_face_size)
    recognizer = EmotionRecognizer(detector, load_classifier(args.run), margin=args.margin)
    try:
        with track(total=len(photos), unit="picture", disable=len(photos) < 2) as bar:
            for photo, target in zip(photos, annotated, strict=True):
                _predict_picture(recognizer, args.detector, photo.path, target, outcome)
                bar.update()
    finally:
        _write_tables(args, outcome, recognizer.classifier.class_names)
    _print_summary(outcome)
    return EXIT_FAILED if outcome.failed else EXIT_OK


def _pixels(text: str) -> int:
    """Parse a number of pixels."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got '{text}'")
    return int(text)


def _fraction(text: str) -> float:
    """Parse a margin."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"expected a fraction from 0 to 2, got '{text}'")
    return value


def _predict_picture(
    recognizer: EmotionRecognizer, detector: str, path: Path, target: Path | None, outcome: _Outcome
) -> None:
    """Do one picture; one that cannot be read or written is told and counted, and the work goes on."""
    try:
        image = read_picture(path)
        result = PictureResult(path, image.shape[:2], recognizer.recognize(image))
        if target:
            write_picture(target, annotate(image, result.faces))
    except FerlibError as error:
        _fail(outcome, path, str(error))
        return
    outcome.results.append(result)
    outcome.records.append({**picture_record(result), "detector": detector, "model": recognizer.classifier.name})
    _print_faces(result)


def _fail(outcome: _Outcome, path: Path, sentence: str) -> None:
    """Tell and count what could not be done."""
    _say(f"error: {sentence}", sys.stderr)
    outcome.records.append({"file": display_path(path), "error": sentence})
    outcome.failed += 1


def _say(line: str, stream: TextIO) -> None:
    """Write a line; on a terminal around the progress bar."""
    if sys.stderr.isatty():
        tqdm.write(line, file=stream)
    else:
        stream.write(line + "\n")


def _print_faces(result: PictureResult) -> None:
    """Write a line per face to standard output."""
    name = display_path(result.path)
    if not result.faces:
        _say(f"{name}: no face found.", sys.stdout)
    for number, found in enumerate(result.faces, start=1):
        box = list(found.face.box)
        line = f"{name}: face {number}, box {box}, {found.emotion}, probability {found.probability:.3f}"
        _say(line, sys.stdout)


def _write_tables(args: argparse.Namespace, outcome: _Outcome, class_names: Sequence[str]) -> None:
    """Write the tables that were asked for, and tell what was written."""
    written = [args.output_image] if args.output_image and outcome.results else []
    if args.output_csv:
        write_faces_csv(args.output_csv, outcome.results, class_names)
        written.append(args.output_csv)
    if args.counts_csv:
        write_counts_csv(args.counts_csv, outcome.results)
        written.append(args.counts_csv)
    if args.output_json:
        write_json_lines(args.output_json, outcome.records)
        written.append(args.output_json)
    if written:
        sys.stderr.write(f"wrote {', '.join(map(display_path, written))}\n")


def _print_summary(outcome: _Outcome) -> None:
    """Write the totals of several pictures to standard output."""
    if len(outcome.results) < 2:
        return
    counts = {emotion: count for emotion, count in count_emotions(outcome.results).items() if count}
    faces = sum(counts.values())
    listed = ", ".join(f"{emotion} {count}" for emotion, count in counts.items())
    sys.stdout.write(f"{len(outcome.results)} pictures, {faces} faces{': ' if listed else ''}{listed}\n")


if __name__ == "__main__":
    run(main)
