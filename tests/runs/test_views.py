"""Test-time augmentation."""

import numpy as np

from ferlib.runs.views import make_views


def test_views_of_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    (same,) = make_views(images, "none")
    np.testing.assert_array_equal(same, images)
    _, mirror = make_views(images, "flip")
    np.testing.assert_array_equal(mirror, images[:, :, ::-1])
    crops = make_views(images, "ten_crop")
    assert [view.shape for view in crops] == [images.shape] * 10
    # 44 of 48 pixels: the corners of the crops are the corners of the image.
    for view, (y, x) in zip(crops[:4], [(0, 0), (0, -1), (-1, 0), (-1, -1)], strict=True):
        np.testing.assert_array_equal(view[:, y, x], images[:, y, x])
    np.testing.assert_array_equal(crops[5], crops[0][:, :, ::-1])
    assert [len(view) for view in make_views(images[:0], "ten_crop")] == [0] * 10
