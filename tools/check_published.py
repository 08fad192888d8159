"""Check that published notebooks and figures contain no image of a dataset.

Every image in them is decoded, and every square part of it, of any size and at any position, is compared with all
images of the datasets and with their mirror images. The exit status is 1 if one is found.
"""

import argparse
import base64
import binascii
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.images import to_gray
from ferlib.data import load_images

#: Sides of the squares that are compared, in pixels: smaller faces show nobody.
SMALLEST, LARGEST, STEP = 32, 900, 1.12

# A square is first compared by a few numbers, the principal components of its 12 x 12 gray values. Where these agree
# it is compared by its details, with 32 x 32. Faces agree in what is coarse, images only with themselves in details.
_COARSE, _FINE = 12, 32
# The edge may have a frame, and what is around the square changes it.
_INNER = np.s_[4:-4, 4:-4]
_N_COMPONENTS = 32
_MIN_EXPLAINED, _MIN_COARSE, _MIN_GRAY, _MIN_PROMISING, _MIN_FINE = 0.75, 0.85, 0.9, 0.5, 0.85
# Standard deviation of details in gray values: what is flatter shows nobody.
_MIN_DETAILS = 1.5
# Squares whose details are compared: for one image of a dataset, and for all of them.
_N_SQUARES, _N_PAIRS = 3, 6000

_DATA_URI = re.compile(r"data:(?:image|video)/[\w.+-]+(?:;[\w=-]+)*;base64,([A-Za-z0-9+/=\s]+)")
_SUFFIXES = (".ipynb", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".html", ".md")


@dataclass(frozen=True)
class Match:
    """A square of a published image that shows an image of a dataset."""

    x: int
    y: int
    size: int
    index: int
    correlation: float


