"""Detect faces in images, videos and cameras and classify their expressions: ``ferlib predict photo.jpg``."""

import contextlib
import importlib.util
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferlib.core.console import EXIT_FAILED, EXIT_OK, logger, progress_bar, run, write_line
from ferlib.core.errors import FerlibError, OptionError, VideoError
from ferlib.core.files import check_outputs
from ferlib.core.images import MAX_PIXELS
from ferlib.core.options import OptionParser, check_options, option
from ferlib.faces import MIN_CONFIDENCE, MIN_FACE_SIZE, DetectorName
from ferlib.inference import (
    CountsSink,
    CsvSink,
    EmotionRecognizer,
    JsonlSink,
    TrackSummary,
    annotate,
    predict_images,
    predict_video,
    write_image,
)
from ferlib.inference.inputs import InputFile, find_inputs, output_paths
from ferlib.inference.recognizer import DEFAULT_CROP_MARGIN, DEFAULT_PRIOR
from ferlib.inference.results import Record, display_path, image_record
from ferlib.inference.sinks import Sink, read_finished
from ferlib.inference.stream import DEFAULT_SMOOTHING, VIDEO_FACE
from ferlib.runs.classifier import Classifier, load_classifier
from ferlib.runs.folder import PretrainedName, check_one_model
from ferlib.runs.prior import make_prior, parse_prior
from ferlib.video import VIDEO_CODECS, Video, VideoWriter, open_camera, open_video
from ferlib.video.window import Window, has_display

EXAMPLES = """examples:
  ferlib predict photo.jpg
  ferlib predict photo.jpg --output-image annotated.png --output-csv faces.csv
  ferlib predict album/ more.png 'scans/**/*.tif' --output-dir annotated --output-counts counts.csv
  ferlib predict album/ --output-json album.jsonl --resume
  ferlib predict clip.mp4 --output-video annotated.mp4 --output-csv clip.csv --output-timeline clip.png
  ferlib predict --webcam 0
  ferlib predict --detector none face.png
  ferlib predict album/ --prior 1,1,1,1,1,1,1
  curl -s https://example.org/photo.jpg | ferlib predict -

With several inputs, --output-image is a folder, as --output-dir always is. Annotated copies keep their names and
subfolders.

An image without a face is not an error. A file that cannot be read is reported on standard error, the other files are
processed, and the exit status is 1. Ctrl+C stops with status 130 and keeps the results so far; with --webcam it ends
the recording normally.

Most faces in photographs are neutral or happy, more than in the training data. --prior states how frequent each
emotion is. Shares are in the order angry, disgust, fear, happy, sad, surprise, neutral.

In a video each face gets a track ID, and its probabilities are smoothed over time.
The emotion is what a face appears to express to an observer, not what the person feels.
"""

