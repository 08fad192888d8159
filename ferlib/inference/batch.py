"""Recognize emotions in many image files."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ferlib.core.errors import ImageError
from ferlib.core.images import MAX_PIXELS, decode_image, read_image
from ferlib.inference.inputs import STANDARD_INPUT
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import ImageResult

# The faces of images with up to this many pixels in total are classified together: face crops are, photographs are not.
_MAX_BATCH_PIXELS = 4_000_000


def predict_images(
    paths: str | Path | Iterable[str | Path],
    recognizer: EmotionRecognizer,
    *,
    batch_size: int = 64,
    max_pixels: int = MAX_PIXELS,
    on_error: Callable[[Path, ImageError], None] | None = None,
) -> Iterator[tuple[np.ndarray, ImageResult]]:
    """Yield each image with the emotions of its faces; at most one batch is in memory.

    Parameters
    ----------
    paths : path or iterable of path
        Image files; ``-`` for standard input.
    recognizer : EmotionRecognizer
    batch_size : int
        How many small images are processed together.
    max_pixels : int
        Larger images are refused.
    on_error : callable, optional
        Called with the path of an image that cannot be read and its `ImageError`; then the other images follow. If it
        is None, the error is raised.

    Yields
    ------
    image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
    result : ImageResult
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    batch: list[tuple[Path, np.ndarray]] = []
    n_pixels = 0
    for path in map(Path, paths):
        try:
            image = _read(path, max_pixels)
        except ImageError as error:
            if on_error is None:
                raise
            on_error(path, error)
            continue
        size = image.shape[0] * image.shape[1]
        if batch and (n_pixels + size > _MAX_BATCH_PIXELS or len(batch) == batch_size):
            yield from _predict_batch(batch, recognizer)
            batch, n_pixels = [], 0
        batch.append((path, image))
        n_pixels += size
    yield from _predict_batch(batch, recognizer)


def _read(path: Path, max_pixels: int) -> np.ndarray:
    if path == STANDARD_INPUT:
        return decode_image(sys.stdin.buffer.read(), name="standard input", max_pixels=max_pixels)
    return read_image(path, max_pixels=max_pixels)


def _predict_batch(
    batch: list[tuple[Path, np.ndarray]], recognizer: EmotionRecognizer
) -> Iterator[tuple[np.ndarray, ImageResult]]:
    recognized = recognizer.recognize_all([image for _, image in batch])
    for (path, image), faces in zip(batch, recognized, strict=True):
        height, width = image.shape[:2]
        yield image, ImageResult(path, (height, width), faces, prior=recognizer.prior.name)
