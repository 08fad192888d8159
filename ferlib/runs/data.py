"""Load data to evaluate a run's model on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.core.crops import DEFAULT_CROP
from ferlib.core.data_info import DataInfo, SplitInfo
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.data import SPLITS, ImageDataset, load_images, split_dataset
from ferlib.data.archive import open_tree
from ferlib.faces import make_detector
from ferlib.faces.crops import FaceCropper
from ferlib.runs.records import RunConfig

logger = logging.getLogger(__name__)


def load_run_data(
    path: str | Path,
    config: RunConfig,
    split: str,
    *,
    reading: Mapping[str, Any] | None = None,
    process: Callable[[np.ndarray], np.ndarray | None] | None = None,
) -> ImageDataset:
    """Load a dataset to evaluate a run's model on one split of it.

    The data that the run was trained on are sampled and split as for its training, so that its val and test contain no
    training images. Other data keep their own test split; their train and val are split with the run's options. Images
    that are larger than the model's input are reduced to it.

    Parameters
    ----------
    path : path
    config : RunConfig
        The classes of the dataset are those of the run's that are emotions.
    split : str
        The split that will be used: train, val, test, or the source's own name, such as PublicTest. Only PrivateTest
        itself loads FER2013's final test where there is a PublicTest.
    reading : mapping, optional
        Further arguments of `load_images`; those that are empty are taken from the run.
    process : callable, optional
        See `load_images`.
    """
    trained_on = config.data
    options = trained_on.split if trained_on and trained_on.split else SplitInfo()
    recorded = _recorded_reading(path, trained_on)
    given = {name: value for name, value in (reading or {}).items() if value}
    classes = [name for name in EMOTIONS if name in config.class_names]
    if len(classes) < 2:
        raise DataError(f"The classes of {config.model} are {', '.join(config.class_names)}: datasets have emotions.")
    loading: dict[str, Any] = {
        "emotions": classes if len(classes) < len(EMOTIONS) else None,
        "max_image_size": config.image_size,
        # Gray before it is resized, as in prediction.
        "channels": 1 if config.channels == 1 else None,
        "test_usage": "PrivateTest" if split == "PrivateTest" else "PublicTest",
        "process": process,
    }
    loading |= recorded | given
    dataset = load_images(path, **loading)
    is_training_data = trained_on is not None and dataset.info.sha256 == trained_on.sha256
    resplit = is_training_data and options.scheme != "official"
    if split not in SPLITS or (split == "test" and not resplit):
        return dataset
    if not is_training_data:
        logger.warning("re-splitting %s, because this is not the dataset that %s was trained on", split, config.model)
    elif trained_on is not None and trained_on.sample_size:
        dataset = load_images(path, **loading, sample_size=trained_on.sample_size, seed=options.seed)
    return split_dataset(dataset, **asdict(options))


def _recorded_reading(path: str | Path, trained_on: DataInfo | None) -> dict[str, Any]:
    """Return how a run read its data, if the data at a path are the same; else nothing."""
    recorded: dict[str, Any] = (
        {name: value for name, value in trained_on.reading().items() if value} if trained_on else {}
    )
    if trained_on and trained_on.detected:
        recorded["process"] = FaceCropper(make_detector(), geometry=trained_on.crop or DEFAULT_CROP)
    # The checksum of a large dataset takes a while, and most runs were read without options.
    if not recorded or trained_on is None:
        return {}
    with open_tree(path) as tree:
        return recorded if tree.sha256() == trained_on.sha256 else {}
