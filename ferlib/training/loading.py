"""Which images a training uses: the options of ``ferlib train`` and ``ferlib tune``, and loading by them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferlib.core.emotions import parse_emotions
from ferlib.core.errors import DataError, OptionError
from ferlib.core.options import check_options, option
from ferlib.data import ImageDataset, limit_train, load_images, split_dataset
from ferlib.data.splits import parse_scheme
from ferlib.faces import make_detector
from ferlib.faces.crops import FaceCropper, SnapshotCheck
from ferlib.models import ModelSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Which images are used, and in which split."""

    emotions: tuple[str, ...] | None = option(
        None, help="train on these emotions only (default: all seven)", metavar="A,B,...", group="data"
    )
    split_scheme: str = option("official", help="official, 90/10 or 70/15/15", metavar="SCHEME", group="data")
    val_fraction: float = option(0.1, help="share of train that becomes val", minimum=0, below=1, group="data")
    split_seed: int | None = option(
        None, help="random seed of the split and the sample (default: --seed)", minimum=0, group="data"
    )
    sample_size: int | None = option(None, help="use a stratified sample of this many images", minimum=1, group="data")
    train_size: int | None = option(
        None, help="train on a stratified sample of this many images; val and test stay whole", minimum=2, group="data"
    )
    detect: bool = option(False, help="cut the largest face out of each image, for photographs", group="data")

    def __post_init__(self) -> None:
        """Check types, ranges and combinations."""
        check_options(self)
        try:
            parse_emotions(self.emotions)
            parse_scheme(self.split_scheme, self.val_fraction)
        except DataError as error:
            raise OptionError(str(error)) from None


def load_for_training(
    path: Path, spec: ModelSpec, options: ImageOptions, reading: dict[str, Any], *, seed: int, any_size: bool = False
) -> ImageDataset:
    """Return a dataset for a model, sampled and split, with all of its training images.

    Parameters
    ----------
    path : Path
    spec : ModelSpec
        Larger images than the model takes would only fill the memory, and are resized.
    options : ImageOptions
        `train_size` is left to `ferlib.data.limit_train`.
    reading : dict
        See `ferlib.data.options.DataOptions.loading`.
    seed : int
        Of the sample and the split, unless `options` have their own.
    any_size : bool
        Keep the size and the channels, because other models use the images too.
    """
    seed = seed if options.split_seed is None else options.split_seed
    detector = make_detector()
    check = SnapshotCheck(detector)
    dataset = load_images(
        path,
        emotions=options.emotions,
        sample_size=options.sample_size,
        seed=seed,
        max_image_size=None if any_size else spec.image_size,
        # Gray before it is resized, as in prediction.
        channels=1 if not any_size and spec.channels == 1 else None,
        process=FaceCropper(detector) if options.detect else check,
        **reading,
    )
    if warning := check.warning():
        logger.warning(warning)
    return split_dataset(dataset, options.split_scheme, val_fraction=options.val_fraction, seed=seed)


def limit_by_options(dataset: ImageDataset, options: ImageOptions) -> ImageDataset:
    """Return a dataset from `load_for_training` with at most `train_size` training images."""
    if options.train_size is None:
        return dataset
    assert dataset.info.split is not None
    return limit_train(dataset, options.train_size, seed=dataset.info.split.seed)
