"""Read emotions from faces in pictures, videos and cameras: ``python -m ferlib.predict photo.jpg``."""

import argparse
import contextlib
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from ferlib.artifacts import load_classifier
from ferlib.commands import EXIT_FAILED, EXIT_OK, run
from ferlib.errors import FerlibError
from ferlib.faces import DETECTORS, MIN_CONFIDENCE, MIN_FACE_SIZE
from ferlib.files import check_outputs
from ferlib.images import MAX_PIXELS, decode_picture, read_picture
from ferlib.inference import (
    DEFAULT_MARGIN,
    DEFAULT_SMOOTHING,
    STANDARD_INPUT,
    EmotionRecognizer,
    People,
    PictureResult,
    ResultFiles,
    Source,
    VideoWriter,
    annotate,
    display_path,
    find_sources,
    open_camera,
    open_video,
    picture_record,
    plan_annotated,
    recognize_stream,
    write_picture,
)
from ferlib.inference.video import WRITABLE_VIDEOS, Video
from ferlib.progress import track

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
A picture without a face is no error. A file that cannot be read is named on standard error, the others are still done,
and the exit status is 1. Ctrl+C stops the work (status 130) and keeps what was done until then; a camera it just ends.
In a video, faces keep the number of their person, and emotions are smoothed over time.
The emotion is what a face seems to show to an observer, not what the person feels.
"""

# Pictures go through the classifier together up to this many pixels in all: crops of faces do, photographs go alone.
_PIXELS_TOGETHER = 4_000_000

# In a video faces are looked for from this part of the shorter side on, unless told otherwise: 40 pixels of 480.
_VIDEO_FACE = 1 / 12

# A figure with more people than this is not read.
_MAX_PEOPLE_DRAWN = 8


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.predict",
        description="Find the faces in pictures and videos and read the emotion that each one seems to show.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        type=Path,
        help="picture, video, folder to search for them, pattern, or - for a picture on standard input",
    )
    parser.add_argument("--webcam", metavar="N", help="camera: its number, or a device or address (0 is the first)")
    parser.add_argument("--run", metavar="DIR", type=Path, help="run folder (default: the delivered model)")
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--detector",
        choices=DETECTORS,
        default="mtcnn",
        help="finds the faces; none: a picture is one face (default: mtcnn)",
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
    outputs.add_argument("--output-image", metavar="P", type=Path, help="annotated picture, or folder of them")
    outputs.add_argument("--output-dir", metavar="DIR", type=Path, help="folder of annotated pictures and videos")
    outputs.add_argument("--output-video", metavar="P", type=Path, help="annotated video of one video or the camera")
    outputs.add_argument("--output-csv", metavar="P", type=Path, help="CSV, a row per face (in a video per frame)")
    outputs.add_argument("--counts-csv", metavar="P", type=Path, help="CSV, how many faces show each emotion")
    outputs.add_argument("--output-json", metavar="P", type=Path, help="JSON Lines, an object per picture or frame")
    outputs.add_argument("--timeline", metavar="P", type=Path, help="figure of a video's people over time (PNG)")
    outputs.add_argument("--resume", action="store_true", help="go on with the work whose results --output-json names")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-pixels",
        metavar="N",
        type=_whole_number,
        default=MAX_PIXELS,
        help="refuse pictures of more pixels (default: %(default)s)",
    )
    limits.add_argument(
        "--batch-size",
        metavar="N",
        type=_whole_number,
        default=64,
        help="how many small pictures are read together (default: %(default)s)",
    )
    limits.add_argument("--threads", metavar="N", type=_whole_number, default=0, help="threads (default: all cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Recognise, print what was found, write what is asked for; return the exit status."""
    parser = build_parser()
    # Pictures may stand before and after options.
    args = parser.parse_intermixed_args(argv)
    if not args.inputs and args.webcam is None:
        parser.error("name a picture, a video or a folder, or a camera with --webcam")
    if args.resume and not args.output_json:
        parser.error("--resume needs --output-json, whose records say what was done")
    if args.output_image and args.output_dir:
        parser.error("--output-image and --output-dir are two names for one thing here; give one")
    with contextlib.ExitStack() as stack:
        return _Work(args, stack).do()


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


