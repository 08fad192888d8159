"""Recognize emotions in many image files: as a stream of results, or as one record per file, whatever it contains."""

import hashlib
import itertools
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ferlib import __version__
from ferlib.core.errors import ImageError
from ferlib.core.images import MAX_PIXELS, decode_image, read_image
from ferlib.inference.inputs import STANDARD_INPUT
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import ImageResult, Record, image_record, to_frame

# Importing threads takes time when the command starts, which often reads one image.
if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import pandas as pd

logger = logging.getLogger(__name__)

# The faces of images with up to this many pixels in total are classified together: face crops are, photographs are not.
_MAX_BATCH_PIXELS = 1_000_000

# For each thread, images with this many pixels in total are read ahead, and as many wait for their turn.
_MAX_PIXELS_AHEAD = 16_000_000

T = TypeVar("T")
_Batch = list[tuple[T, np.ndarray]]
_Results = list[tuple[np.ndarray, ImageResult]]


def predict_images(
    paths: str | Path | Iterable[str | Path],
    recognizer: EmotionRecognizer,
    *,
    batch_size: int = 64,
    max_pixels: int = MAX_PIXELS,
    on_error: Callable[[Path, ImageError], None] | None = None,
    n_threads: int = 1,
) -> Iterator[tuple[np.ndarray, ImageResult]]:
    """Yield each image with the emotions of its faces, in order; a few batches per thread are in memory.

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
    n_threads : int
        Threads that read and process images side by side. The recognizer should then use one thread itself.

    Yields
    ------
    image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
    result : ImageResult
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    pool = _make_pool(n_threads) if n_threads > 1 else None
    limit = n_threads * _MAX_PIXELS_AHEAD
    try:
        images = _read_all(map(Path, paths), max_pixels, on_error, pool, n_threads, limit)
        batches = _group(images, batch_size)
        if pool is None:
            for batch in batches:
                yield from _predict_batch(batch, recognizer)
            return
        running: deque[tuple[int, Future[_Results]]] = deque()
        for batch in batches:
            n_pixels = sum(image.shape[0] * image.shape[1] for _, image in batch)
            while running and (len(running) > n_threads or sum(n for n, _ in running) + n_pixels > limit):
                yield from running.popleft()[1].result()
            running.append((n_pixels, pool.submit(_predict_batch, batch, recognizer)))
        while running:
            yield from running.popleft()[1].result()
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _make_pool(n_threads: int) -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(n_threads, "images")


def _read_all(
    paths: Iterator[Path],
    max_pixels: int,
    on_error: Callable[[Path, ImageError], None] | None,
    pool: "ThreadPoolExecutor | None",
    n_ahead: int,
    limit: int,
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield the images that can be read; with a pool, others are read ahead."""
    waiting: deque[tuple[Path, Future[np.ndarray]]] = deque()
    n_allowed = n_ahead
    while True:
        if pool is not None:
            for path in itertools.islice(paths, max(0, n_allowed - len(waiting))):
                waiting.append((path, pool.submit(_read, path, max_pixels)))
        future = None
        if waiting:
            path, future = waiting.popleft()
        else:
            following = next(paths, None)
            if following is None:
                return
            path = following
        try:
            image = _read(path, max_pixels) if future is None else future.result()
        except ImageError as error:
            if on_error is None:
                raise
            on_error(path, error)
            continue
        # The images of an album are mostly of one size.
        n_allowed = min(n_ahead, max(1, limit // (image.shape[0] * image.shape[1])))
        yield path, image


def _read(path: Path, max_pixels: int) -> np.ndarray:
    if path == STANDARD_INPUT:
        return decode_image(sys.stdin.buffer.read(), name="standard input", max_pixels=max_pixels)
    return read_image(path, max_pixels=max_pixels)


def _group(images: Iterable[tuple[T, np.ndarray]], batch_size: int) -> Iterator[_Batch[T]]:
    """Yield batches of images that are processed together."""
    batch: _Batch[T] = []
    n_pixels = 0
    for key, image in images:
        size = image.shape[0] * image.shape[1]
        if batch and (n_pixels + size > _MAX_BATCH_PIXELS or len(batch) == batch_size):
            yield batch
            batch, n_pixels = [], 0
        batch.append((key, image))
        n_pixels += size
    if batch:
        yield batch


def _predict_batch(batch: _Batch[Path], recognizer: EmotionRecognizer) -> _Results:
    recognized = recognizer.recognize_all([image for _, image in batch])
    return [
        (image, ImageResult(path, (image.shape[0], image.shape[1]), faces, prior=recognizer.prior.name))
        for (path, image), faces in zip(batch, recognized, strict=True)
    ]


def tabulate(
    paths: str | Path | Iterable[str | Path],
    recognizer: EmotionRecognizer | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> "pd.DataFrame":
    """Return a data frame with one row per face of one or several image files.

    Files that cannot be read are logged and left out; ``table.attrs["errors"]`` has the sentence of each by its path.

    Parameters
    ----------
    paths : path or iterable of path
    recognizer : EmotionRecognizer, optional
        One with the default options if None.
    max_pixels : int
        Larger images are left out.

    Returns
    -------
    DataFrame
        With the columns of `ferlib.inference.results.face_rows`.
    """
    recognizer = recognizer or EmotionRecognizer()
    errors: dict[str, str] = {}

    def on_error(path: Path, error: ImageError) -> None:
        logger.warning("left out: %s", error)
        errors[str(path)] = str(error)

    images = predict_images(paths, recognizer, max_pixels=max_pixels, on_error=on_error)
    table = to_frame((result for _, result in images), recognizer.classifier.class_names)
    table.attrs["errors"] = errors
    return table


class BatchScorer:
    """Turn the contents of image files into records: exactly one per file, in order, whatever the file contains.

    It knows nothing of the program that distributes the files: `ferlib score`, Ray, Spark and others call it in each of
    their processes.

    Parameters
    ----------
    batch_size : int
        How many small images are processed together.
    max_pixels : int
        Larger images are not processed; their records have an error.
    recognizer : object
        Arguments of `EmotionRecognizer`, with one thread unless `n_threads` says otherwise.

    Attributes
    ----------
    recognizer : EmotionRecognizer
    origin : dict
        What all records have in common: ``prior``, ``detector``, ``model`` and ``ferlib_version``.

    Examples
    --------
    >>> scorer = BatchScorer(detector="none")
    >>> [record] = scorer([("a.jpg", b"not an image")])
    >>> record["faces"], record["error"]
    (None, 'a.jpg: not a readable image (unknown image format).')
    """

    def __init__(self, *, batch_size: int = 64, max_pixels: int = MAX_PIXELS, **recognizer: Any) -> None:
        self.recognizer = EmotionRecognizer(**{"n_threads": 1, **recognizer})
        self.origin = describe_origin(self.recognizer, recognizer.get("detector", "mtcnn"))
        self.batch_size = batch_size
        self.max_pixels = max_pixels

    def __call__(self, files: Iterable[tuple[str, bytes | ImageError]]) -> list[Record]:
        """Return the record of each file.

        Parameters
        ----------
        files : iterable of (str, bytes or ImageError)
            The path of each file, and its content, or the error that reading it gave.

        Returns
        -------
        list of dict
            JSON values: ``path``, ``sha256`` of the content, ``width`` and ``height`` (pixels), ``error`` (a sentence),
            ``faces`` as in `ferlib.inference.results.image_record`, and `origin`. ``error`` is None unless the file
            cannot be read; then ``faces`` is None, and so is what is not known.
        """
        records: list[Record] = []
        for batch in _group(self._decode(files, records), self.batch_size):
            self._recognize(batch)
        return records

    def _decode(
        self, files: Iterable[tuple[str, bytes | ImageError]], records: list[Record]
    ) -> Iterator[tuple[Record, np.ndarray]]:
        """Append the record of each file, and yield those of images with their images."""
        for path, content in files:
            record = empty_record(path, self.origin)
            records.append(record)
            if isinstance(content, ImageError):
                record["error"] = str(content)
                continue
            record["sha256"] = hashlib.sha256(content).hexdigest()
            try:
                yield record, decode_image(content, name=path, max_pixels=self.max_pixels)
            except ImageError as error:
                record["error"] = str(error)

    def _recognize(self, batch: _Batch[Record]) -> None:
        """Complete the records of some images."""
        images = [image for _, image in batch]
        try:
            found = self.recognizer.recognize_all(images)
        # An image for which memory is short, or on which a library fails, must not cost those that came with it.
        except Exception as error:
            if len(batch) > 1:
                for item in batch:
                    self._recognize([item])
                return
            batch[0][0]["error"] = f"{batch[0][0]['path']}: the image cannot be processed ({error!r})."
            return
        for (record, image), faces in zip(batch, found, strict=True):
            made = image_record(ImageResult(Path(record["path"]), (image.shape[0], image.shape[1]), faces))
            record |= {name: made[name] for name in ("width", "height", "faces")}


def describe_origin(recognizer: EmotionRecognizer, detector: str) -> dict[str, str]:
    """Return what the records of one recognizer have in common; `detector` is the detector's name."""
    return {
        "prior": recognizer.prior.name,
        "detector": detector,
        "model": recognizer.classifier.name,
        "ferlib_version": __version__,
    }


def empty_record(path: str, origin: dict[str, str], error: str | None = None) -> Record:
    """Return the record of an image of which nothing is known, because of an error if one is given."""
    return {
        "path": path,
        **dict.fromkeys(("sha256", "width", "height")),
        "error": error,
        "faces": None,
        **origin,
    }
