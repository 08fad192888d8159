"""Which images of a dataset a run was trained or selected on, recomputed from its configuration."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from ferlib.core.data_info import DataInfo
from ferlib.core.errors import DataError
from ferlib.data import ImageDataset, limit_train, load_images, split_dataset
from ferlib.runs.folder import CONFIG, Run
from ferlib.runs.records import RunConfig

# Datasets that relabel the images of another one.
_SAME_IMAGES = {"FER+": "FER2013"}


def tabulate_overlap(runs: Mapping[str, Run], dataset: ImageDataset, source: str | Path) -> pd.DataFrame:
    """Return which runs may be measured on the val and test splits of a dataset.

    Parameters
    ----------
    runs : mapping
        Names to finished runs.
    dataset : ImageDataset
        Split, with the images to measure on.
    source : path
        Where the dataset was loaded from.

    Returns
    -------
    DataFrame
        One row per run: ``trained on`` (the title of its data); ``val trained on``, the number of val images that it
        was trained on; ``test seen``, the number of test images that it was trained or selected on; ``use``:
        ``"val and test"``, ``"test only"`` (val cannot compare it with other runs) or ``"nothing"``; ``note``, why.
        The numbers are NA if they cannot be recomputed.
    """
    rows = {name: _describe(run, dataset, source) for name, run in runs.items()}
    columns = ["trained on", "val trained on", "test seen", "use", "note"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.astype({"val trained on": "Int64", "test seen": "Int64"})


def keep_unseen(runs: Mapping[str, Run], overlap: pd.DataFrame) -> dict[str, Run]:
    """Return the runs that have seen no test image, from the table of `tabulate_overlap`.

    Raises
    ------
    DataError
        There is none.
    """
    kept = {name: run for name, run in runs.items() if overlap.loc[name, "use"] != "nothing"}
    if not kept:
        raise DataError("No run can be measured on this test split: train one on this split with notebook 03.")
    return kept


def choose_on_val(accuracies: Mapping[str, float], overlap: pd.DataFrame) -> str:
    """Return the name with the highest val accuracy among the runs that were not trained on val images.

    If all were, none can be chosen by val, and the last name is returned.
    """
    fair = [name for name in accuracies if overlap.loc[name, "use"] == "val and test"]
    return max(fair, key=accuracies.__getitem__) if fair else list(accuracies)[-1]


def splits_in_training(run: Run, dataset: ImageDataset, source: str | Path) -> np.ndarray:
    """Return the split that each image of a dataset had in a run's training, str (n,); ``""`` if it was not used.

    An ensemble has also seen the images of its members, and a run those of the runs that gave it initial weights or
    targets, if their folders are next to its own. See `tabulate_overlap` for the parameters.

    Raises
    ------
    DataError
        The images of the training cannot be recomputed, and may be these.
    """
    config = run.config
    related = [*run.members, *_related_runs(run)]
    theirs = [_own_splits(config, dataset, source), *(splits_in_training(other, dataset, source) for other in related)]
    combined = theirs[0].copy()
    # Training counts more than selection, and selection more than a test.
    for split in ("test", "val", "train"):
        for each in theirs:
            combined[each == split] = split
    return combined


def _describe(run: Run, dataset: ImageDataset, source: str | Path) -> tuple[str, int | None, int | None, str, str]:
    """Return a row of `tabulate_overlap`."""
    data = run.config.data
    title = data.title if data else "unknown data"
    try:
        theirs = splits_in_training(run, dataset, source)
    except DataError as error:
        return title, None, None, "nothing", str(error)
    trained_on_val = int((theirs[dataset.splits == "val"] == "train").sum())
    seen = int(np.isin(theirs[dataset.splits == "test"], ("train", "val")).sum())
    n_test = int((dataset.splits == "test").sum())
    if seen:
        return title, trained_on_val, seen, "nothing", f"It has seen {seen:,} of the {n_test:,} test images."
    if trained_on_val:
        return title, trained_on_val, 0, "test only", f"It was trained on {trained_on_val:,} of the val images."
    return title, 0, 0, "val and test", ""


def _own_splits(config: RunConfig, dataset: ImageDataset, source: str | Path) -> np.ndarray:
    """Return `splits_in_training` without other runs."""
    data = config.data
    if data is None:
        raise DataError("It does not record its data.")
    if not _share_images(data, dataset.info):
        return np.full(len(dataset), "", dtype="U5")
    if data.sha256 == dataset.info.sha256:
        theirs = _repeat_split(config, data, dataset, source)
    elif _family(data) == "FER2013" and (data.split is None or data.split.scheme == "official"):
        # Another copy of FER2013: val is part of the same Training.
        theirs = load_images(source, emotions=config.class_names, **dataset.info.reading())
    else:
        raise DataError(f"It was trained on another copy of {data.title}, whose split cannot be recomputed.")
    by_name = dict(zip(theirs.names.tolist(), theirs.splits.tolist(), strict=True))
    return np.array([by_name.get(name, "") for name in dataset.names.tolist()], dtype="U5")


def _repeat_split(config: RunConfig, data: DataInfo, dataset: ImageDataset, source: str | Path) -> ImageDataset:
    """Return the training's images with its splits."""
    theirs = dataset
    ours = dataset.info
    same_options = (data.sample_size, data.train_size, data.split) == (ours.sample_size, ours.train_size, ours.split)
    # Another of FER2013's tests gives other counts.
    if not same_options or not _has_counts(dataset, config):
        seed = data.split.seed if data.split else 0
        theirs = load_images(
            source, emotions=config.class_names, sample_size=data.sample_size, seed=seed, **data.reading()
        )
        if data.split:
            theirs = split_dataset(theirs, **asdict(data.split))
        if data.train_size:
            theirs = limit_train(theirs, data.train_size, seed=seed)
    if config.image_counts and not _has_counts(theirs, config):
        raise DataError("Its recorded numbers of images differ from those of the split that was recomputed.")
    return theirs


def _has_counts(dataset: ImageDataset, config: RunConfig) -> bool:
    """Return whether a dataset has a run's numbers of images, in the splits that the run used: a trial has no test."""
    counts = dataset.counts().to_dict()
    return {split: counts.get(split) for split in config.image_counts} == config.image_counts


def _related_runs(run: Run) -> list[Run]:
    """Return the runs next to a run that gave it initial weights or targets."""
    training = run.config.training
    # Only the name is used: a configuration from elsewhere must not choose which files are read.
    names = [Path(training[key]).name for key in ("init_from", "teacher") if training.get(key)]
    siblings = [run.path.parent / name for name in names if name != run.name]
    return [Run(path) for path in siblings if (path / CONFIG).is_file()]


def _share_images(first: DataInfo, second: DataInfo) -> bool:
    """Return whether two sources may contain the same images."""
    return first.sha256 == second.sha256 or _family(first) == _family(second)


def _family(data: DataInfo) -> str:
    """Return the dataset that the images come from."""
    return _SAME_IMAGES.get(data.title, data.title)