# A timeline with more tracks would not be legible.
_MAX_TRACKS_DRAWN = 8


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of ``ferlib predict``."""

    inputs: tuple[Path, ...] = option(
        (), help="image, video, folder, pattern, or - for an image on standard input", metavar="INPUT", positional=True
    )
    webcam: str | None = option(None, help="camera: its number (0 is the first), device or address", metavar="N")
    model: PretrainedName | None = option(
        None, help="pretrained model; fast classifies more faces per second", default_text="default"
    )
    run: Path | None = option(None, help="run folder to use instead of a pretrained model", metavar="DIR")

    prior: str = option(
        DEFAULT_PRIOR,
        help="how frequent each emotion is: photographs, training (as in the training data), or a share per class",
        metavar="PRIOR",
    )

    detector: DetectorName = option("mtcnn", help="face detector; none: the whole image is one face", group="faces")
    min_face_size: int | None = option(
        None,
        help="size of the smallest face in pixels",
        minimum=1,
        default_text=f"{MIN_FACE_SIZE}; in videos 1/{1 / VIDEO_FACE:.0f} of the shorter side",
        group="faces",
    )
    min_confidence: float = option(
        MIN_CONFIDENCE, help="smallest confidence of MTCNN", minimum=0, maximum=1, group="faces"
    )
    crop_margin: float = option(
        DEFAULT_CROP_MARGIN,
        help="fraction of a face's box that is added on each side",
        minimum=0,
        maximum=2,
        group="faces",
    )
    min_probability: float = option(
        0.0, help='below this probability the emotion is "uncertain"', minimum=0, maximum=1, group="faces"
    )

    smoothing: float = option(
        DEFAULT_SMOOTHING,
        help="time constant of smoothing in seconds, 0 for none",
        minimum=0,
        maximum=3600,
        group="videos and cameras",
    )
    show: bool | None = option(
        None, help="show the frames in a window", default_text="for a camera", group="videos and cameras"
    )

    output_image: Path | None = option(None, help="annotated image, or folder for several", group="outputs")
    output_dir: Path | None = option(
        None, help="folder for annotated images and videos", metavar="DIR", group="outputs"
    )
    output_video: Path | None = option(None, help="annotated copy of one video or the camera", group="outputs")
    output_csv: Path | None = option(None, help="CSV with one row per face, in a video per frame", group="outputs")
    output_json: Path | None = option(None, help="JSON Lines with one record per image or frame", group="outputs")
    output_counts: Path | None = option(None, help="CSV with the number of faces of each emotion", group="outputs")
    output_timeline: Path | None = option(None, help="PNG figure of a video's emotions over time", group="outputs")
    resume: bool = option(False, help="skip files that --output-json already has", group="outputs")

    max_pixels: int = option(MAX_PIXELS, help="refuse images with more pixels", minimum=1, group="limits")
    batch_size: int = option(64, help="number of small images processed together", minimum=1, group="limits")
    threads: int | None = option(None, help="number of threads", default_text="all cores", minimum=1, group="limits")

    def __post_init__(self) -> None:
        """Check values and combinations."""
        check_options(self)
        parse_prior(self.prior, "--prior")
        if not self.inputs and self.webcam is None:
            raise OptionError("No input given; name an image, a video or a folder, or a camera with --webcam.")
        check_one_model(self.run, self.model)
        if self.resume and self.output_json is None:
            raise OptionError("--resume needs --output-json, which holds the results so far.")
        if self.output_image and self.output_dir:
            raise OptionError("--output-image and --output-dir cannot be combined.")
        if self.output_video and self.output_video.suffix.lower() not in VIDEO_CODECS:
            formats = ", ".join(sorted(VIDEO_CODECS))
            raise OptionError(f"--output-video: expected a file that ends in {formats}, got '{self.output_video}'.")
        if self.output_timeline and self.output_timeline.suffix.lower() != ".png":
            raise OptionError(f"--output-timeline: expected a file that ends in .png, got '{self.output_timeline}'.")
        if self.output_timeline and importlib.util.find_spec("matplotlib") is None:
            raise FerlibError('--output-timeline needs Matplotlib: pip install "ferlib[train]".')


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "predict",
        (PredictOptions,),
        description="Detect faces in images, videos or a webcam and classify their expressions.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Process the inputs, print what was found and write the outputs; return the exit status."""
    options = build_parser().parse(argv).build(PredictOptions)
    inputs, empty = find_inputs(options.inputs, skip=options.output_dir or options.output_image)
    targets = _plan_outputs(options, inputs)
    job = _Job(options, _load_classifier(options), targets)
    earlier = read_finished(options.output_json) if options.resume and options.output_json else []
    done = {record["file"] for record in earlier}
    remaining = [item for item in inputs if display_path(item.path) not in done]
    n_done = len(inputs) - len(remaining)
    with contextlib.ExitStack() as stack:
        for sink in job.sinks:
            stack.enter_context(sink)
        stack.callback(
            lambda: _report_written(
                *((options.output_image, options.output_dir) if job.n_images else ()),
                *(sink.path for sink in job.sinks),
            )
        )
        for record in earlier:
            job.write(record)
        for folder in empty:
            job.fail(folder, f"{folder}: the folder contains no image or video.")
        if options.webcam is not None:
            source = int(options.webcam) if options.webcam.isdecimal() else options.webcam
            # Ctrl+C ends the recording normally.
            with open_camera(source) as video, contextlib.suppress(KeyboardInterrupt):
                _run_video(video, Path(video.name), options.output_video, job)
        if n_done:
            logger.info("%s of %s files are already done", f"{n_done:,}", f"{len(inputs):,}")
        if len(inputs) > 1:
            job.advance = stack.enter_context(progress_bar(total=len(inputs), initial=n_done, unit="file")).update
        for is_video, group in itertools.groupby(remaining, key=lambda item: item.is_video):
            paths = [item.path for item in group]
            if is_video:
                for path in paths:
                    _run_video_file(path, job)
            else:
                _run_images(paths, job)
    if job.n_images > 1:
        counts = ", ".join(f"{emotion} {n:,}" for emotion, n in job.counts.counts.items() if n)
        n_faces = sum(job.counts.counts.values())
        write_line(f"{job.n_images:,} images, {n_faces:,} faces{': ' if counts else ''}{counts}")
    return EXIT_FAILED if job.n_failed else EXIT_OK


