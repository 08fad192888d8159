"""The work of ``ferlib predict``, input by input."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ferlib.core.console import Terminated, hold_signals, logger, progress_bar, write_line
from ferlib.core.errors import FerlibError, VideoError
from ferlib.core.threads import available_cores
from ferlib.faces import MIN_FACE_SIZE, SizedDetector, make_detector
from ferlib.inference.annotate import annotate
from ferlib.inference.options import PredictOptions
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import ImageResult, Record, display_path, image_record
from ferlib.inference.sinks import CountsSink, CsvSink, JsonSink, Sink
from ferlib.inference.stream import make_video_recognizer, predict_video
from ferlib.inference.tracks import TrackSummary
from ferlib.inference.workers import Outcome, predict_in_processes, predict_in_threads
from ferlib.runs.classifier import Classifier
from ferlib.runs.prior import apply_prior
from ferlib.video import Video, VideoWriter, hide_credentials, open_camera, open_video
from ferlib.video.reader import MAX_GAP
from ferlib.video.window import Window, has_display
from ferlib.video.writer import has_h264


class PredictionJob:
    """What ``ferlib predict`` does with each input: recognize, write to the outputs, and report.

    Parameters
    ----------
    options : PredictOptions
    classifier : Classifier
    targets : mapping
        The path of the annotated copy of each input that gets one.
    draw_timeline : callable
        Writes the figure of a video: takes its path, the tracks and a title.
    n_inner : int
        Threads of the recognizer; 0 for one per available core.
    """

    def __init__(
        self,
        options: PredictOptions,
        classifier: Classifier,
        targets: Mapping[Path, Path],
        draw_timeline: Callable[[Path, TrackSummary, str], None],
        *,
        n_inner: int = 0,
    ) -> None:
        self.options = options
        self.classifier, self.prior = apply_prior(classifier, options.prior, "--prior")
        self.targets = targets
        self.draw_timeline = draw_timeline
        self.n_inner = n_inner
        self.show = _can_show(options)
        self.advance: Callable[[], object] = lambda: None
        self.origin = {"detector": options.detector, "model": classifier.name}
        self.counts = CountsSink(options.output_counts, classifier.class_names, spreadsheet=options.spreadsheet)
        self.sinks: list[Sink] = [self.counts]
        if options.output_csv:
            self.sinks.append(
                CsvSink(
                    options.output_csv,
                    classifier.class_names,
                    empty_rows=options.empty_rows,
                    spreadsheet=options.spreadsheet,
                )
            )
        if options.output_json:
            self.sinks.append(JsonSink(options.output_json))
        self.n_images = self.n_failed = self.n_without = 0
        # The smallest face that was not too small for the largest image, in pixels.
        self._not_searched = 0
        self._detector = make_detector(
            options.detector, model=options.detector_model, min_face_size=options.min_face_size
        )

    def recognizer(self, min_face_size: int | None = None) -> EmotionRecognizer:
        """Return a recognizer, for faces of at least a size unless an option states another."""
        return EmotionRecognizer(**self.recognizer_arguments(min_face_size))

    def recognizer_arguments(self, min_face_size: int | None = None) -> dict[str, Any]:
        """Return the arguments of that recognizer."""
        loaded = {"classifier": self.classifier, "prior": self.prior, "n_threads": self.n_inner}
        # The views belong to the classifier, which is loaded.
        arguments = self.options.recognizer_arguments() | loaded | {"test_time_augmentation": None}
        arguments["min_face_size"] = self.options.min_face_size or min_face_size
        return arguments

    def write(self, record: Record) -> None:
        """Write a record to each sink."""
        with hold_signals():
            for sink in self.sinks:
                sink.write(record)

    def fail(self, path: Path, message: object) -> None:
        """Report and count a file that could not be processed."""
        logger.error("error: %s", message)
        self.write({"file": display_path(path), "error": str(message)})
        self.n_failed += 1

    def run_images(self, paths: Sequence[Path]) -> None:
        """Process images."""
        for outcome in self._outcomes(paths):
            if isinstance(outcome, ImageResult):
                self._report_image(outcome)
            else:
                self.fail(*outcome)
            self.advance()
        self._hint()

    def _hint(self) -> None:
        """Say why faces may be missing."""
        if self.n_without and self.options.detector != "none":
            turned = "" if self.options.rotate == "auto" else "--rotate auto finds turned faces, and "
            logger.info(
                "no face in %s: %s--detector none takes an image as one face",
                "the image" if self.n_images == 1 else f"{self.n_without:,} of {self.n_images:,} images",
                turned,
            )
        if self._not_searched > MIN_FACE_SIZE and not self.options.min_face_size:
            logger.info(
                "in large images, faces under %d pixels were not looked for; see --min-face-size", self._not_searched
            )

    def _outcomes(self, paths: Sequence[Path]) -> Iterator[Outcome]:
        """Yield what became of each image."""
        options = self.options
        shared: dict[str, Any] = {
            "targets": self.targets,
            "batch_size": options.batch_size,
            "max_pixels": options.max_pixels,
        }
        n_threads = options.threads or available_cores()
        if options.workers == 1 or len(paths) == 1:
            recognizer = self.recognizer()
            return predict_in_threads(paths, recognizer, n_threads=min(n_threads, len(paths)), **shared)
        # Each process loads the models itself.
        arguments = options.recognizer_arguments() | {"n_threads": max(1, n_threads // options.workers)}
        return predict_in_processes(paths, arguments, n_workers=options.workers, **shared)

    def _report_image(self, result: ImageResult) -> None:
        """Write and print the faces of an image."""
        self.n_images += 1
        self.write(image_record(result, **self.origin))
        name = _one_line(result.path)
        for number, found in enumerate(result.faces, start=1):
            box = list(found.face.box)
            write_line(f"{name}: face {number}, box {box}, {found.emotion}, probability {found.probability:.3f}")
        if not result.faces:
            write_line(f"{name}: no face found.")
            self.n_without += 1
        if isinstance(self._detector, SizedDetector):
            self._not_searched = max(self._not_searched, self._detector.smallest_face(result.image_size))

    def run_video_file(self, path: Path) -> None:
        """Process a video file."""
        options = self.options
        try:
            with open_video(
                path, start=options.start, end=options.end, every=options.every, max_pixels=options.max_pixels
            ) as video:
                self._run_video(video, path, self.targets.get(path), sound=path)
            if video.truncated:
                raise VideoError(f"{path}: the file is cut off; the video ends after frame {video.n_read:,}.")
        except FerlibError as error:
            self.fail(path, error)
        self.advance()

    def run_camera(self, address: str) -> None:
        """Process a camera until it ends; Ctrl+C ends the recording normally."""
        options = self.options
        source = int(address) if address.isdecimal() else address
        name = Path(f"camera {hide_credentials(address)}")
        try:
            with open_camera(
                source, start=options.start, end=options.end, every=options.every, reconnect=options.reconnect
            ) as video:
                self._run_video(video, name, options.output_video)
            if video.truncated:
                raise VideoError(f"{video.name}: the stream broke off after frame {video.n_read:,}; see --reconnect.")
        except Terminated:
            raise
        except KeyboardInterrupt:
            pass
        except FerlibError as error:
            self.fail(name, error)

    def _run_video(self, video: Video, path: Path, target: Path | None, *, sound: Path | None = None) -> None:
        """Process the frames of a video; what was done until an error or Ctrl+C is kept."""
        recognizer, smallest = make_video_recognizer(
            self.recognizer, video.size, min_face_size=self.options.min_face_size, detector=self.options.detector
        )
        tracks, seconds, complete = TrackSummary(self.classifier.class_names), 0.0, False
        try:
            with contextlib.ExitStack() as stack:
                writer = stack.enter_context(self._writer(target, video, sound)) if target else None
                window = stack.enter_context(Window(video.name)) if self.show else None
                bar = stack.enter_context(progress_bar(total=video.n_frames, desc=path.name, unit="frame", leave=False))
                results = predict_video(
                    video,
                    recognizer,
                    path=path,
                    smoothing=self.options.smoothing,
                    read_ahead=self.options.threads != 1,
                    reid=self.options.reid,
                )
                for frame, result in results:
                    tracks.add(result)
                    self.write(image_record(result))
                    seconds = frame.time
                    bar.update()
                    annotated = annotate(frame.image, result.faces, in_place=True) if writer or window else frame.image
                    if writer:
                        writer.write(annotated, frame.time)
                    if window and not window.show(annotated):
                        break
                complete = True
        finally:
            if video.n_read:
                if complete:
                    summary = {"frames": video.n_read, "seconds": round(seconds, 3), "tracks": tracks.records()}
                    self.write({"file": display_path(path), **summary, "prior": self.prior.name, **self.origin})
                name = _one_line(path)
                write_line(f"{name}: {video.n_read:,} frames, {seconds:.1f} s, tracks: {len(tracks)}")
                for line in tracks.describe():
                    write_line(f"  {line}")
                if not len(tracks) and smallest:
                    logger.info(
                        "%s: after the first seconds, faces under %d pixels were not looked for; see --min-face-size.",
                        name,
                        smallest,
                    )
                if self.options.output_timeline:
                    self.draw_timeline(self.options.output_timeline, tracks, path.name)
                report_written(target, self.options.output_timeline)
                if target and target.suffix.lower() != ".avi" and not has_h264(target):
                    logger.info("for browsers, and with sound: pip install 'ferlib[video]'; VLC plays it as it is")

    def _writer(self, target: Path, video: Video, sound: Path | None) -> VideoWriter:
        """Return the writer of a video's annotated copy."""
        every = self.options.every
        rate = min(video.rate, 1 / every) if every else video.rate
        return VideoWriter(target, rate=rate, sound=sound, max_gap=max(MAX_GAP, 2 * every))


def _one_line(path: Path) -> str:
    """Return a path as it is printed, in one line whatever its name."""
    return display_path(path).replace("\n", "\\n")


def _can_show(options: PredictOptions) -> bool:
    wanted = options.webcam is not None if options.show is None else options.show
    if wanted and not has_display():
        logger.warning("No display found: running without a window (Ctrl+C to stop).")
        return False
    return wanted


def report_written(*paths: Path | None) -> None:
    """Log the paths of the outputs that were written."""
    written = [display_path(path) for path in paths if path]
    if written:
        logger.info("wrote %s", ", ".join(written))
