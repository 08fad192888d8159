"""Check that an exported network gives the same probabilities as the original."""

from pathlib import Path

import numpy as np

from ferlib.core.backend import import_onnxruntime
from ferlib.core.errors import FerlibError


def random_images(n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniform noise to compare networks on, uint8 of shape ``(n, *shape)``."""
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def run_onnx(path: Path, images: np.ndarray, output: str | None = None) -> np.ndarray:
    """Return an ONNX network's probabilities (n, n_classes) for uint8 images (n, H, W, C).

    `output` is the name of one of several outputs; the first one if None.
    """
    onnxruntime = import_onnxruntime()
    # From bytes, because a temporary file may be replaced while the session is open.
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"], enable_fallback=0)
    names = None if output is None else [output]
    return np.asarray(session.run(names, {session.get_inputs()[0].name: images.astype(np.float32)})[0])


def require_agreement(found: np.ndarray, expected: np.ndarray, format_name: str, *, tolerance: float = 1e-4) -> None:
    """Raise FerlibError unless all probabilities (n, n_classes) differ by less than a tolerance."""
    difference = float(np.abs(found - expected).max())
    if not difference < tolerance:
        raise FerlibError(
            f"The {format_name} network's probabilities differ from the original's by up to {difference:.1e}; "
            f"less than {tolerance:g} is allowed."
        )