def _load_classifier(options: PredictOptions) -> Classifier:
    """Return the run or the pretrained model that the options name."""
    return load_classifier(options.run, model=options.model or "default", n_threads=options.threads or 0)


class _Job:
    """What all inputs share: the options, the classifier, the outputs, progress and counts."""

    def __init__(self, options: PredictOptions, classifier: Classifier, targets: Mapping[Path, Path]) -> None:
        self.options = options
        self.classifier = classifier
        self.targets = targets
        self.prior = make_prior(
            options.prior,
            class_names=classifier.class_names,
            training_shares=classifier.training_shares,
            name="--prior",
        )
        self.show = _can_show(options)
        self.advance: Callable[[], object] = lambda: None
        self.origin = {"detector": options.detector, "model": classifier.name}
        self.counts = CountsSink(options.output_counts)
        self.sinks: list[Sink] = [self.counts]
        if options.output_csv:
            self.sinks.append(CsvSink(options.output_csv, classifier.class_names))
        if options.output_json:
            self.sinks.append(JsonlSink(options.output_json))
        self.n_images = self.n_failed = 0

    def recognizer(self, min_face_size: int) -> EmotionRecognizer:
        """Return a recognizer, for faces of at least a size unless an option states another."""
        options = self.options
        return EmotionRecognizer(
            options.detector,
            self.classifier,
            prior=self.prior,
            crop_margin=options.crop_margin,
            min_probability=options.min_probability,
            min_face_size=options.min_face_size or min_face_size,
            min_confidence=options.min_confidence,
            n_threads=options.threads or 0,
        )

    def write(self, record: Record) -> None:
        """Write a record to each sink."""
        for sink in self.sinks:
            sink.write(record)

    def fail(self, path: Path, message: object) -> None:
        """Report and count a file that could not be processed."""
        logger.error("error: %s", message)
        self.write({"file": display_path(path), "error": str(message)})
        self.n_failed += 1


def _plan_outputs(options: PredictOptions, inputs: Sequence[InputFile]) -> dict[Path, Path]:
    """Return the path of the annotated copy of each input that gets one; check that all outputs can be written."""
    n_videos = sum(item.is_video for item in inputs) + (options.webcam is not None)
    for flag, path in (("--output-video", options.output_video), ("--output-timeline", options.output_timeline)):
        if path and n_videos != 1:
            raise OptionError(f"{flag} is for one video, but there are {n_videos}; see --output-dir.")
    targets: dict[Path, Path] = {}
    if options.output_dir:
        targets = output_paths(inputs, options.output_dir, is_folder=True)
    elif options.output_image:
        targets = output_paths([item for item in inputs if not item.is_video], options.output_image)
    if options.output_video:
        targets |= {item.path: options.output_video for item in inputs if item.is_video}
    camera_video = options.output_video if options.webcam is not None else None
    files = (options.output_csv, options.output_counts, options.output_json, options.output_timeline, camera_video)
    check_outputs([path for path in (*targets.values(), *files) if path], [item.path for item in inputs])
    return targets


