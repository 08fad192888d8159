"""Batches of training images: shuffled, augmented and blended, the same again when a training is resumed."""

# Keras chooses its backend when it is imported; whoever imports this module is about to train.
import keras
import numpy as np

from ferlib.preprocessing import Augmentation


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches whose content depends on the seed, the epoch and the batch's number alone.

    So a resumed training sees the images that an uninterrupted one would have seen.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    targets : ndarray of shape (n, n_classes), dtype float32
        One-hot or soft labels.
    batch_size : int
    augmentation : Augmentation or None
    sample_weight : ndarray of shape (n,), dtype float32
    mixup, cutmix : float
        Parameters of the beta distributions of blending; see `TrainingOptions`.
    seed : int
    first_epoch : int
        Where training starts, from 0.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        *,
        batch_size: int,
        augmentation: Augmentation | None,
        sample_weight: np.ndarray,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        seed: int,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.images = images
        self.targets = targets
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.sample_weight = sample_weight
        self.mixup = mixup
        self.cutmix = cutmix
        self.seed = seed
        self._start_epoch(first_epoch)

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller."""
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return batch `index` of the current epoch: float32 images of 0 to 255, targets, weights."""
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = np.random.default_rng([self.seed, self._epoch, index])
        images, targets, weights = self.images[chosen], self.targets[chosen], self.sample_weight[chosen]
        if self.augmentation is not None:
            images = self.augmentation(images, rng)
        images = images.astype(np.float32)
        if self.mixup or self.cutmix:
            images, targets = blend_batch(images, targets, rng, mixup=self.mixup, cutmix=self.cutmix)
        return images, targets, weights

    def on_epoch_end(self) -> None:
        """Shuffle anew; Keras calls this between epochs."""
        self._start_epoch(self._epoch + 1)

    def _start_epoch(self, epoch: int) -> None:
        """Draw the order of the images."""
        self._epoch = epoch
        self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))


def blend_batch(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, *, mixup: float, cutmix: float
) -> tuple[np.ndarray, np.ndarray]:
    """Blend each image of a batch, and its target, with another one of the batch: mixup, or cutmix, or either.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype float32
    targets : ndarray of shape (n, n_classes), dtype float32
    rng : numpy.random.Generator
    mixup, cutmix : float
        Parameters of the beta distributions, above 0 for what is wanted.

    Returns
    -------
    images, targets : ndarray
        Of the same shapes.
    """
    partner = rng.permutation(len(images))
    if mixup and not (cutmix and rng.random() < 0.5):
        share = rng.beta(mixup, mixup, len(images)).astype(np.float32)
        images = _blend(images, images[partner], share[:, np.newaxis, np.newaxis, np.newaxis])
        return images, _blend(targets, targets[partner], share[:, np.newaxis])
    height, width = images.shape[1:3]
    side = np.sqrt(1 - rng.beta(cutmix, cutmix))
    # A rectangle that sticks out is clipped, so that every pixel is pasted equally often.
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = np.clip(np.round([y - side * height / 2, y + side * height / 2]), 0, height).astype(int)
    left, right = np.clip(np.round([x - side * width / 2, x + side * width / 2]), 0, width).astype(int)
    images = images.copy()
    images[:, top:bottom, left:right] = images[partner, top:bottom, left:right]
    kept = np.float32(1 - (bottom - top) * (right - left) / (height * width))
    return images, _blend(targets, targets[partner], kept)


def _blend(first: np.ndarray, second: np.ndarray, share: np.ndarray | np.float32) -> np.ndarray:
    """Return `share` of the first and the rest of the second."""
    return first * share + second * (1 - share)
