"""Fit a scikit-learn pipeline."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferlib.core.files import atomic_write
from ferlib.data import ImageDataset
from ferlib.models import ModelSpec
from ferlib.runs.folder import SKOPS_MODEL, Run
from ferlib.runs.records import TestTimeAugmentation
from ferlib.training.options import TrainingOptions
from ferlib.training.out_of_fold import write_out_of_fold
from ferlib.training.trainer import FitResult, training_images


@dataclass
class SklearnTrainer:
    """Trainer of scikit-learn pipelines; an interrupted fit starts from the beginning."""

    spec: ModelSpec
    options: TrainingOptions
    model_options: Mapping[str, Any]
    test_time_augmentation: TestTimeAugmentation = "none"
    backend: None = None
    n_members: None = None

    def fit(self, dataset: ImageDataset, run: Run, *, resume: bool) -> FitResult:  # noqa: ARG002
        """Fit the pipeline and write it; see `Trainer.fit`."""
        import skops.io

        started = time.perf_counter()
        pipeline = self.spec.build(random_state=self.options.seed, **self.model_options)
        classifier = pipeline[-1]
        if self.options.class_weight != "none":
            classifier.set_params(class_weight=self.options.class_weight)
        images, labels = training_images(self.spec, dataset, self.options)
        pipeline.fit(images, labels)
        with atomic_write(run.path / SKOPS_MODEL) as path:
            skops.io.dump(pipeline, path)
        if hasattr(classifier, "loo_proba_"):
            # scikit-learn has no column for a class without training images.
            probabilities = np.zeros((len(classifier.kept_), len(dataset.class_names)))
            probabilities[:, pipeline.classes_] = classifier.loo_proba_
            write_out_of_fold(run, images[classifier.kept_], probabilities)
        return FitResult(seconds=round(time.perf_counter() - started, 1))
