"""Dense SIFT: descriptors of square patches on a regular grid."""

import cv2
import numpy as np

from ferlib.core.images import to_gray


def dense_sift(
    images: np.ndarray, *, step: int = 2, patch_sizes: tuple[int, ...] = (8, 12, 16, 24)
) -> tuple[np.ndarray, np.ndarray]:
    """Return upright RootSIFT descriptors of all patches on a grid.

    A bin of a SIFT descriptor is a weighted sum of gradients around the bin's center. Filtering the image once for each
    of the eight directions therefore gives that bin of all patches at once.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
        About sixteen images per call are fastest, because their descriptors fit in the processor's cache.
    step : int
        Grid spacing in pixels.
    patch_sizes : tuple of int
        Side lengths of the patches in pixels, multiples of 4. Patches lie entirely inside the image.

    Returns
    -------
    descriptors : ndarray of shape (n, n_points, 128), dtype float32
    positions : ndarray of shape (n_points, 2), dtype float32
        Patch centers x, y as fractions of the image's width and height, the same for all images.

    Raises
    ------
    ValueError
        `step` is less than 1, or `patch_sizes` is empty or has other numbers than multiples of 4.

    References
    ----------
    D. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004. R. Arandjelovic, A. Zisserman,
    "Three things everyone should know to improve object retrieval", CVPR 2012 (RootSIFT). A. Vedaldi, B. Fulkerson,
    "VLFeat: an open and portable library of computer vision algorithms", 2008 (dense SIFT by filters).
    """
    if step < 1 or not patch_sizes or any(size < 4 or size % 4 for size in patch_sizes):
        raise ValueError(f"step must be at least 1 and patch_sizes multiples of 4, got {step} and {patch_sizes}")
    images = to_gray(images)
    height, width = images.shape[1:3]
    directions = _gradient_directions(images[..., 0])
    sampled = [_sample_bins(directions, size, step) for size in patch_sizes]
    descriptors = np.concatenate([bins for bins, _ in sampled], axis=1)
    # SIFT clips bins at 0.2 of the norm, so that a single strong edge does not dominate a descriptor.
    norms = np.linalg.norm(descriptors, axis=2, keepdims=True) + 1e-3
    positions = np.concatenate([centers for _, centers in sampled]) / np.array([width, height], np.float32)
    return root_normalize(np.minimum(descriptors / norms, 0.2)), positions


def root_normalize(descriptors: np.ndarray) -> np.ndarray:
    """Return RootSIFT of SIFT descriptors (…, 128): element-wise square roots after L1 normalization, as float32."""
    descriptors = descriptors.astype(np.float32, copy=False)
    # The descriptor of a flat patch, which has no gradients, stays zero.
    return np.sqrt(descriptors / np.maximum(descriptors.sum(axis=-1, keepdims=True), 1e-7))


def _gradient_directions(images: np.ndarray) -> np.ndarray:
    """Return the gradient magnitude in each of eight directions, (n, H, W, 8), of gray images (n, H, W)."""
    gray = images.astype(np.float32) / 255
    dx, dy = np.zeros_like(gray), np.zeros_like(gray)
    dx[:, :, 1:-1] = (gray[:, :, 2:] - gray[:, :, :-2]) / 2
    # The y axis points up, as in OpenCV's SIFT.
    dy[:, 1:-1] = (gray[:, :-2] - gray[:, 2:]) / 2
    magnitude, angle = cv2.cartToPolar(dx.reshape(-1, 1), dy.reshape(-1, 1))
    # A gradient between two directions is shared by linear interpolation around the circle.
    distance = np.abs((angle * np.float32(4 / np.pi) - np.arange(8, dtype=np.float32) + 4) % 8 - 4)
    return (magnitude * np.maximum(0, 1 - distance)).reshape(*gray.shape, 8)


def _sample_bins(directions: np.ndarray, size: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 4 x 4 x 8 bins of patches on a grid, (n, n_points, 128), and the patch centers x, y in pixels."""
    n, height, width, _ = directions.shape
    bin_size = size / 4
    reach = int(np.ceil(bin_size)) - 1
    kernel = np.maximum(0, 1 - np.abs(np.arange(-reach, reach + 1)) / bin_size).astype(np.float32)
    filtered = np.stack([cv2.sepFilter2D(maps, -1, kernel, kernel) for maps in directions])
    offsets = (np.arange(4) - 1.5) * bin_size
    # Bins near the patch's center have larger weights.
    weights = np.exp(-0.5 * (offsets / (2 * bin_size)) ** 2).astype(np.float32)
    y_centers = np.arange(size // 2, height - size // 2 + 1, step)
    x_centers = np.arange(size // 2, width - size // 2 + 1, step)
    rows = np.clip(np.floor(y_centers[:, np.newaxis] + offsets), 0, height - 1).astype(int)
    columns = np.clip(np.floor(x_centers[:, np.newaxis] + offsets), 0, width - 1).astype(int)
    bins = filtered[:, rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]]
    bins = bins * (weights[:, np.newaxis] * weights)[..., np.newaxis]
    x, y = np.meshgrid(x_centers, y_centers)
    return bins.reshape(n, -1, 128), np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