class _Work:
    """One call of the command: what to read, where to write, and how much went wrong."""

    def __init__(self, args: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.args = args
        self.failed = self.n_pictures = 0
        images = args.output_dir or args.output_image
        sources, empty = find_sources(args.inputs, skip=images)
        targets = self._plan(sources, images)
        tables = (args.output_csv, args.counts_csv, args.output_json)
        outputs = [*targets, *tables, args.timeline, args.output_video if args.webcam is not None else None]
        check_outputs([path for path in outputs if path], [source.path for source in sources])
        self.pairs = list(zip(sources, targets, strict=True))
        self.classifier = load_classifier(args.run, n_threads=args.threads)
        self.recognizer = self._recognizer(args.min_face_size or MIN_FACE_SIZE)
        self.show = self._may_show()
        self.files = stack.enter_context(
            ResultFiles(
                self.classifier.class_names,
                faces_csv=args.output_csv,
                json_lines=args.output_json,
                counts_csv=args.counts_csv,
                resume=args.resume,
            )
        )
        for folder in empty:
            self._fail(folder, f"{folder}: the folder holds no picture or video.")

    def _plan(self, sources: Sequence[Source], images: Path | None) -> list[Path | None]:
        """Return where each source's annotated copy goes, None for nowhere."""
        args = self.args
        n_videos = sum(source.is_video for source in sources) + (args.webcam is not None)
        for option, path in (("--output-video", args.output_video), ("--timeline", args.timeline)):
            if path and n_videos != 1:
                raise FerlibError(f"{option} is for one video, but there are {n_videos}; see --output-dir.")
        if args.output_video and args.output_video.suffix.lower() not in WRITABLE_VIDEOS:
            raise FerlibError(f"{args.output_video}: videos are written as {', '.join(sorted(WRITABLE_VIDEOS))}.")
        if args.timeline and args.timeline.suffix.lower() != ".png":
            raise FerlibError(f"{args.timeline}: the timeline is written as .png.")
        if not images:
            return [args.output_video if source.is_video else None for source in sources]
        if args.output_image:
            # A video among them needs a folder, or its own option.
            pictures = [source for source in sources if not source.is_video]
            planned = iter(plan_annotated(pictures, images))
            return [args.output_video if source.is_video else next(planned) for source in sources]
        return list(plan_annotated(sources, images, folder=True))

    def _recognizer(self, min_face_size: int) -> EmotionRecognizer:
        """Return a recogniser that looks for faces of a size."""
        args = self.args
        return EmotionRecognizer(
            args.detector,
            self.classifier,
            margin=args.margin,
            min_probability=args.min_probability,
            min_face_size=min_face_size,
            min_confidence=args.min_confidence,
            n_threads=args.threads,
        )

    def _may_show(self) -> bool:
        """Return whether frames are shown in a window; say so where they cannot be."""
        wanted = self.args.webcam is not None if self.args.show is None else self.args.show
        if not wanted:
            return False
        from ferlib.inference.window import has_display

        if not has_display():
            sys.stderr.write("no display here, so no window; outputs are written all the same (Ctrl+C ends)\n")
            return False
        return True

    def do(self) -> int:
        """Do everything; return the exit status."""
        if self.args.webcam is not None:
            self._do_camera()
        left = [(source, target) for source, target in self.pairs if display_path(source.path) not in self.files.done]
        if len(left) < len(self.pairs):
            sys.stderr.write(f"{len(self.pairs) - len(left):,} of {len(self.pairs):,} were done before\n")
        total, several = len(self.pairs), len(self.pairs) > 1
        try:
            with track(total=total, initial=total - len(left), unit="file", disable=not several) as bar:
                for chunk in self._chunks(left):
                    self._do_pictures(chunk) if chunk[0][0].is_video is False else self._do_video(*chunk[0][:2])
                    bar.update(len(chunk))
        finally:
            written = [path for path in (self.args.output_image, self.args.output_dir) if path and self.n_pictures]
            self._tell_written([*written, *self.files.paths])
        self._print_summary()
        return EXIT_FAILED if self.failed else EXIT_OK

    def _chunks(self, pairs: Sequence[tuple[Source, Path | None]]) -> Iterator[list[tuple]]:
        """Yield pictures to do together as (source, target, pixels), and each video alone without pixels."""
        chunk: list[tuple] = []
        pixels = 0
        for source, target in pairs:
            if source.is_video:
                if chunk:
                    yield chunk
                chunk, pixels = [], 0
                yield [(source, target, None)]
                continue
            image = self._read(source)
            size = 0 if image is None else image.shape[0] * image.shape[1]
            if chunk and (pixels + size > _PIXELS_TOGETHER or len(chunk) == self.args.batch_size):
                yield chunk
                chunk, pixels = [], 0
            chunk.append((source, target, image))
            pixels += size
        if chunk:
            yield chunk

    def _read(self, source: Source) -> np.ndarray | None:
        """Return a picture; one that cannot be read is told and counted, and the work goes on."""
        try:
            if source.path == STANDARD_INPUT:
                data = sys.stdin.buffer.read()
                return decode_picture(data, name="standard input", max_pixels=self.args.max_pixels)
            return read_picture(source.path, max_pixels=self.args.max_pixels)
        except FerlibError as error:
            self._fail(source.path, str(error))
            return None

    def _do_pictures(self, chunk: Sequence[tuple[Source, Path | None, np.ndarray | None]]) -> None:
        """Do some pictures together."""
        readable = [(source, target, image) for source, target, image in chunk if image is not None]
        recognized = self.recognizer.recognize_all([image for _, _, image in readable])
        for (source, target, image), faces in zip(readable, recognized, strict=True):
            result = PictureResult(source.path, image.shape[:2], faces)
            if target:
                try:
                    write_picture(target, annotate(image, faces))
                except FerlibError as error:
                    self._fail(source.path, str(error))
                    continue
            self.n_pictures += 1
            self.files.add({**picture_record(result), **self._made_by()})
            _print_faces(result)

    def _do_video(self, source: Source, target: Path | None) -> None:
        """Do one video."""
        try:
            with open_video(source.path) as video:
                self._do_frames(video, source.path, target)
        except FerlibError as error:
            self._fail(source.path, str(error))
            return
        if video.cut_short:
            told = f"{source.path}: the video ends after frame {video.n_read:,} of about {video.n_frames:,}."
            self._fail(source.path, told)

    def _do_camera(self) -> None:
        """Do a camera until q, Ctrl+C or its own end."""
        camera = int(self.args.webcam) if self.args.webcam.isdecimal() else self.args.webcam
        name = Path(f"camera {camera}")
        with open_camera(camera) as video, contextlib.suppress(KeyboardInterrupt):
            self._do_frames(video, name, self.args.output_video)

    def _do_frames(self, video: Video, path: Path, target: Path | None) -> None:
        """Do the frames of a video or camera, and what is known at their end, be it an early one."""
        people = People(self.classifier.class_names)
        moment, complete = 0.0, False
        try:
            with contextlib.ExitStack() as stack:
                writer = stack.enter_context(VideoWriter(target, rate=video.rate)) if target else None
                window = self._open_window(stack, video.name)
                bar = stack.enter_context(track(total=video.n_frames, desc=path.name, unit="frame", leave=False))
                frames = iter(video)
                first = next(frames)
                size = self.args.min_face_size or max(MIN_FACE_SIZE, round(min(first.image.shape[:2]) * _VIDEO_FACE))
                recognizer = self._recognizer(size)
                stream = recognize_stream(
                    itertools.chain([first], frames), recognizer, path=path, smoothing=self.args.smoothing
                )
                for frame, result in stream:
                    people.add(result)
                    self.files.add(picture_record(result))
                    moment = frame.time
                    if writer or window:
                        annotated = annotate(frame.image, result.faces)
                    if writer:
                        writer.write(annotated, frame.time)
                    bar.update()
                    if window and not window.show(annotated):
                        break
                complete = True
        finally:
            if video.n_read:
                self._end_video(video, path, target, people, moment, complete=complete)

    def _open_window(self, stack: contextlib.ExitStack, name: str) -> Any:
        """Return a window, or None where none is wanted."""
        if not self.show:
            return None
        from ferlib.inference.window import Window

        return stack.enter_context(Window(name))

    def _end_video(
        self, video: Video, path: Path, target: Path | None, people: People, moment: float, *, complete: bool
    ) -> None:
        """Write and print what is known at the end of a video."""
        if complete:
            record = {"file": display_path(path), "frames": video.n_read, "seconds": round(moment, 3)}
            self.files.add({**record, "people": people.records(), **self._made_by()})
        _say(f"{display_path(path)}: {video.n_read:,} frames, {moment:.1f} s, people: {len(people)}", sys.stdout)
        for line in people.describe():
            _say(f"  {line}", sys.stdout)
        written = [target] if target else []
        if self.args.timeline:
            _draw_timeline(self.args.timeline, people, path.name)
            written.append(self.args.timeline)
        self._tell_written(written)

    def _made_by(self) -> dict[str, str]:
        """Return what a record says about its origin."""
        return {"detector": self.args.detector, "model": self.classifier.name}

    def _fail(self, path: Path, sentence: str) -> None:
        """Tell and count what could not be done."""
        _say(f"error: {sentence}", sys.stderr)
        self.files.add({"file": display_path(path), "error": sentence})
        self.failed += 1

    def _tell_written(self, paths: Sequence[Path]) -> None:
        """Say what was written."""
        if paths:
            _say(f"wrote {', '.join(map(display_path, paths))}", sys.stderr)

    def _print_summary(self) -> None:
        """Write the totals of several pictures to standard output."""
        if self.n_pictures < 2:
            return
        counts = {emotion: count for emotion, count in self.files.count_emotions().items() if count}
        listed = ", ".join(f"{emotion} {count:,}" for emotion, count in counts.items())
        faces = sum(counts.values())
        sys.stdout.write(f"{self.n_pictures:,} pictures, {faces:,} faces{': ' if listed else ''}{listed}\n")


def _draw_timeline(path: Path, people: People, name: str) -> None:
    """Write the figure of a video's people over time."""
    try:
        from ferlib.evaluation import plots
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


def _print_faces(result: PictureResult) -> None:
    """Write a line per face to standard output."""
    name = display_path(result.path)
    if not result.faces:
        _say(f"{name}: no face found.", sys.stdout)
    for number, found in enumerate(result.faces, start=1):
        box = list(found.face.box)
        line = f"{name}: face {number}, box {box}, {found.emotion}, probability {found.probability:.3f}"
        _say(line, sys.stdout)


if __name__ == "__main__":
    run(main)
