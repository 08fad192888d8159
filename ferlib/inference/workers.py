"""Recognize emotions in many image files side by side, in threads or in processes, and write annotated copies."""

import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from ferlib.core.errors import FerlibError
from ferlib.core.images import MAX_PIXELS
from ferlib.inference.annotate import annotate, write_image
from ferlib.inference.batch import predict_images
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import ImageResult

# These imports take time when the command starts, which mostly needs one process.
if TYPE_CHECKING:
    from concurrent.futures import Future

# Images that a process gets at a time: few enough that all processes finish together.
_MAX_CHUNK = 16

# What became of an image: its result, or its path and what went wrong.
Outcome = ImageResult | tuple[Path, str]

# The recognizer of this process, if it is a worker.
_recognizer: EmotionRecognizer | None = None


def predict_in_threads(
    paths: Sequence[Path],
    recognizer: EmotionRecognizer,
    *,
    targets: Mapping[Path, Path],
    batch_size: int = 64,
    max_pixels: int = MAX_PIXELS,
    n_threads: int = 1,
) -> Iterator[Outcome]:
    """Yield what became of each image, in order except for failures; see `predict_in_processes`."""
    failures: list[Outcome] = []
    results = predict_images(
        paths,
        recognizer,
        batch_size=batch_size,
        max_pixels=max_pixels,
        on_error=lambda path, error: failures.append((path, str(error))),
        n_threads=n_threads,
    )
    for image, result in results:
        yield from failures
        failures.clear()
        if result.path in targets:
            try:
                write_image(targets[result.path], annotate(image, result.faces, in_place=True))
            except FerlibError as error:
                yield result.path, str(error)
                continue
        yield result
    yield from failures


def predict_in_processes(
    paths: Sequence[Path],
    recognizer: Mapping[str, Any],
    *,
    n_workers: int,
    targets: Mapping[Path, Path],
    batch_size: int = 64,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Outcome]:
    """Yield what became of each image, in order except for failures.

    Parameters
    ----------
    paths : sequence of Path
        Image files.
    recognizer : mapping
        Arguments of `EmotionRecognizer`, which each process creates for itself.
    n_workers : int
        Number of processes.
    targets : mapping of Path to Path
        Where annotated copies are written, by the image's path.
    batch_size, max_pixels
        See `predict_images`.

    Raises
    ------
    FerlibError
        A process ended early, for lack of memory for example.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    n_chunk = min(_MAX_CHUNK, max(1, len(paths) // (4 * n_workers)))
    # A fork would copy the threads' locks in whatever state they are.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, context, initializer=_start_worker, initargs=(dict(recognizer),))
    running: deque[Future[list[Outcome]]] = deque()
    try:
        for start in range(0, len(paths), n_chunk):
            chunk = paths[start : start + n_chunk]
            copies = {path: targets[path] for path in chunk if path in targets}
            if len(running) > 2 * n_workers:
                yield from running.popleft().result()
            running.append(pool.submit(_predict_chunk, chunk, copies, batch_size, max_pixels))
        while running:
            yield from running.popleft().result()
    except BrokenProcessPool:
        raise FerlibError("A worker process ended early; is there enough memory? Try fewer --workers.") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(recognizer: dict[str, Any]) -> None:
    """Create the recognizer of this process."""
    global _recognizer
    # Ctrl+C reaches all processes; the main one stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(recognizer["n_threads"])
    _recognizer = EmotionRecognizer(**recognizer)


def _predict_chunk(
    paths: Sequence[Path], targets: Mapping[Path, Path], batch_size: int, max_pixels: int
) -> list[Outcome]:
    """Recognize the emotions in some images, and write their annotated copies."""
    assert _recognizer is not None
    return list(predict_in_threads(paths, _recognizer, targets=targets, batch_size=batch_size, max_pixels=max_pixels))
