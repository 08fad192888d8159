"""Time and inertia of k-means compared with scikit-learn: ``python benchmarks/kmeans.py``.

The samples resemble SIFT descriptors: 128 dimensions around 400 centers. Both implementations run alternately in one
process; ratios to scikit-learn are medians over the rounds.
"""

import argparse
import time

import numpy as np
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.cluster import MiniBatchKMeans as TheirMiniBatchKMeans

from ferlib.models.bovw.kmeans import KMeans


def make_samples(n: int) -> np.ndarray:
    """Return samples around 400 centers of different spread, float32 (n, 128)."""
    rng = np.random.default_rng(0)
    centers = rng.gamma(0.7, size=(400, 128))
    chosen = rng.integers(0, len(centers), n)
    spread = rng.uniform(0.2, 0.8, (len(centers), 1))
    return (centers[chosen] + rng.normal(size=(n, 128)) * spread[chosen]).astype(np.float32)


def main() -> None:
    """Measure and print one line per algorithm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000, help="number of samples (default: 100000)")
    parser.add_argument("--clusters", type=int, default=500, help="number of clusters (default: 500)")
    parser.add_argument("--rounds", type=int, default=3, help="number of fits of each algorithm (default: 3)")
    args = parser.parse_args()
    X, k = make_samples(args.samples), args.clusters
    pairs = {
        "mini-batch": (
            lambda seed: KMeans(k, batch_size=4096, random_state=seed),
            lambda seed: TheirMiniBatchKMeans(k, batch_size=4096, n_init=1, random_state=seed),
        ),
        "Lloyd, 20 passes": (
            lambda seed: KMeans(k, max_iter=20, random_state=seed),
            lambda seed: TheirKMeans(k, max_iter=20, n_init=1, random_state=seed),
        ),
    }
    print(f"{args.samples:,} samples of 128 dimensions, {k} clusters, median of {args.rounds} rounds")
    for name, makers in pairs.items():
        seconds, inertias = np.empty((args.rounds, 2)), np.empty((args.rounds, 2))
        for seed in range(args.rounds):
            for column, make in enumerate(makers):
                started = time.perf_counter()
                inertias[seed, column] = make(seed).fit(X).inertia_
                seconds[seed, column] = time.perf_counter() - started
        (ours, theirs), (inertia, their_inertia) = np.median(seconds, axis=0), np.median(inertias, axis=0)
        print(
            f"{name:<18} {ours:6.1f} s, scikit-learn {theirs:6.1f} s: ratio {ours / theirs:.2f};  "
            f"inertia ratio {inertia / their_inertia:.4f}"
        )


if __name__ == "__main__":
    main()
