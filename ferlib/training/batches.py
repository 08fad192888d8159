"""Batches of training images: shuffled, augmented and blended, and reproducible when a training is resumed."""

from collections.abc import Mapping

import keras
import numpy as np

from ferlib.training.options import TrainingOptions

Arrays = dict[str, np.ndarray]


class TrainingBatches(keras.utils.PyDataset):
    """Batches that depend only on the seed, the epoch and the batch number.

    A resumed training therefore sees the same images as an uninterrupted one.

    `images` are uint8 (n, H, W, C), `sample_weight` float32 (n,). `targets` are one-hot or soft, float32
    (n, n_classes), by output name; rows of zeros have no target, and a weight of 0 for that output. `first_epoch`
    counts from 0.
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
        if options.mixup:
            images, targets = mix_batch(images, targets, rng, options.mixup)
        weights = {name: self.sample_weight[rows] * values.any(axis=1) for name, values in targets.items()}
        return images, targets, weights

    def on_epoch_end(self) -> None:
        """Shuffle again; Keras calls this between epochs."""
        self._start_epoch(self._epoch + 1)

    def _start_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = np.random.default_rng([self.options.seed, epoch]).permutation(len(self.images))


def mix_batch(
    images: np.ndarray, targets: Mapping[str, np.ndarray], rng: np.random.Generator, mixup: float
) -> tuple[np.ndarray, Arrays]:
    """Blend each image (n, H, W, C), float32, and its targets (n, n_classes) with another image of the batch.

    The shares come from the beta distribution with both parameters equal to `mixup`.
    """
    partner = rng.permutation(len(images))
    share = rng.beta(mixup, mixup, len(images)).astype(np.float32)
    images = _blend(images, partner, share[:, np.newaxis, np.newaxis, np.newaxis])
    return images, {name: _blend(values, partner, share[:, np.newaxis]) for name, values in targets.items()}


def _blend(values: np.ndarray, partner: np.ndarray, share: np.ndarray) -> np.ndarray:
    return values * share + values[partner] * (1 - share)