class ImageFinder:
    """Finds images of a dataset inside other images, whatever their position and size, also mirrored.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
        Gray or RGB.
    """

    def __init__(self, images: np.ndarray) -> None:
        gray = to_gray(np.concatenate([images, images[:, :, ::-1]]))[..., 0]
        self._n = len(images)
        coarse = _normalize(np.stack([_shrink(image, _COARSE) for image in gray]).reshape(len(gray), -1))
        # No mean is subtracted, so that cosines of components are those of images.
        self._components = np.linalg.eigh(coarse.T @ coarse)[1][:, -_N_COMPONENTS:]
        self._coarse = _unit(coarse @ self._components)
        fine = [_shrink(image, _FINE) for image in gray]
        self._gray = np.stack([image[_INNER] for image in fine])
        self._fine = np.stack([_details(image)[_INNER] for image in fine])
        self._found: dict[tuple[tuple[int, ...], bytes], list[Match]] = {}

    def find(self, image: np.ndarray) -> list[Match]:
        """Return the matches in a gray image (H, W), dtype uint8, the best first."""
        # Many figures are published twice, in a notebook and as a file.
        key = image.shape, hashlib.sha256(image.tobytes()).digest()
        if key not in self._found:
            self._found[key] = self._search(image)
        return self._found[key]

    def _search(self, image: np.ndarray) -> list[Match]:
        largest = min(LARGEST, *image.shape)
        n_sizes = int(np.log(max(largest, SMALLEST) / SMALLEST) / np.log(STEP)) + 1
        # The last one is an image that is shown alone.
        sizes = [*(SMALLEST * STEP**power for power in range(n_sizes)), largest]
        pairs = [pair for size in sizes if size <= largest for pair in self._find_similar(image, float(size))]
        n_squares: Counter[int] = Counter()
        matches = []
        for _, place, candidate in sorted(pairs, reverse=True):
            n_squares[candidate] += 1
            if n_squares[candidate] <= _N_SQUARES and len(matches) < _N_PAIRS:
                matches.append(self._compare(image, *place, candidate))
        return sorted(
            (match for match in matches if match.correlation > _MIN_FINE), key=lambda match: -match.correlation
        )

    def _find_similar(self, image: np.ndarray, size: float) -> list[tuple[float, tuple[float, float, float], int]]:
        """Return similarities of squares with images: the similarity, x, y and size of the square, and the image."""
        # Squares start at every second part of a coarse value: each value is the mean of 2 x 2 pixels of `small`.
        height, width = (max(round(length * 2 * _COARSE / size), 2 * _COARSE) for length in image.shape)
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        means = cv2.blur(small, (2, 2), anchor=(0, 0))
        windows = np.lib.stride_tricks.sliding_window_view(means, (2 * _COARSE, 2 * _COARSE))[:, :, ::2, ::2]
        # Plots and text are mostly background, or have one gray value.
        pixels = means.astype(np.float32)
        share, mean, square = (
            cv2.boxFilter(values, cv2.CV_32F, (2 * _COARSE, 2 * _COARSE), anchor=(0, 0))
            for values in (((means > 252) | (means < 3)).astype(np.float32), pixels, pixels**2)
        )
        usable = (share < 0.5) & (square - mean**2 > 25)
        places = np.argwhere(usable[: windows.shape[0], : windows.shape[1]])
        found = []
        # Few at a time, whose similarities stay in the processor's cache.
        for start in range(0, len(places), 256):
            part = places[start : start + 256]
            components = _normalize(windows[part[:, 0], part[:, 1]].reshape(len(part), -1)) @ self._components
            faces = np.linalg.norm(components, axis=1) > _MIN_EXPLAINED
            part, similarities = part[faces], _unit(components[faces]) @ self._coarse.T
            rows = np.flatnonzero(similarities.max(axis=1, initial=0) > _MIN_COARSE)
            for row, column in np.argwhere(similarities[rows] > _MIN_COARSE):
                y, x = part[rows[row]] * np.array(image.shape) / small.shape
                found.append((float(similarities[rows[row], column]), (x, y, size), int(column)))
        return found

    def _compare(self, image: np.ndarray, x: float, y: float, size: float, candidate: int) -> Match:
        """Return how well the details of a square, moved and scaled a little, agree with those of an image."""
        template, best = self._fine[candidate], 0.0
        for scale in (0.94, 1.0, 1.06):
            side, border = size * scale, size * scale / 8
            left, top = x + (size - side) / 2 - border, y + (size - side) / 2 - border
            n = _FINE + 2 * _FINE // 8
            step = (side + 2 * border) / n
            first, last = max(0, int(top) - 2), int(top + side + 2 * border) + 3
            start, stop = max(0, int(left) - 2), int(left + side + 2 * border) + 3
            region = image[first:last, start:stop]
            if step > 1.5:
                region = cv2.blur(region, (round(step), round(step)))
            source = np.array([[step, 0, left - start + step / 2 - 0.5], [0, step, top - first + step / 2 - 0.5]])
            how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            square = cv2.warpAffine(region, source, (n, n), flags=how, borderMode=cv2.BORDER_REPLICATE)
            details = _details(square)
            found = np.nan_to_num(cv2.matchTemplate(details, template, cv2.TM_CCOEFF_NORMED), posinf=0)
            y0, x0 = np.unravel_index(found.argmax(), found.shape)
            part = np.s_[y0 : y0 + len(template), x0 : x0 + len(template)]
            if details[part].std() < 0.5 or _correlate(square[part], self._gray[candidate]) < _MIN_GRAY:
                continue
            best = max(best, _align(template, details, int(y0), int(x0)) if found.max() > _MIN_PROMISING else 0)
        return Match(round(x), round(y), round(size), candidate % self._n, best)


def _align(template: np.ndarray, image: np.ndarray, y: int, x: int) -> float:
    """Return the correlation of a template with an image after an affine alignment that starts at a position."""
    start = np.array([[1, 0, x], [0, 1, y]], np.float32)
    how = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-3)
    try:
        correlation, found = cv2.findTransformECC(template, image, start, cv2.MOTION_AFFINE, how, None, 1)
    except cv2.error:  # it does not converge
        return 0.0
    # Only a small correction, because a large one makes many images alike.
    small = np.abs(found - start).max() < 1.5 and np.abs((found - start)[:, :2]).max() < 0.06
    return float(correlation) if small else 0.0


def _correlate(a: np.ndarray, b: np.ndarray) -> float:
    return float((_normalize(a.reshape(1, -1)) * _normalize(b.reshape(1, -1))).sum())


