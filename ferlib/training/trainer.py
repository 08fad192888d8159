"""What the trainers of all model families share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ferlib.core.errors import DataError
from ferlib.core.images import fit_to_model
from ferlib.data import ImageDataset
from ferlib.models import ModelSpec
from ferlib.preprocessing import resample_images
from ferlib.runs.folder import Run
from ferlib.runs.records import PhotographsOutput, TestTimeAugmentation
from ferlib.training.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a fit adds to a run's configuration; see `ferlib.runs.records.RunConfig`."""

    parameters: int | None = None
    seconds: float | None = None
    photographs: PhotographsOutput | None = None


class Trainer(Protocol):
    """Fits one model of a family; its attributes are those of `ferlib.runs.records.RunConfig`."""

    test_time_augmentation: TestTimeAugmentation

    @property
    def backend(self) -> str | None: ...  # noqa: D102

    @property
    def n_members(self) -> int | None: ...  # noqa: D102

    def fit(self, dataset: ImageDataset, run: Run, *, resume: bool) -> FitResult:
        """Fit the model to the train split and write it into the run's folder.

        With `resume`, continue from what an interrupted fit left there.
        """


def training_images(spec: ModelSpec, dataset: ImageDataset, options: TrainingOptions) -> tuple[np.ndarray, np.ndarray]:
    """Return the resampled train split in the model's format: images uint8 (n, H, W, C) and labels int64 (n,).

    Raises
    ------
    DataError
        The train split is empty or has a single class.
    """
    train = dataset.split("train")
    present = np.unique(train.labels)
    if len(present) < 2:
        raise DataError(f"All training images are {dataset.class_names[present[0]]}; at least two classes are needed.")
    images = fit_to_model(train.images, image_size=spec.image_size, channels=spec.channels)
    return resample_images(images, train.labels, options.resample, random_state=options.seed)
