"""Prepare training images: resampling changes class counts, augmentation changes pixels."""

from ferlib.preprocessing.augment import Augmentation
from ferlib.preprocessing.resample import STRATEGIES, Strategy, resample_images

__all__ = ["STRATEGIES", "Augmentation", "Strategy", "resample_images"]
