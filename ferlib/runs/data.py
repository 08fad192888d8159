"""Load data to evaluate a run's model on."""

import logging
from dataclasses import asdict
from pathlib import Path

from ferlib.core.data_info import SplitInfo
from ferlib.core.emotions import EMOTIONS
from ferlib.data import SPLITS, ImageDataset, load_images, split_dataset
from ferlib.runs.records import RunConfig

logger = logging.getLogger(__name__)


def load_run_data(path: str | Path, config: RunConfig, split: str) -> ImageDataset:
    """Load a dataset to evaluate a run's model on one split of it.

    The data that the run was trained on are sampled and split as for its training, so that its val and test contain no
    training images. Other data keep their own test split; their train and val are split with the run's options.

    Parameters
    ----------
    path : path
    config : RunConfig
    split : str
        The split that will be used: train, val, test, or the source's own name, such as PublicTest.
    """
    trained_on = config.data
    options = trained_on.split if trained_on and trained_on.split else SplitInfo()
    emotions = None if config.class_names == EMOTIONS else config.class_names
    dataset = load_images(path, emotions=emotions)
    is_training_data = trained_on is not None and dataset.info.sha256 == trained_on.sha256
    resplit = is_training_data and options.scheme != "official"
    if split not in SPLITS or (split == "test" and not resplit):
        return dataset
    if not is_training_data:
        logger.warning("re-splitting %s, because this is not the dataset that %s was trained on", split, config.model)
    elif trained_on is not None and trained_on.sample_size:
        dataset = load_images(path, emotions=emotions, sample_size=trained_on.sample_size, seed=options.seed)
    return split_dataset(dataset, **asdict(options))
