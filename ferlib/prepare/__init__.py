"""Prepare training pictures: resampling changes class counts, augmentation changes pixels."""

from ferlib.prepare.augment import Augmentation
from ferlib.prepare.resample import STRATEGIES, resample_images

__all__ = ["STRATEGIES", "Augmentation", "resample_images"]
