"""Fixtures shared by the tests of several packages."""

import fcntl
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferlib.core.emotions import EMOTIONS
from ferlib.data import DataInfo, ImageDataset
from ferlib.synthetic.generate import draw_faces
from ferlib.training import TrainingOptions, train_model
from ferlib.video import VideoWriter

# ONNX Runtime sends data about its use elsewhere; some tests import it without ferlib.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Processes that a shell starts in the background ignore SIGINT, and so do their children; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files with the longest tests first, so that no process works on one alone at the end."""
    weights: Counter[Path] = Counter()
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        weights[item.path] += 100 * ("notebooks" in marks) + 10 * ("long" in marks) + ("slow" in marks)
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Undo what a command that a test calls changes in the whole process, so that tests do not depend on their order.

    Environment variables that are new stay: libraries set theirs once, when they are imported. pytest itself undoes
    changes of the standard streams and the warning filters.
    """
    loggers = [logging.getLogger(name) for name in ("ferlib", "uvicorn.error", "papermill")]
    # Not only restored: a fixture of a module may have called a command with --quiet before the first test's began.
    logging.getLogger("ferlib").setLevel(logging.INFO)
    logging_before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    environment, folder, max_pixels = dict(os.environ), Path.cwd(), Image.MAX_IMAGE_PIXELS
    policy = sys.modules["keras"].config.dtype_policy() if "keras" in sys.modules else None
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    plotting = dict(sys.modules["matplotlib"].rcParams) if "matplotlib" in sys.modules else None
    yield
    if plotting is not None:
        dict.update(sys.modules["matplotlib"].rcParams, plotting)
    for logger, level, before in logging_before:
        logger.setLevel(level)
        logger.handlers[:] = before
    for number, handler in handlers.items():
        if handler is not None:  # not one that native code has set
            signal.signal(number, handler)
    environment.pop("PYTEST_CURRENT_TEST", None)
    os.environ.update(environment)
    os.chdir(folder)
    Image.MAX_IMAGE_PIXELS = max_pixels
    if policy is not None:
        sys.modules["keras"].config.set_dtype_policy(policy)


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count no coverage in processes that the test starts, which may not be able to write it."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


def _named(variable: str) -> Path:
    """Return the path in an environment variable; skip the test if it is not set."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: this test needs the real data")
    path = Path(value)
    assert path.exists(), f"{variable} names {value}, which does not exist"
    return path


@pytest.fixture(scope="session")
def fer2013_archive() -> Path:
    """The real FER2013 archive in FER2013_ARCHIVE."""
    return _named("FER2013_ARCHIVE")


@pytest.fixture(scope="session")
def expw_archive() -> Path:
    """The real ExpW sample in EXPW_ARCHIVE."""
    return _named("EXPW_ARCHIVE")


@pytest.fixture(scope="session")
def everyday_faces() -> Path:
    """The real everyday faces in EVERYDAY_FACES."""
    return _named("EVERYDAY_FACES")


@pytest.fixture(scope="session")
def ferplus_votes() -> Path:
    """The real votes in FERPLUS_VOTES."""
    return _named("FERPLUS_VOTES")


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The folder of real photos in PHOTOS_DIR."""
    return _named("PHOTOS_DIR")


@pytest.fixture(scope="session")
def videos_dir() -> Path:
    """The folder of real videos in VIDEOS_DIR."""
    return _named("VIDEOS_DIR")


@pytest.fixture(scope="session")
def drawn_faces() -> ImageDataset:
    """Return 420 drawn faces, sixty per emotion, in train (300), val (60) and test (60)."""
    labels = np.arange(420) % len(EMOTIONS)
    n = len(labels)
    return ImageDataset(
        images=draw_faces(labels, seed=7),
        labels=labels,
        class_names=EMOTIONS,
        splits=np.repeat(["train", "val", "test"], [300, 60, 60]),
        names=np.array([f"face_{i:03d}.png" for i in range(n)]),
        info=DataInfo(title="synthetic faces", layout="folders", path="drawn", sha256="0" * 64, synthetic=True),
    )


@pytest.fixture(scope="session")
def build_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that makes a folder once per test session, whichever worker needs it first."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def build_once(name: str, build: Callable[[Path], object]) -> Path:
        finished = shared / f"{name}.finished"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                build(shared / name)
                finished.touch()
        return shared / name

    return build_once


@pytest.fixture(scope="session")
def network_run(drawn_faces, build_once) -> Path:
    """Return the run folder of a tiny compact_cnn trained on `drawn_faces`; copy it before changing it."""

    def train(run_dir: Path) -> None:
        options = TrainingOptions(epochs=2, batch_size=32, precision="float32")
        train_model("compact_cnn", drawn_faces, run_dir, options, model_options={"widths": (4, 8)})

    return build_once("network_run", train)


@pytest.fixture(scope="session")
def bovw_run(drawn_faces, build_once) -> Path:
    """Return the run folder of a tiny bag of visual words trained on `drawn_faces`; copy it before changing it."""

    def train(run_dir: Path) -> None:
        model_options = {"n_words": 20, "flip_invariant": False, "classifier": "logistic"}
        train_model("bovw", drawn_faces, run_dir, model_options=model_options)

    return build_once("bovw_run", train)


@pytest.fixture
def cut_video(tmp_path) -> Path:
    """Return a video of thirty frames whose file is cut in half."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "v.avi", rate=25) as writer:
        for number, image in enumerate(noise):
            writer.write(image, number / 25)
    data = (tmp_path / "v.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) // 2])
    return path
