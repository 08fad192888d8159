"""Extraction of local features beside the OpenCV calls for the same points: ``python benchmarks/features.py``.

In one run and in turns: `LocalFeatures.describe`, and the bare calls of OpenCV for the same patches: enlarging, then
detecting and describing, with the key points of a grid prepared beforehand. A ratio above 1 is faster than OpenCV.
"""

import argparse
import time

import cv2
import numpy as np

from ferlib.models.bovw.features import LocalFeatures
from ferlib.synthetic.generate import draw_faces


def main() -> None:
    """Measure and print one line a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="how many faces are drawn (default: 100)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind (default: 3)")
    args = parser.parse_args()
    images = draw_faces(np.arange(args.images) % 7, seed=0)
    for kind in ("dense_sift", "grid_sift", "sift", "orb"):
        features = LocalFeatures(kind=kind, step=4, patch_sizes=(12, 16, 24))
        side = 48 * features.upscale
        _, where = next(features.describe(images[:1]))
        engine = features._make_engine()
        if kind == "dense_sift":
            sizes = np.repeat(features.patch_sizes, len(where) // 3 + 1)[: len(where)]
            points = [
                cv2.KeyPoint(float(x) * side, float(y) * side, float(size) * features.upscale / 6, 0.0)
                for (x, y), size in zip(where, sizes, strict=True)
            ]
        else:
            points = features._grid(side, side)

        def ours(features: LocalFeatures = features) -> None:
            for _ in features.describe(images):
                pass

        def bare(kind: str = kind, engine: cv2.Feature2D = engine, points: list = points, side: int = side) -> None:
            for image in images:
                large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
                if kind in ("dense_sift", "grid_sift"):
                    engine.compute(large, points)
                else:
                    engine.detectAndCompute(large, None)

        seconds = np.empty((args.rounds, 2))
        for number in range(args.rounds):
            for column, run in enumerate((ours, bare)):
                started = time.perf_counter()
                run()
                seconds[number, column] = time.perf_counter() - started
        mine, theirs = 1000 * np.median(seconds, axis=0) / len(images)
        print(f"{kind:<11} {mine:7.2f} ms an image, bare OpenCV {theirs:7.2f} ms: ratio of speeds {theirs / mine:.2f}")


if __name__ == "__main__":
    main()
