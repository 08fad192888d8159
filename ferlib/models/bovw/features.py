"""Local features: images to descriptors of small patches, and where in the image each patch lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ferlib.core.images import to_gray

#: What `LocalFeatures` describes patches by.
KINDS = ("dense_sift", "grid_sift", "sift", "orb", "patches")

# Images that are described at a time: the descriptors of sixteen faces, 10 MB, stay in the processor's cache; with 64
# it takes twice the time.
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class LocalFeatures:
    """How local features are taken from images.

    Parameters
    ----------
    kind : {"dense_sift", "grid_sift", "sift", "orb", "patches"}
        Upright SIFT of patches on a grid, for whole batches by filters; the same by OpenCV's SIFT, one patch at a time;
        SIFT where its own detector finds something; ORB, whose 256 bits become numbers 0 and 1; or the gray values of
        square patches on a grid, less their mean, by their spread.
    step : int
        Distance between the points of a grid, in pixels.
    patch_sizes : tuple of int
        Sides of the square patches on a grid, in pixels, multiples of 4 for ``"dense_sift"``; for ``"patches"`` the
        first alone.
    upscale : int
        How many times images are enlarged for OpenCV's SIFT and ORB. It smooths what it is given as if it were a
        photograph, by 1.6 pixels, which takes the wrinkles from a face of 48 pixels; enlarged, they survive.

    References
    ----------
    D. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004. R. Arandjelovic, A. Zisserman,
    "Three things everyone should know to improve object retrieval", CVPR 2012 (RootSIFT). E. Rublee, V. Rabaud,
    K. Konolige, G. Bradski, "ORB: an efficient alternative to SIFT or SURF", ICCV 2011. A. Coates, A. Ng, H. Lee, "An
    Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011 (patches). A. Vedaldi,
    B. Fulkerson, "VLFeat: an open and portable library of computer vision algorithms", 2008 (dense SIFT by filters).
    """

    kind: Literal["dense_sift", "sift", "orb", "patches"] = "dense_sift"
    step: int = 4
    patch_sizes: tuple[int, ...] = (12, 16, 24)
    upscale: int = 2

    def __post_init__(self) -> None:
        """Refuse what no image could be described by."""
        if self.kind not in KINDS:
            raise ValueError(f"features must be one of {', '.join(KINDS)}, got '{self.kind}'")
        if self.step < 1 or self.upscale < 1 or not self.patch_sizes or min(self.patch_sizes) < 2:
            raise ValueError("step and upscale must be at least 1, patch_sizes at least 2")

    def describe(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the local features of each image.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), dtype uint8

        Yields
        ------
        descriptors : ndarray of shape (n_points, d), dtype float32
            d is 128 for SIFT, 256 for ORB, the patch's number of pixels for patches. A grid has the same points in
            every image, and its patches lie within it; a detector may find none.
        positions : ndarray of shape (n_points, 2), dtype float32
            The patches' centres, x and y, as fractions of the image's width and height.
        """
        images = to_gray(images)
        if self.kind in ("patches", "dense_sift"):
            describe = self._describe_patches if self.kind == "patches" else self._describe_densely
            for start in range(0, len(images), _BATCH):
                descriptors, where = describe(images[start : start + _BATCH])
                for of_one_image in descriptors:
                    yield of_one_image, where
            return
        height, width = (side * self.upscale for side in images.shape[1:3])
        engine = self._make_engine()
        points = self._grid(height, width) if self.kind == "grid_sift" else None
        where = None if points is None else _positions(points, height, width)
        for image in images:
            large = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) if self.upscale > 1 else image
            if points is not None:
                yield _root(engine.compute(large, points)[1]), where
                continue
            found, descriptors = engine.detectAndCompute(large, None)
            if descriptors is None:
                descriptors = np.empty((0, 32 if self.kind == "orb" else 128), np.uint8)
            yield (
                np.unpackbits(descriptors, axis=1).astype(np.float32) if self.kind == "orb" else _root(descriptors),
                _positions(found, height, width),
            )

    def _make_engine(self) -> cv2.Feature2D:
        """Return OpenCV's extractor."""
        if self.kind != "orb":
            # Small faces have little contrast: the usual threshold of 0.04 finds next to nothing in them.
            return cv2.SIFT_create(contrastThreshold=0.01)
        # ORB looks at 31 pixels around a point; less keeps it from losing the rim of a small image.
        return cv2.ORB_create(nfeatures=300, edgeThreshold=8, patchSize=15, fastThreshold=5, nlevels=4)

    def _grid(self, height: int, width: int) -> list[cv2.KeyPoint]:
        """Return the key points of the grid in the enlarged image, all patch sizes at each place."""
        step = self.step * self.upscale
        start = step // 2
        # OpenCV's descriptor spans four bins of 1.5 diameters each: six diameters in all.
        return [
            cv2.KeyPoint(float(x), float(y), side * self.upscale / 6, 0.0)
            for side in self.patch_sizes
            for y in range(start, height, step)
            for x in range(start, width, step)
        ]

    def _describe_densely(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the SIFT descriptors of a batch, (n, n_points, 128), and the patches' centres.

        A descriptor's bin is a sum of gradients around the bin's centre, nearer ones counting more. So one filter over
        the image, for each of eight directions, gives that bin for all patches at once.
        """
        directions = _gradient_directions(images[..., 0])
        parts = [_sample_bins(directions, size, self.step) for size in self.patch_sizes]
        descriptors = np.concatenate([found for found, _ in parts], axis=1)
        # As in SIFT: no direction may count for more than a fifth, so that a single edge does not drown the rest.
        norms = np.linalg.norm(descriptors, axis=2, keepdims=True) + 1e-3
        descriptors = np.minimum(descriptors / norms, 0.2)
        height, width = images.shape[1:3]
        where = np.concatenate([centres for _, centres in parts]) / np.float32([width, height])
        return _root(descriptors), where

    def _describe_patches(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the normalized gray values of a batch's patches, (n, n_points, side * side), and their centres."""
        side = self.patch_sizes[0]
        height, width = images.shape[1:3]
        windows = np.lib.stride_tricks.sliding_window_view(images[..., 0], (side, side), axis=(1, 2))
        windows = windows[:, :: self.step, :: self.step]
        rows, columns = windows.shape[1:3]
        x, y = np.meshgrid(np.arange(columns) * self.step + side / 2, np.arange(rows) * self.step + side / 2)
        where = np.stack([x.ravel() / width, y.ravel() / height], axis=1).astype(np.float32)
        patches = windows.reshape(len(images), rows * columns, side * side).astype(np.float32)
        patches -= patches.mean(axis=2, keepdims=True)
        # A variance of ten gray levels is added, so that a flat patch stays flat.
        return patches / np.sqrt(patches.var(axis=2, keepdims=True) + 10.0), where


def _gradient_directions(images: np.ndarray) -> np.ndarray:
    """Return how strong the gradient is in each of eight directions, (n, H, W, 8), of gray images (n, H, W)."""
    gray = images.astype(np.float32) / 255
    dx, dy = np.zeros_like(gray), np.zeros_like(gray)
    dx[:, :, 1:-1] = (gray[:, :, 2:] - gray[:, :, :-2]) / 2
    # Upwards, as OpenCV's SIFT counts angles.
    dy[:, 1:-1] = (gray[:, :-2] - gray[:, 2:]) / 2
    strength, angle = cv2.cartToPolar(dx.reshape(-1, 1), dy.reshape(-1, 1))
    eighths = angle * np.float32(4 / np.pi)
    # A gradient between two directions is shared by them: a triangle around each, and the circle closes.
    away = np.abs((eighths - np.arange(8, dtype=np.float32) + 4) % 8 - 4)
    return (strength * np.maximum(0, 1 - away)).reshape(*gray.shape, 8)


def _sample_bins(directions: np.ndarray, size: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 4 x 4 x 8 bins of patches on a grid, (n, n_points, 128), and the patches' centres x, y in pixels."""
    n, height, width, _ = directions.shape
    width_of_bin = size / 4
    reach = int(np.ceil(width_of_bin)) - 1
    kernel = np.maximum(0, 1 - np.abs(np.arange(-reach, reach + 1)) / width_of_bin).astype(np.float32)
    filtered = np.stack([cv2.sepFilter2D(maps, -1, kernel, kernel) for maps in directions])
    # Bins lie one and a half and a half of their width from the centre; those in the middle of a patch count more.
    offsets = (np.arange(4) - 1.5) * width_of_bin
    weights = np.exp(-0.5 * (offsets / (2 * width_of_bin)) ** 2).astype(np.float32)
    tops = np.arange(size // 2, height - size // 2 + 1, step)
    lefts = np.arange(size // 2, width - size // 2 + 1, step)
    rows = np.clip(np.floor(tops[:, np.newaxis] + offsets), 0, height - 1).astype(int)
    columns = np.clip(np.floor(lefts[:, np.newaxis] + offsets), 0, width - 1).astype(int)
    bins = filtered[:, rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]]
    bins = bins * (weights[:, np.newaxis] * weights)[..., np.newaxis]
    x, y = np.meshgrid(lefts, tops)
    return bins.reshape(n, -1, 128), np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _root(descriptors: np.ndarray) -> np.ndarray:
    """Return RootSIFT: square roots of each descriptor's shares, whose Euclidean distance is Hellinger's."""
    descriptors = descriptors.astype(np.float32, copy=False)
    # A flat patch has no gradient: its descriptor stays zero instead of becoming not-a-number.
    return np.sqrt(descriptors / np.maximum(descriptors.sum(axis=-1, keepdims=True), 1e-7))


def _positions(points: list[cv2.KeyPoint], height: int, width: int) -> np.ndarray:
    """Return where key points lie, as fractions, float32 (n_points, 2)."""
    where = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
    return where / np.float32([width, height])
