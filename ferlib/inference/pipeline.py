"""The work of ``python -m ferlib.predict``: images, videos and a camera in; lines, tables and images out."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.errors import FerlibError
from ferlib.core.files import check_outputs
from ferlib.core.images import decode_image, read_image
from ferlib.faces import MIN_FACE_SIZE
from ferlib.inference.annotate import annotate, write_image
from ferlib.inference.inputs import STANDARD_INPUT, Source, find_sources, plan_annotated
from ferlib.inference.recognizer import EmotionRecognizer, ImageResult
from ferlib.inference.sinks import ResultFiles, display_path, image_record
from ferlib.inference.stream import recognize_stream
from ferlib.inference.tracks import People
from ferlib.runs.classifier import load_classifier
from ferlib.video.reader import WRITABLE_VIDEOS, Video, VideoWriter, open_camera, open_video

# Images go through the classifier together up to this many pixels in all: crops of faces do, photographs go alone.
_PIXELS_TOGETHER = 4_000_000

# In a video faces are looked for from this part of the shorter side on, unless told otherwise: 40 pixels of 480.
_VIDEO_FACE = 1 / 12


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """What ``python -m ferlib.predict`` is told; each field is the option of that name, which ``--help`` explains."""

    inputs: Sequence[Path]
    webcam: str | None
    run: Path | None
    detector: str
    min_face_size: int | None
    min_confidence: float
    margin: float
    min_probability: float
    smoothing: float
    show: bool | None
    output_image: Path | None
    output_dir: Path | None
    output_video: Path | None
    output_csv: Path | None
    counts_csv: Path | None
    output_json: Path | None
    timeline: Path | None
    resume: bool
    max_pixels: int
    batch_size: int
    threads: int


class PredictionJob:
    """One call of ``python -m ferlib.predict``: what to read, where to write, and how much went wrong.

    Parameters
    ----------
    options : PredictionOptions
    stack : contextlib.ExitStack
        Closes the files when the job is done or broken off.
    tell, warn : callable
        Called with each line of what was found, and with each of what failed or was written.
    draw_timeline : callable
        Called with a path, a video's `People` and its name, to draw their figure there.

    Raises
    ------
    FerlibError
        The model cannot be loaded, or an output cannot be written: all of that is known before the first image.
    """

    def __init__(
        self,
        options: PredictionOptions,
        stack: contextlib.ExitStack,
        *,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
        draw_timeline: Callable[[Path, People, str], None],
    ) -> None:
        self.options = options
        self._tell, self._warn, self._draw_timeline = tell, warn, draw_timeline
        self.failed = self.n_images = 0
        images = options.output_dir or options.output_image
        sources, empty = find_sources(options.inputs, skip=images)
        targets = self._plan(sources, images)
        tables = (options.output_csv, options.counts_csv, options.output_json)
        outputs = [*targets, *tables, options.timeline, options.output_video if options.webcam is not None else None]
        check_outputs([path for path in outputs if path], [source.path for source in sources])
        self.pairs = list(zip(sources, targets, strict=True))
        self.classifier = load_classifier(options.run, n_threads=options.threads)
        self.recognizer = self._recognizer(options.min_face_size or MIN_FACE_SIZE)
        self.show = self._may_show()
        self.files = stack.enter_context(
            ResultFiles(
                self.classifier.class_names,
                faces_csv=options.output_csv,
                json_lines=options.output_json,
                counts_csv=options.counts_csv,
                resume=options.resume,
            )
        )
        for folder in empty:
            self._fail(folder, f"{folder}: the folder holds no image or video.")

    def _plan(self, sources: Sequence[Source], images: Path | None) -> list[Path | None]:
        """Return where each source's annotated copy goes, None for nowhere."""
        options = self.options
        n_videos = sum(source.is_video for source in sources) + (options.webcam is not None)
        for option, path in (("--output-video", options.output_video), ("--timeline", options.timeline)):
            if path and n_videos != 1:
                raise FerlibError(f"{option} is for one video, but there are {n_videos}; see --output-dir.")
        if options.output_video and options.output_video.suffix.lower() not in WRITABLE_VIDEOS:
            raise FerlibError(f"{options.output_video}: videos are written as {', '.join(sorted(WRITABLE_VIDEOS))}.")
        if options.timeline and options.timeline.suffix.lower() != ".png":
            raise FerlibError(f"{options.timeline}: the timeline is written as .png.")
        if not images:
            return [options.output_video if source.is_video else None for source in sources]
        if options.output_image:
            # A video among them needs a folder, or its own option.
            photos = [source for source in sources if not source.is_video]
            planned = iter(plan_annotated(photos, images))
            return [options.output_video if source.is_video else next(planned) for source in sources]
        return list(plan_annotated(sources, images, folder=True))

    def _recognizer(self, min_face_size: int) -> EmotionRecognizer:
        """Return a recognizer that looks for faces of a size."""
        options = self.options
        return EmotionRecognizer(
            options.detector,
            self.classifier,
            margin=options.margin,
            min_probability=options.min_probability,
            min_face_size=min_face_size,
            min_confidence=options.min_confidence,
            n_threads=options.threads,
        )

    def _may_show(self) -> bool:
        """Return whether frames are shown in a window; say so where they cannot be."""
        wanted = self.options.webcam is not None if self.options.show is None else self.options.show
        if not wanted:
            return False
        from ferlib.video.window import has_display

        if not has_display():
            self._warn("no display here, so no window; outputs are written all the same (Ctrl+C ends)")
            return False
        return True

    def do(self) -> bool:
        """Do everything; return whether nothing failed."""
        if self.options.webcam is not None:
            self._do_camera()
        left = [(source, target) for source, target in self.pairs if display_path(source.path) not in self.files.done]
        if len(left) < len(self.pairs):
            self._warn(f"{len(self.pairs) - len(left):,} of {len(self.pairs):,} were done before")
        total, several = len(self.pairs), len(self.pairs) > 1
        try:
            with progress_bar(total=total, initial=total - len(left), unit="file", disable=not several) as bar:
                for chunk in self._chunks(left):
                    self._do_images(chunk) if chunk[0][0].is_video is False else self._do_video(*chunk[0][:2])
                    bar.update(len(chunk))
        finally:
            written = [path for path in (self.options.output_image, self.options.output_dir) if path and self.n_images]
            self._tell_written([*written, *self.files.paths])
        self._tell_summary()
        return not self.failed

    def _chunks(self, pairs: Sequence[tuple[Source, Path | None]]) -> Iterator[list[tuple]]:
        """Yield images to do together as (source, target, pixels), and each video alone without pixels."""
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
            if chunk and (pixels + size > _PIXELS_TOGETHER or len(chunk) == self.options.batch_size):
                yield chunk
                chunk, pixels = [], 0
            chunk.append((source, target, image))
            pixels += size
        if chunk:
            yield chunk

    def _read(self, source: Source) -> np.ndarray | None:
        """Return an image; one that cannot be read is told and counted, and the work goes on."""
        try:
            if source.path == STANDARD_INPUT:
                data = sys.stdin.buffer.read()
                return decode_image(data, name="standard input", max_pixels=self.options.max_pixels)
            return read_image(source.path, max_pixels=self.options.max_pixels)
        except FerlibError as error:
            self._fail(source.path, str(error))
            return None

    def _do_images(self, chunk: Sequence[tuple[Source, Path | None, np.ndarray | None]]) -> None:
        """Do some images together."""
        readable = [(source, target, image) for source, target, image in chunk if image is not None]
        recognized = self.recognizer.recognize_all([image for _, _, image in readable])
        for (source, target, image), faces in zip(readable, recognized, strict=True):
            result = ImageResult(source.path, image.shape[:2], faces)
            if target:
                try:
                    write_image(target, annotate(image, faces))
                except FerlibError as error:
                    self._fail(source.path, str(error))
                    continue
            self.n_images += 1
            self.files.add({**image_record(result), **self._made_by()})
            for line in _describe_faces(result):
                self._tell(line)

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
        camera = int(self.options.webcam) if self.options.webcam.isdecimal() else self.options.webcam
        name = Path(f"camera {camera}")
        with open_camera(camera) as video, contextlib.suppress(KeyboardInterrupt):
            self._do_frames(video, name, self.options.output_video)

    def _do_frames(self, video: Video, path: Path, target: Path | None) -> None:
        """Do the frames of a video or camera, and what is known at their end, be it an early one."""
        people = People(self.classifier.class_names)
        moment, complete = 0.0, False
        try:
            with contextlib.ExitStack() as stack:
                writer = stack.enter_context(VideoWriter(target, rate=video.rate)) if target else None
                window = self._open_window(stack, video.name)
                bar = stack.enter_context(progress_bar(total=video.n_frames, desc=path.name, unit="frame", leave=False))
                frames = iter(video)
                first = next(frames)
                size = self.options.min_face_size or max(MIN_FACE_SIZE, round(min(first.image.shape[:2]) * _VIDEO_FACE))
                recognizer = self._recognizer(size)
                stream = recognize_stream(
                    itertools.chain([first], frames), recognizer, path=path, smoothing=self.options.smoothing
                )
                for frame, result in stream:
                    people.add(result)
                    self.files.add(image_record(result))
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
        from ferlib.video.window import Window

        return stack.enter_context(Window(name))

    def _end_video(
        self, video: Video, path: Path, target: Path | None, people: People, moment: float, *, complete: bool
    ) -> None:
        """Write and print what is known at the end of a video."""
        if complete:
            record = {"file": display_path(path), "frames": video.n_read, "seconds": round(moment, 3)}
            self.files.add({**record, "people": people.records(), **self._made_by()})
        self._tell(f"{display_path(path)}: {video.n_read:,} frames, {moment:.1f} s, people: {len(people)}")
        for line in people.describe():
            self._tell(f"  {line}")
        written = [target] if target else []
        if self.options.timeline:
            self._draw_timeline(self.options.timeline, people, path.name)
            written.append(self.options.timeline)
        self._tell_written(written)

    def _made_by(self) -> dict[str, str]:
        """Return what a record says about its origin."""
        return {"detector": self.options.detector, "model": self.classifier.name}

    def _fail(self, path: Path, sentence: str) -> None:
        """Tell and count what could not be done."""
        self._warn(f"error: {sentence}")
        self.files.add({"file": display_path(path), "error": sentence})
        self.failed += 1

    def _tell_written(self, paths: Sequence[Path]) -> None:
        """Say what was written."""
        if paths:
            self._warn(f"wrote {', '.join(map(display_path, paths))}")

    def _tell_summary(self) -> None:
        """Tell the totals of several images."""
        if self.n_images < 2:
            return
        counts = {emotion: count for emotion, count in self.files.count_emotions().items() if count}
        listed = ", ".join(f"{emotion} {count:,}" for emotion, count in counts.items())
        faces = sum(counts.values())
        self._tell(f"{self.n_images:,} images, {faces:,} faces{': ' if listed else ''}{listed}")


def _describe_faces(result: ImageResult) -> list[str]:
    """Return a line per face."""
    name = display_path(result.path)
    if not result.faces:
        return [f"{name}: no face found."]
    return [
        f"{name}: face {number}, box {list(found.face.box)}, {found.emotion}, probability {found.probability:.3f}"
        for number, found in enumerate(result.faces, start=1)
    ]
