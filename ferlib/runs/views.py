"""Test-time augmentation: views of an image whose predictions are averaged."""

from typing import get_args

import numpy as np

from ferlib.core.images import resize
from ferlib.runs.records import TestTimeAugmentation

#: The values of `TestTimeAugmentation`.
VIEWS: tuple[TestTimeAugmentation, ...] = get_args(TestTimeAugmentation)

#: Side of the crops of "ten_crop", as a fraction of the image's: 44 of FER2013's 48 pixels.
_CROP = 11 / 12


def make_views(images: np.ndarray, views: TestTimeAugmentation) -> list[np.ndarray]:
    """Return the views of images whose predictions are averaged.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    views : {"none", "flip", "ten_crop"}
        The images alone; the images and their mirror images; or five crops (the corners and the center, enlarged to
        the full size) and the mirror images of the crops.

    Returns
    -------
    list of ndarray of shape (n, H, W, C), dtype uint8

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS
    2012 (ten crops).
    """
    plain = _five_crops(images) if views == "ten_crop" else [images]
    return plain if views == "none" else plain + [view[:, :, ::-1] for view in plain]


def _five_crops(images: np.ndarray) -> list[np.ndarray]:
    """Return the four corners and the center, each enlarged to the images' size."""
    height, width = images.shape[1:3]
    h, w = round(height * _CROP), round(width * _CROP)
    corners = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w), ((height - h) // 2, (width - w) // 2)]
    if not len(images):
        return [images] * len(corners)
    return [
        np.stack([resize(image[top : top + h, left : left + w], (height, width)) for image in images])
        for top, left in corners
    ]
