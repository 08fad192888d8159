"""The page as files for a web server: the page itself, the networks, and ONNX Runtime for browsers."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import ferlib
from ferlib.core.emotions import class_colors
from ferlib.core.errors import ArtifactError, FerlibError
from ferlib.faces import MIN_CONFIDENCE, MIN_FACE_SIZE
from ferlib.inference.recognizer import DEFAULT_PRIOR
from ferlib.inference.stream import DEFAULT_SMOOTHING, FIRST_FACE, VIDEO_FACE
from ferlib.runs.folder import MODEL_CARD, ONNX_MODEL, Run, model_title, pretrained_run_dir
from ferlib.runs.prior import PRIORS, make_prior
from ferlib.runs.records import Calibration, RunConfig

#: Names of files, relative to the page's address, to a file on disk or to the content.
PageFiles = dict[str, Path | bytes]

# The page cannot build the ten crops, and would be too slow with them.
_VIEWS = ("none", "flip")

# A larger photograph takes more memory than some phones have.
_MAX_PIXELS = 50_000_000


def page_files(run: str | Path | Run | None = None, *, service: str | None = None) -> PageFiles:
    """Return the files of the page.

    Parameters
    ----------
    run : path or Run, optional
        A run folder with an ONNX network; the pretrained model if None.
    service : str, optional
        The address, relative to the page, of a service that takes an image and returns its record. A browser without
        WebAssembly offers to send images there.

    Raises
    ------
    ArtifactError
        The folder is missing, or its model cannot run in a browser.
    """
    root = Path(str(resources.files("ferlib")))
    static, detector = root / "web" / "static", root / "assets" / "mtcnn"
    run = Run(pretrained_run_dir() if run is None else run)
    files: PageFiles = {
        path.relative_to(static).as_posix(): path for path in sorted(static.rglob("*")) if path.is_file()
    }
    # PNet as it is fastest in browsers; see tools/convert_mtcnn.py.
    networks = {name: detector / f"{name}.onnx" for name in ("rnet", "onet")} | {"pnet": detector / "pnet_plain.onnx"}
    config = page_config(run, networks=(*networks, "emotion"), service=service)
    networks["emotion"] = run.path / ONNX_MODEL
    files |= {f"models/{name}.onnx": path for name, path in networks.items()}
    files["models/mtcnn-license.txt"] = detector / "LICENSE"
    files["page.json"] = json.dumps(config, allow_nan=False).encode()
    return files


def page_config(run: Run, *, networks: tuple[str, ...], service: str | None = None) -> dict[str, Any]:
    """Return what the page has to know about a run and about the defaults of ``ferlib predict``, as JSON values."""
    config = run.config
    if not (run.path / ONNX_MODEL).is_file():
        raise ArtifactError(f"{run.path} has no {ONNX_MODEL}, which the page needs; export a single network.")
    if config.test_time_augmentation not in _VIEWS:
        raise ArtifactError(f"{run.path} averages {config.test_time_augmentation} views, which the page cannot make.")
    card = run.path / MODEL_CARD
    return {
        "version": ferlib.__version__,
        "model": model_title(run, config),
        "detector": "mtcnn",
        "class_names": list(config.class_names),
        "colors": class_colors(config.class_names),
        "image_size": list(config.image_size),
        "channels": config.channels,
        "test_time_augmentation": config.test_time_augmentation,
        "calibrations": [calibration.to_json() if calibration else None for calibration in _calibrations(config)],
        "crop": config.crop.to_json(),
        "priors": _priors(config),
        "min_face_size": MIN_FACE_SIZE,
        "video_face": VIDEO_FACE,
        "first_face": FIRST_FACE,
        "min_confidence": MIN_CONFIDENCE,
        "smoothing": DEFAULT_SMOOTHING,
        "max_pixels": _MAX_PIXELS,
        "networks": {name: f"models/{name}.onnx" for name in networks},
        "model_card": card.read_text(encoding="utf-8") if card.is_file() else "",
        "service": service,
    }


def _calibrations(config: RunConfig) -> list[Calibration | None]:
    """Return the calibration of each output of a network, in their order."""
    if config.photographs is None:
        return [config.calibration]
    return [config.calibration, config.photographs.calibration]


def _priors(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Return the number of the output and the factors of each class prior that a run can have, the default first."""
    priors = {}
    for name in sorted(PRIORS, key=lambda name: name != DEFAULT_PRIOR):
        second = name == "photographs" and config.photographs is not None
        prior = make_prior(
            name, class_names=config.class_names, training_shares=config.training_shares, photographs=second
        )
        factors = None if prior.factors is None else list(prior.factors)
        priors[prior.name] = {"output": int(second), "factors": factors}
    return priors


def write_page(run: str | Path | Run | None, folder: str | Path) -> int:
    """Write the page into a folder, which must be empty or new, for any static web server; return its size in bytes.

    The policies that cannot be sent as headers there are part of the page, as far as browsers allow it.

    Raises
    ------
    FerlibError
        The folder is not empty, or cannot be written to.
    ArtifactError
        The model cannot run in a browser; see `page_files`.
    """
    folder = Path(folder)
    files = page_files(run)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FerlibError(f"{folder} is not an empty folder; name a new one.")
    size = 0
    try:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.read_bytes()
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            size += len(data)
    except OSError as error:
        raise FerlibError(f"{folder} cannot be written ({error.strerror or error}).") from error
    return size
