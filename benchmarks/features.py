"""Speed of dense SIFT compared with OpenCV's SIFT on the same patches: ``python benchmarks/features.py``.

Both run alternately in one process. OpenCV enlarges each image twofold and describes prepared key points. A ratio above
1 means that ferlib is faster.
"""

import argparse
import time

import cv2
import numpy as np

from ferlib.models.bovw.features import dense_sift
from ferlib.synthetic.generate import draw_faces

PATCH_SIZES = (12, 16, 24)
BATCH = 16


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="number of drawn faces (default: 100)")
    parser.add_argument("--rounds", type=int, default=3, help="number of measurements (default: 3)")
    args = parser.parse_args()
    images = draw_faces(np.arange(args.images) % 7, seed=0)
    points = [
        cv2.KeyPoint(float(x) * 96, float(y) * 96, size * 2 / 6, 0.0)
        for size in PATCH_SIZES
        for x, y in dense_sift(images[:1], step=4, patch_sizes=(size,))[1]
    ]
    sift = cv2.SIFT_create()

    def describe_ferlib() -> None:
        for start in range(0, len(images), BATCH):
            dense_sift(images[start : start + BATCH], step=4, patch_sizes=PATCH_SIZES)

    def describe_opencv() -> None:
        for image in images:
            sift.compute(cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC), points)

    seconds = np.empty((args.rounds, 2))
    for number in range(args.rounds):
        for column, describe in enumerate((describe_ferlib, describe_opencv)):
            started = time.perf_counter()
            describe()
            seconds[number, column] = time.perf_counter() - started
    ours, theirs = 1000 * np.median(seconds, axis=0) / len(images)
    print(f"dense SIFT {ours:.2f} ms per image, OpenCV {theirs:.2f} ms: ratio of speeds {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