def _shrink(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)


def _details(image: np.ndarray) -> np.ndarray:
    """Return an image without its coarse structure, which many faces share, and without what scaling destroys.

    The contrast is made even, so that one strong edge does not decide.
    """
    image = image.astype(np.float32)
    details = cv2.GaussianBlur(image, (0, 0), 0.8) - cv2.GaussianBlur(image, (0, 0), 3)
    return details / np.sqrt(cv2.GaussianBlur(details**2, (0, 0), 4) + _MIN_DETAILS**2)


def _normalize(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return _unit(rows - rows.mean(axis=1, keepdims=True))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def published_images(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every image in a file as gray values (H, W), with the place where it is.

    A file is an executed notebook, an image, or text in which images are embedded as data addresses. Videos yield
    their frames.
    """
    if path.suffix == ".ipynb":
        import nbformat

        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            bundles = [output.get("data", {}) for output in cell.get("outputs", [])]
            for bundle in [*bundles, *cell.get("attachments", {}).values()]:
                for kind, content in bundle.items():
                    for image in _embedded(kind, content):
                        yield f"{path}, cell {number}", image
            for image in _embedded("text/markdown", cell.source):
                yield f"{path}, cell {number}", image
    elif path.suffix in (".svg", ".html", ".md"):
        for image in _embedded("text/html", path.read_text(encoding="utf-8")):
            yield str(path), image
    else:
        for image in _decode(path.read_bytes()):
            yield str(path), image


def _embedded(kind: str, content: Any) -> Iterator[np.ndarray]:
    """Yield the images of one entry of an output."""
    text = content if isinstance(content, str) else str(content)
    if re.match(r"(image|video)/(?!svg)", kind):
        encoded: Iterable[str] = [text]
    else:
        # Scripts write a slash as \/ and a line end as \n.
        encoded = _DATA_URI.findall(text.replace("\\/", "/").replace("\\\n", "").replace("\\n", ""))
    for item in encoded:
        try:
            for image in _decode(base64.b64decode(item)):
                yield image
                if "<svg" in text:
                    # Matplotlib turns images over in SVG.
                    yield image[::-1]
        except binascii.Error:
            raise ValueError(f"an output of type {kind} has an image that cannot be decoded") from None


def _decode(data: bytes) -> Iterator[np.ndarray]:
    """Yield the frames of an image, an animation or a video as gray values on white."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is not None:
        yield _flatten(image)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        reader = cv2.VideoCapture(file.name)
        n_frames = 0
        while (frame := reader.read())[0]:
            yield _flatten(frame[1])
            n_frames += 1
    if not n_frames:
        raise ValueError("an image or a video cannot be decoded")


def _flatten(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W), BGR or BGRA as gray values on a white background."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return image
    gray = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY) if image.shape[2] >= 3 else image[..., 0]
    if image.shape[2] in (2, 4):
        opacity = image[..., -1] / 255
        gray = (gray * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return gray


def find_published(paths: Iterable[Path], finder: ImageFinder) -> Iterator[tuple[str, Match]]:
    """Yield the best match of each image, in files and in folders with their subfolders, that shows a dataset's."""
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES) if path.is_dir() else [path]
        for file in files:
            for place, image in published_images(file):
                matches = finder.find(image)
                if matches:
                    yield place, matches[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Search the published files and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python tools/check_published.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python tools/check_published.py reports docs --data fer2013.zip expw.zip",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or folder that is published")
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="PATH", help="datasets")
    arguments = parser.parse_args(argv)
    n_found = 0
    for data in arguments.data:
        dataset = load_images(data, image_size=(48, 48), channels=1)
        write_line(f"{data.name}: {len(dataset):,} images")
        for place, match in find_published(arguments.paths, ImageFinder(dataset.images)):
            n_found += 1
            where = f"at ({match.x}, {match.y}), {match.size} pixels wide"
            write_line(f"{place}, {where}: {dataset.names[match.index]} (correlation {match.correlation:.2f})")
    write_line(f"{n_found} images of datasets found")
    return 1 if n_found else EXIT_OK


if __name__ == "__main__":
    run(main)
