"""MTCNN's three networks on ONNX Runtime: PNet on the levels of an image pyramid, RNet and ONet on patches.

The weights are those of the ``mtcnn`` package (I. de Paz Centeno, MIT license), converted by
``tools/convert_mtcnn.py``.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TypeVar

import cv2
import numpy as np

from ferlib.core.backend import import_onnxruntime
from ferlib.core.threads import available_cores

#: Input sides in pixels of the networks; PNet is applied to every window of that side, every `PNET_STRIDE` pixels.
PNET_SIDE, RNET_SIDE, ONET_SIDE = 12, 24, 48
PNET_STRIDE = 2

# PNet runs on strips of a level with about this many pixels and RNet and ONet on so many patches at a time: the values
# between layers then stay in the processor's cache, and threads share the work.
_STRIP_PIXELS = 20_000
_BATCH = 16

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class MtcnnNetworks:
    """The three networks, and the threads that run them; may be shared by several threads.

    Parameters
    ----------
    n_threads : int
        Threads; 0 for one per available core.
    """

    def __init__(self, n_threads: int = 0) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        # Strips and batches run in parallel, which scales better than the operations of one of them.
        options.intra_op_num_threads = 1
        # Images and pyramid levels have many sizes: memory kept for each of them would not be used again.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        folder = resources.files("ferlib") / "assets" / "mtcnn"
        self._sessions = {
            name: onnxruntime.InferenceSession(
                (folder / f"{name}.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            for name in ("pnet", "rnet", "onet")
        }
        n_threads = n_threads or available_cores()
        self._pool = ThreadPoolExecutor(n_threads, "mtcnn") if n_threads > 1 else None

    def propose(
        self, pixels: np.ndarray, sizes: Sequence[tuple[int, int]], *, border: int = 0
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Apply PNet to an image at several sizes.

        Parameters
        ----------
        pixels : ndarray of shape (H, W, 3), dtype float32
            From -1 to 1.
        sizes : sequence of tuple of int
            (width, height) of each pyramid level.
        border : int
            Also look at windows that reach so many pixels of the level beyond the image's edge; an even number.

        Returns
        -------
        list of tuple
            For each level the values (5, rows, columns), float32, of the windows inside the image, and (n_outside, 7)
            those of the windows that reach beyond its edge, after their row and column. The values are the offsets of
            the four corners and the log-odds of a face.
        """
        levels = self._map(lambda size: cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), sizes)
        parts = [_level_parts(level, border) for level in levels]
        found = iter(self._apply_pnet([part for level in parts for part in level]))
        return [
            _join_parts(level, [next(found) for _ in own], border) for level, own in zip(levels, parts, strict=True)
        ]

    def _apply_pnet(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Apply PNet to images (h, w, 3), strip by strip."""
        strips = [(i, *strip) for i, image in enumerate(images) for strip in _strips(image)]
        # The largest first, so that the threads finish together.
        strips.sort(key=lambda strip: -strip[2].size)
        found = self._map(lambda strip: self._run("pnet", {"image": strip[2][np.newaxis]})[0], strips)
        rows: list[dict[int, np.ndarray]] = [{} for _ in images]
        for (image, start, _), values in zip(strips, found, strict=True):
            rows[image][start] = values
        return [np.concatenate([parts[start] for start in sorted(parts)], axis=1) for parts in rows]

    def refine(self, name: str, planes: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Apply RNet (``"rnet"``) or ONet (``"onet"``) to boxes of an image.

        Parameters
        ----------
        name : str
        planes : ndarray of shape (1, 3, H, W), dtype float32
            The image from -1 to 1.
        corners : ndarray of shape (n, 4)
            x0, y0, x1, y1 in pixels.

        Returns
        -------
        ndarray of shape (n, 5) or (n, 15), dtype float32
            Offsets of the four corners, of ONet five x and five y of landmarks, and the log-odds of a face.
        """
        side = RNET_SIDE if name == "rnet" else ONET_SIDE
        inputs = patch_inputs(planes.shape[2:], corners, side)

        def run(start: int) -> np.ndarray:
            batch = {key: values[start : start + _BATCH] for key, values in inputs.items()}
            return self._run(name, {"image": planes, **batch})

        return np.concatenate(self._map(run, range(0, len(corners), _BATCH)))

    def _map(self, function: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> list[_Result]:
        """Return a function's results for each task, in parallel."""
        if self._pool is None or len(tasks) < 2:
            return [function(task) for task in tasks]
        return list(self._pool.map(function, tasks))

    def _run(self, name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return a network's output."""
        return np.asarray(self._sessions[name].run(None, inputs)[0])


@functools.cache
def load_networks(n_threads: int) -> MtcnnNetworks:
    """Return the networks, which all detectors of the process with this number of threads share."""
    return MtcnnNetworks(n_threads)


def _n_windows(side: int) -> int:
    """Return the number of PNet's windows on a side; the last one reaches a pixel beyond an odd side."""
    return -(-(side - 2) // PNET_STRIDE) - 4


def _level_parts(level: np.ndarray, border: int) -> list[np.ndarray]:
    """Return a level (h, w, 3), with a border the level with its border and what is needed for the windows inside.

    With an even border, the windows inside are the same with and without it, except the last ones on an odd side.
    """
    if not border:
        return [level]
    last = PNET_SIDE - 1
    height, width = level.shape[:2]
    padded = cv2.copyMakeBorder(level, border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return [padded, *([level[-last:]] if height % 2 else []), *([level[:, -last:]] if width % 2 else [])]


def _join_parts(level: np.ndarray, values: list[np.ndarray], border: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the windows inside a level, and those outside with their rows and columns."""
    if not border:
        return values[0], np.empty((0, 7), np.float32)
    padded, *last = values
    height, width = level.shape[:2]
    first = border // PNET_STRIDE
    inside = np.s_[first : first + _n_windows(height), first : first + _n_windows(width)]
    plain = padded[(slice(None), *inside)].copy()
    if height % 2:
        plain[:, -1:] = last.pop(0)
    if width % 2:
        plain[:, :, -1:] = last.pop(0)
    is_outside = np.ones(padded.shape[1:], bool)
    is_outside[inside] = False
    rows, columns = np.nonzero(is_outside)
    return plain, np.column_stack([rows - first, columns - first, padded[:, rows, columns].T])


def _strips(level: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return overlapping strips of a level (h, w, 3) and the index of each one's first row of windows."""
    height, width = level.shape[:2]
    n_rows = _n_windows(height)
    step = max(8, _STRIP_PIXELS // width // PNET_STRIDE)
    overlap = PNET_SIDE - PNET_STRIDE
    # The last strip takes all that is left; a remainder of a few rows is not worth a call.
    starts = [start for start in range(0, n_rows, step) if not start or n_rows - start >= step // 2]
    ends = [PNET_STRIDE * start + overlap for start in starts[1:]] + [height]
    return [(start, level[PNET_STRIDE * start : end]) for start, end in zip(starts, ends, strict=True)]


def patch_inputs(size: tuple[int, ...], corners: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Return the inputs with which a network samples boxes (n, 4) of an image of (height, width).

    The samples are bilinear, at the same points as those of TensorFlow's ``crop_and_resize``, with which the thresholds
    were tuned: the first and the last one are on the corners, and they are 0 outside the image.
    """
    last = np.array(size[::-1]) - 1
    # crop_and_resize takes corners as fractions of the size but samples at fractions of the last pixel's position.
    starts, ends = corners[:, :2] * (last / (last + 1)), corners[:, 2:] * (last / (last + 1))
    points = starts[:, :, np.newaxis] + np.linspace(0, 1, side) * (ends - starts)[:, :, np.newaxis]
    inside = ((points >= 0) & (points <= last[:, np.newaxis])).astype(np.float32)
    # RoiAlign samples in the middle of bins.
    half = (ends - starts) / (side - 1) / 2
    return {
        "regions": np.concatenate([starts - half, ends + half], axis=1).astype(np.float32),
        "indices": np.zeros(len(corners), np.int64),
        "inside_y": inside[:, 1, np.newaxis, :, np.newaxis],
        "inside_x": inside[:, 0, np.newaxis, np.newaxis, :],
    }
