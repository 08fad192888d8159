"""Fixtures that several rooms' tests share."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.data import DataInfo, ImageDataset
from ferlib.inference import VideoWriter
from ferlib.synthetic.generate import draw_faces

# A shell lets what it starts in the background ignore Ctrl+C, and whatever that starts; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _named(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: this test needs the real data")
    path = Path(value)
    assert path.exists(), f"{variable} names {value}, which does not exist"
    return path


@pytest.fixture(scope="session")
def fer2013_archive() -> Path:
    """The real FER2013 archive that FER2013_ARCHIVE names."""
    return _named("FER2013_ARCHIVE")


@pytest.fixture(scope="session")
def expw_archive() -> Path:
    """The real ExpW sample that EXPW_ARCHIVE names."""
    return _named("EXPW_ARCHIVE")


@pytest.fixture(scope="session")
def ferplus_votes() -> Path:
    """The real votes that FERPLUS_VOTES names."""
    return _named("FERPLUS_VOTES")


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The folder of real photos that PHOTOS_DIR names."""
    return _named("PHOTOS_DIR")


@pytest.fixture(scope="session")
def videos_dir() -> Path:
    """The folder of real videos that VIDEOS_DIR names."""
    return _named("VIDEOS_DIR")


@pytest.fixture(scope="session")
def drawn_faces() -> ImageDataset:
    """420 drawn faces, sixty an emotion, in train (300), val (60) and test (60)."""
    labels = np.arange(420) % len(EMOTIONS)
    n = len(labels)
    return ImageDataset(
        images=draw_faces(labels, seed=7),
        labels=labels,
        class_names=EMOTIONS,
        splits=np.repeat(["train", "val", "test"], [300, 60, 60]),
        usages=np.full(n, ""),
        names=np.array([f"face_{i:03d}.png" for i in range(n)]),
        info=DataInfo(title="synthetic faces", layout="folders", path="drawn", sha256="0" * 64, synthetic=True),
    )


@pytest.fixture
def cut_video(tmp_path) -> Path:
    """A video of thirty frames whose file ends in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "v.avi", rate=25) as writer:
        for number, image in enumerate(noise):
            writer.write(image, number / 25)
    data = (tmp_path / "v.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) // 2])
    return path
