import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferlib.datasets import ImageDataset, load_images
from ferlib.emotions import EMOTIONS


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Encode a random picture, another one for each seed."""

    def encode(seed: int, *, size=(48, 48), channels=1, kind="PNG") -> bytes:
        shape = size if channels == 1 else (*size, 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        return stream.getvalue()

    return encode


@pytest.fixture(params=["zip", "folder"])
def pack(request, tmp_path) -> Callable[[dict[str, bytes]], Path]:
    """Write named contents as a zip, and in another run of the test as a folder."""

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
    """Make a data set of pictures that are alike where their numbers are."""

    def make_dataset(pixels, labels, *, splits=None, groups=None, class_names=EMOTIONS) -> ImageDataset:
        n = len(pixels)
        noise = np.random.default_rng(0).integers(0, 256, (max(pixels, default=0) + 1, 8, 8, 1), dtype=np.uint8)
        return ImageDataset(
            images=noise[np.array(pixels, dtype=int)],
            labels=np.array(labels, dtype=np.int64),
            class_names=tuple(class_names),
            splits=np.array(["train"] * n if splits is None else splits, dtype=str),
            usages=np.full(n, "", dtype="U1"),
            names=np.array([f"picture_{row}" for row in range(n)], dtype=str),
            info={
                "title": "folder",
                "layout": "folders",
                "path": "made",
                "sha256": "0",
                "synthetic": False,
                "notes": [],
            },
            groups=None if groups is None else np.array(groups, dtype=str),
        )

    return make_dataset


@pytest.fixture(scope="session")
def fer2013(fer2013_archive) -> ImageDataset:
    """All of the real FER2013, loaded once; not to be written to."""
    return load_images(fer2013_archive)
