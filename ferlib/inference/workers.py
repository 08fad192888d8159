"""Recognize emotions in many image files side by side, in threads or in processes, and write annotated copies."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from ferlib.core.errors import FerlibError
from ferlib.core.images import MAX_PIXELS
from ferlib.inference.annotate import annotate, write_image
from ferlib.inference.batch import predict_images
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import ImageResult

# Images that a process gets at a time: few enough that all processes finish together.
_MAX_CHUNK = 16

# What became of an image: its result, or its path and what went wrong.
Outcome = ImageResult | tuple[Path, str]

# The recognizer of this process and the arguments of `predict_in_threads`, if it is a worker.
_worker: tuple[EmotionRecognizer, dict[str, Any]] | None = None


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

    An image that ends the process that reads it is a failure like others.

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
        A process cannot start, for lack of memory for example.
    """
    # Importing it takes time when the command starts, which mostly needs one process.
    from ferlib.inference.processes import ProcessPool

    shared = {"batch_size": batch_size, "max_pixels": max_pixels}
    size = chunk_size(len(paths), n_workers)
    items = [(path, targets.get(path)) for path in paths]
    with ProcessPool(
        _predict_chunk, n_workers=n_workers, start=_start_worker, arguments=(dict(recognizer), shared), lost=_lost
    ) as pool:
        for outcomes in pool.map(items[start : start + size] for start in range(0, len(items), size)):
            yield from outcomes


def chunk_size(n_items: int, n_workers: int, *, maximum: int = _MAX_CHUNK) -> int:
    """Return how many items a process gets at a time."""
    return min(maximum, max(1, n_items // (4 * n_workers)))


def lost_sentence(path: str | Path) -> str:
    """Return what became of a file that ended its process."""
    return f"{path}: the process that read the file ended early; the file is damaged, or there is not enough memory."


def _lost(item: tuple[Path, Path | None]) -> Outcome:
    return item[0], lost_sentence(item[0])


def _start_worker(recognizer: dict[str, Any], shared: dict[str, Any]) -> None:
    """Create the recognizer of this process."""
    global _worker
    cv2.setNumThreads(recognizer["n_threads"])
    _worker = EmotionRecognizer(**recognizer), shared


def _predict_chunk(items: Sequence[tuple[Path, Path | None]]) -> list[Outcome]:
    """Recognize the emotions in some images, and write their annotated copies."""
    assert _worker is not None
    recognizer, shared = _worker
    targets = {path: target for path, target in items if target is not None}
    return list(predict_in_threads([path for path, _ in items], recognizer, targets=targets, **shared))
