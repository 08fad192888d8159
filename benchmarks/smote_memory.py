"""Memory and time of SMOTE on a dataset as large as ExpW: ``python benchmarks/smote_memory.py``.

The images are generated: 91,793 of 64 x 64 x 3, blurred noise around a mean image per class, with ExpW's class counts.
The printed memory is the peak of this process, including the original and the resampled images.
"""

import argparse
import resource
import time

import cv2
import numpy as np

from ferlib.preprocessing import resample_images
from ferlib.preprocessing.resample import BLENDING

# Faces in ExpW by emotion: angry, disgust, fear, happy, sad, surprise, neutral.
COUNTS = (3671, 3995, 1088, 30537, 10559, 7060, 34883)


def generate(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 (n, 64, 64, 3), and labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = rng.uniform(60, 190, (len(counts), 4, 4, 3)).astype(np.float32)
    images = np.empty((len(labels), 64, 64, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        coarse = means[label] + rng.normal(0, 25, (4, 4, 3)).astype(np.float32)
        image[:] = np.clip(cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC), 0, 255)
    return images, labels


def main() -> None:
    """Generate and resample images, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", choices=BLENDING, default="smote", help="resampling strategy (default: smote)")
    parser.add_argument("--share", type=float, default=1.0, help="fraction of ExpW's class counts (default: 1)")
    args = parser.parse_args()
    images, labels = generate(tuple(max(2, round(count * args.share)) for count in COUNTS))
    print(f"generated {len(images):,} images, {images.nbytes / 1e9:.2f} GB")
    started = time.perf_counter()
    resampled, resampled_labels = resample_images(images, labels, args.strategy, random_state=0)
    seconds = time.perf_counter() - started
    print(f"{args.strategy}: {len(resampled):,} images, {resampled.nbytes / 1e9:.2f} GB, {seconds:.0f} s")
    print(f"class counts: {np.bincount(resampled_labels).tolist()}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
