"""Measure how many faces a model file classifies per second."""

import time
from dataclasses import dataclass

import numpy as np

from ferlib.core.images import fit_to_model
from ferlib.runs.model_file import ModelFile

# Calls per measurement, whose median counts, and faces per batch.
_N_CALLS, _BATCH_SIZE = 15, 64


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The size and the speed of a model file on all cores.

    Attributes
    ----------
    megabytes : float
        10^6 bytes.
    batch_faces_per_second : float
        In batches of 64.
    single_faces_per_second : float
        One face per call.
    """

    megabytes: float
    batch_faces_per_second: float
    single_faces_per_second: float


def measure_speed(model: ModelFile, images: np.ndarray) -> Speed:
    """Return a model file's size and speed on images (n, H, W, C), uint8; decoding and resizing do not count."""
    faces = fit_to_model(images[:_BATCH_SIZE], image_size=model.image_size, channels=model.channels)
    batch = np.resize(faces, (_BATCH_SIZE, *faces.shape[1:]))
    return Speed(
        megabytes=model.path.stat().st_size / 1e6,
        batch_faces_per_second=_faces_per_second(model, batch),
        single_faces_per_second=_faces_per_second(model, batch[:1]),
    )


def speed_rows(speed: Speed) -> list[tuple[str, str, str]]:
    """Return the name and value of each measurement."""
    return [
        ("file size", f"{speed.megabytes:.2f}", "MB"),
        ("faces per second", f"{speed.batch_faces_per_second:,.0f}", f"in batches of {_BATCH_SIZE}"),
        ("faces per second, one per call", f"{speed.single_faces_per_second:,.0f}", ""),
    ]


def _faces_per_second(model: ModelFile, images: np.ndarray) -> float:
    """Return the median over several calls, after one that is not measured."""
    model.predict_proba(images)
    seconds = []
    for _ in range(_N_CALLS):
        started = time.perf_counter()
        model.predict_proba(images)
        seconds.append(time.perf_counter() - started)
    return len(images) / float(np.median(seconds))
