"""Batches of training images: shuffled, augmented and blended, and reproducible when a training is resumed."""

from collections.abc import Mapping

import keras
import numpy as np

from ferlib.training.options import TrainingOptions

Arrays = dict[str, np.ndarray]


class TrainingBatches(keras.utils.PyDataset):
    """Batches that depend only on the seed, the epoch and the batch number.

    A resumed training therefore sees the same images as an uninterrupted one.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    targets : dict of ndarray of shape (n, n_classes), dtype float32
        One-hot or soft targets by output name. Rows of zeros have no target, and a weight of 0 for that output.
    sample_weight : ndarray of shape (n,), dtype float32
    options : TrainingOptions
    first_epoch : int
        Epoch to start with, counted from 0.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: Arrays,
        sample_weight: np.ndarray,
        options: TrainingOptions,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.images = images
        self.targets = targets
        self.sample_weight = sample_weight
        self.options = options
        self._start_epoch(first_epoch)

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller."""
        return -(-len(self.images) // self.options.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Arrays, Arrays]:
        """Return a batch of the current epoch: float32 images (0 to 255), targets and weights by output name."""
        options = self.options
        rows = self._order[index * options.batch_size : (index + 1) * options.batch_size]
        rng = np.random.default_rng([options.seed, self._epoch, index])
        images = self.images[rows]
        targets = {name: values[rows] for name, values in self.targets.items()}
        if options.augmentation is not None:
            images = options.augmentation(images, rng)
        images = images.astype(np.float32)
        if options.mixup or options.cutmix:
            images, targets = blend_batch(images, targets, rng, mixup=options.mixup, cutmix=options.cutmix)
        weights = {name: self.sample_weight[rows] * values.any(axis=1) for name, values in targets.items()}
        return images, targets, weights

    def on_epoch_end(self) -> None:
        """Shuffle again; Keras calls this between epochs."""
        self._start_epoch(self._epoch + 1)

    def _start_epoch(self, epoch: int) -> None:
        """Draw the order of the images."""
        self._epoch = epoch
        self._order = np.random.default_rng([self.options.seed, epoch]).permutation(len(self.images))


def blend_batch(
    images: np.ndarray, targets: Mapping[str, np.ndarray], rng: np.random.Generator, *, mixup: float, cutmix: float
) -> tuple[np.ndarray, Arrays]:
    """Blend each image and its targets with another image of the batch, by mixup or cutmix.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype float32
    targets : mapping of ndarray of shape (n, n_classes), dtype float32
    mixup, cutmix : float
        Parameters of the beta distributions, at least one of them above 0. With both, one is chosen at random.

    Returns
    -------
    images : ndarray
    targets : dict of ndarray
        Of the same shapes.
    """
    partner = rng.permutation(len(images))
    if mixup and not (cutmix and rng.random() < 0.5):
        share = rng.beta(mixup, mixup, len(images)).astype(np.float32)
        images = _blend(images, partner, share[:, np.newaxis, np.newaxis, np.newaxis])
        return images, {name: _blend(values, partner, share[:, np.newaxis]) for name, values in targets.items()}
    height, width = images.shape[1:3]
    side = np.sqrt(1 - rng.beta(cutmix, cutmix))
    # Clipping at the border makes all pixels equally likely to be replaced.
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = np.clip(np.round([y - side * height / 2, y + side * height / 2]), 0, height).astype(int)
    left, right = np.clip(np.round([x - side * width / 2, x + side * width / 2]), 0, width).astype(int)
    images = images.copy()
    images[:, top:bottom, left:right] = images[partner, top:bottom, left:right]
    kept = np.float32(1 - (bottom - top) * (right - left) / (height * width))
    return images, {name: _blend(values, partner, kept) for name, values in targets.items()}


def _blend(values: np.ndarray, partner: np.ndarray, share: np.ndarray | np.float32) -> np.ndarray:
    """Return `share` of each row and the rest of its partner."""
    return values * share + values[partner] * (1 - share)
