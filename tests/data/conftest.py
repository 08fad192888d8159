"""Fixtures for tests of datasets and downloads."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import TOKEN, KaggleServer, serve
from PIL import Image

from ferlib.core.emotions import EMOTIONS
from ferlib.data import DataInfo, ImageDataset, load_images


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Encode a random image, a different one per seed."""

    def encode(seed: int, *, size=(48, 48), channels=1, kind="PNG") -> bytes:
        shape = size if channels == 1 else (*size, 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        return stream.getvalue()

    return encode


@pytest.fixture(params=["zip", "folder"])
def pack(request, tmp_path) -> Callable[[dict[str, bytes]], Path]:
    """Write files as a zip in one run of the test, as a folder in another."""

    def pack(contents: dict[str, bytes]) -> Path:
        if request.param == "zip":
            path = tmp_path / "source.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in contents.items():
                    archive.writestr(name, content)
            return path
        for name, content in contents.items():
            file = tmp_path / "source" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return tmp_path / "source"

    return pack


@pytest.fixture
def make_dataset() -> Callable[..., ImageDataset]:
    """Make a dataset in which images of the same number are identical."""

    def make_dataset(pixels, labels, *, splits=None, groups=None, class_names=EMOTIONS) -> ImageDataset:
        n = len(pixels)
        noise = np.random.default_rng(0).integers(0, 256, (max(pixels, default=0) + 1, 8, 8, 1), dtype=np.uint8)
        return ImageDataset(
            images=noise[np.array(pixels, dtype=int)],
            labels=np.array(labels, dtype=np.int64),
            class_names=tuple(class_names),
            splits=np.array(["train"] * n if splits is None else splits, dtype=str),
            names=np.array([f"image_{row}" for row in range(n)], dtype=str),
            info=DataInfo(title="folder", layout="folders", path="made", sha256="0"),
            groups=None if groups is None else np.array(groups, dtype=str),
        )

    return make_dataset


@pytest.fixture(scope="session")
def fer2013(fer2013_archive) -> ImageDataset:
    """The real FER2013, loaded once; tests must not change it."""
    return load_images(fer2013_archive)


@pytest.fixture
def home(tmp_path):
    """An empty home folder."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def kaggle_server():
    """A running server with Kaggle's API."""
    kaggle = KaggleServer()
    server = serve(kaggle)
    yield kaggle
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(home, kaggle_server):
    """The environment of a process with an access token, which uses the server as Kaggle.

    ``KAGGLE_API_ENVIRONMENT=LOCALHOST`` sends the client to port 80 of this machine, which only an administrator can
    serve. As the client's HTTP proxy, a server on any port receives the same requests.
    """
    foreign = ("KAGGLE", "FER2013", "XDG", "NO_PROXY", "ALL_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
    return kept | {
        "HOME": str(home),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLE_API_TOKEN": TOKEN,
        "http_proxy": kaggle_server.url,
    }
