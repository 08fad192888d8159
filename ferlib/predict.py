"""Detect faces in images, videos and cameras and classify their expressions: ``ferlib predict photo.jpg``."""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path

from ferlib.core.console import EXIT_FAILED, EXIT_OK, logger, progress_bar, run, write_line
from ferlib.core.errors import OptionError
from ferlib.core.files import check_outputs
from ferlib.core.options import OptionParser
from ferlib.inference import TrackSummary
from ferlib.inference.inputs import InputFile, find_inputs, output_paths
from ferlib.inference.job import PredictionJob, report_written
from ferlib.inference.options import PredictOptions
from ferlib.inference.results import display_path
from ferlib.inference.sinks import read_finished
from ferlib.runs.classifier import load_classifier

EXAMPLES = """examples:
  ferlib predict photo.jpg
  ferlib predict photo.jpg --output-image annotated.png --output-csv faces.csv
  ferlib predict album/ more.png 'scans/**/*.tif' --output-dir annotated --output-counts counts.csv
  ferlib predict album/ --output-json album.jsonl --resume
  ferlib predict album/ --output-csv faces.csv --workers 16
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
    # Images are processed side by side with one thread each, the frames of a video one by one.
    many_images = len(inputs) > 1 and not any(item.is_video for item in inputs) and options.webcam is None
    n_inner = 1 if many_images else options.threads or 0
    classifier = load_classifier(
        options.run,
        model=options.model or "default",
        test_time_augmentation=options.test_time_augmentation,
        n_threads=n_inner,
    )
    job = PredictionJob(options, classifier, targets, _draw_timeline, n_inner=n_inner)
    earlier = read_finished(options.output_json) if options.resume and options.output_json else []
    done = {record["file"] for record in earlier}
    remaining = [item for item in inputs if display_path(item.path) not in done]
    n_done = len(inputs) - len(remaining)
    with contextlib.ExitStack() as stack:
        for sink in job.sinks:
            stack.enter_context(sink)
        stack.callback(
            lambda: report_written(
                *((options.output_image, options.output_dir) if job.n_images else ()),
                *(sink.path for sink in job.sinks),
            )
        )
        for record in earlier:
            job.write(record)
        for folder in empty:
            job.fail(folder, f"{folder}: the folder contains no image or video.")
        if options.webcam is not None:
            job.run_camera(options.webcam)
        if n_done:
            logger.info("%s of %s files are already done", f"{n_done:,}", f"{len(inputs):,}")
        if len(inputs) > 1:
            job.advance = stack.enter_context(progress_bar(total=len(inputs), initial=n_done, unit="file")).update
        for is_video, group in itertools.groupby(remaining, key=lambda item: item.is_video):
            paths = [item.path for item in group]
            if is_video:
                for path in paths:
                    job.run_video_file(path)
            else:
                job.run_images(paths)
    if job.n_images > 1:
        counts = ", ".join(f"{emotion} {n:,}" for emotion, n in job.counts.counts.items() if n)
        n_faces = sum(job.counts.counts.values())
        write_line(f"{job.n_images:,} images, {n_faces:,} faces{': ' if counts else ''}{counts}")
    return EXIT_FAILED if job.n_failed else EXIT_OK


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


def _draw_timeline(path: Path, tracks: TrackSummary, title: str) -> None:
    from ferlib import plots

    longest = sorted(tracks, key=lambda track: -track.n_frames)[:_MAX_TRACKS_DRAWN]
    drawn = {f"track {track.track_id}": track.timeline for track in sorted(longest, key=lambda track: track.track_id)}
    omitted = len(tracks) - len(drawn)
    title += f" ({omitted} shorter tracks omitted)" if omitted else ""
    plots.use_style()
    plots.save_figure(plots.plot_timeline(drawn, tracks.class_names, title=title), path.parent, path.stem)


if __name__ == "__main__":
    run(main)
