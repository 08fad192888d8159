"""Divide a total into whole numbers in given proportions."""

import math
from collections.abc import Sequence


def apportion(total: int, weights: Sequence[float], *, minimum: int = 0) -> list[int]:
    """Return whole numbers that sum to `total`, in proportion to `weights`, by the method of largest remainders.

    Each part gets `minimum` first, and the rest is divided; `total` is at least ``minimum * len(weights)``.

    Examples
    --------
    >>> apportion(10, [0.7, 0.15, 0.15])
    [7, 2, 1]
    """
    rest, weight_sum = total - minimum * len(weights), sum(weights)
    if not rest:
        return [minimum] * len(weights)
    shares = [rest * weight / weight_sum for weight in weights]
    counts = [minimum + math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda part: math.floor(shares[part]) - shares[part])
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return counts
