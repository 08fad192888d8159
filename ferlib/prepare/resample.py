"""Change the class counts of training pictures, through imbalanced-learn; never those of validation or test."""

import numpy as np

from ferlib.errors import FerlibError

#: What `resample_images` knows, beside doing nothing.
STRATEGIES = ("none", "random_over", "random_under", "smote")


def resample_images(
    images: np.ndarray, labels: np.ndarray, strategy: str, *, random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return training pictures with every class as large as the largest, or as the smallest.

    Only the training split may be given: resampled before a split, copies and blends of one picture would stand on
    both sides of it, and validation would measure memory.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    labels : ndarray of shape (n,), dtype int
    strategy : {"none", "random_over", "random_under", "smote"}
        SMOTE makes new pictures on the line between a picture and one of its nearest neighbours of the same class.
    random_state : int

    Returns
    -------
    images : ndarray of shape (m, H, W, C), dtype uint8
    labels : ndarray of shape (m,), dtype int

    Raises
    ------
    FerlibError
        The strategy is unknown, or a class has too few pictures for SMOTE (two at least).

    References
    ----------
    N. Chawla, K. Bowyer, L. Hall, W. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 2002.
    """
    if strategy not in STRATEGIES:
        raise FerlibError(f"There is no resampling '{strategy}'; expected one of {', '.join(STRATEGIES)}.")
    if strategy == "none":
        return images, labels
    if strategy == "smote":
        return _smote(images, labels, random_state)
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler_class = RandomOverSampler if strategy == "random_over" else RandomUnderSampler
    indices = np.arange(len(images)).reshape(-1, 1)
    chosen, new_labels = sampler_class(random_state=random_state).fit_resample(indices, labels)
    return images[chosen[:, 0]], new_labels


def _smote(images: np.ndarray, labels: np.ndarray, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    """SMOTE over pixels: uint8 (n, H, W, C) to uint8 (m, H, W, C)."""
    from imblearn.over_sampling import SMOTE

    smallest = np.unique(labels, return_counts=True)[1].min()
    if smallest < 2:
        raise FerlibError("SMOTE needs at least two training pictures of every class; take more pictures.")
    # Five neighbours are the method's default; a class of five pictures has only four.
    smote = SMOTE(k_neighbors=min(5, smallest - 1), random_state=random_state)
    # float32 halves what imbalanced-learn would need as float64: 0.5 GB for all of FER2013.
    pixels, new_labels = smote.fit_resample(images.reshape(len(images), -1).astype(np.float32), labels)
    return np.clip(pixels, 0, 255).round().astype(np.uint8).reshape(-1, *images.shape[1:]), new_labels