def _can_show(options: PredictOptions) -> bool:
    wanted = options.webcam is not None if options.show is None else options.show
    if wanted and not has_display():
        logger.warning("No display found: running without a window (Ctrl+C to stop).")
        return False
    return wanted


def _run_images(paths: Sequence[Path], job: _Job) -> None:
    def fail(path: Path, error: FerlibError) -> None:
        job.fail(path, error)
        job.advance()

    recognizer, options = job.recognizer(MIN_FACE_SIZE), job.options
    for image, result in predict_images(
        paths, recognizer, batch_size=options.batch_size, max_pixels=options.max_pixels, on_error=fail
    ):
        if result.path in job.targets:
            try:
                write_image(job.targets[result.path], annotate(image, result.faces))
            except FerlibError as error:
                fail(result.path, error)
                continue
        job.n_images += 1
        job.write(image_record(result, **job.origin))
        name = display_path(result.path)
        for number, found in enumerate(result.faces, start=1):
            box = list(found.face.box)
            write_line(f"{name}: face {number}, box {box}, {found.emotion}, probability {found.probability:.3f}")
        if not result.faces:
            write_line(f"{name}: no face found.")
        job.advance()


def _run_video_file(path: Path, job: _Job) -> None:
    try:
        with open_video(path) as video:
            _run_video(video, path, job.targets.get(path), job)
        if video.truncated:
            raise VideoError(f"{path}: the video ends after frame {video.n_read:,} of about {video.n_frames:,}.")
    except FerlibError as error:
        job.fail(path, error)
    job.advance()


def _run_video(video: Video, path: Path, target: Path | None, job: _Job) -> None:
    """Process the frames of a video; what was done until an error or Ctrl+C is kept."""
    recognizer = job.recognizer(max(MIN_FACE_SIZE, round(min(video.size) * VIDEO_FACE)))
    tracks, seconds, complete = TrackSummary(job.classifier.class_names), 0.0, False
    try:
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(VideoWriter(target, rate=video.rate)) if target else None
            window = stack.enter_context(Window(video.name)) if job.show else None
            bar = stack.enter_context(progress_bar(total=video.n_frames, desc=path.name, unit="frame", leave=False))
            for frame, result in predict_video(video, recognizer, path=path, smoothing=job.options.smoothing):
                tracks.add(result)
                job.write(image_record(result))
                seconds = frame.time
                bar.update()
                annotated = annotate(frame.image, result.faces) if writer or window else frame.image
                if writer:
                    writer.write(annotated, frame.time)
                if window and not window.show(annotated):
                    break
            complete = True
    finally:
        if video.n_read:
            if complete:
                summary = {"frames": video.n_read, "seconds": round(seconds, 3), "tracks": tracks.records()}
                job.write({"file": display_path(path), **summary, "prior": job.prior.name, **job.origin})
            write_line(f"{display_path(path)}: {video.n_read:,} frames, {seconds:.1f} s, tracks: {len(tracks)}")
            for line in tracks.describe():
                write_line(f"  {line}")
            if job.options.output_timeline:
                _draw_timeline(job.options.output_timeline, tracks, path.name)
            _report_written(target, job.options.output_timeline)


def _draw_timeline(path: Path, tracks: TrackSummary, title: str) -> None:
    from ferlib import plots

    longest = sorted(tracks, key=lambda track: -track.n_frames)[:_MAX_TRACKS_DRAWN]
    drawn = {f"track {track.track_id}": track.timeline for track in sorted(longest, key=lambda track: track.track_id)}
    omitted = len(tracks) - len(drawn)
    title += f" ({omitted} shorter tracks omitted)" if omitted else ""
    plots.use_style()
    plots.save_figure(plots.plot_timeline(drawn, tracks.class_names, title=title), path.parent, path.stem)


def _report_written(*paths: Path | None) -> None:
    written = [display_path(path) for path in paths if path]
    if written:
        logger.info("wrote %s", ", ".join(written))


if __name__ == "__main__":
    run(main)
