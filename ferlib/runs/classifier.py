"""Load a run's trained model: images in, calibrated probabilities out."""

import copy
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ferlib.core.backend import import_keras
from ferlib.core.console import progress_bar
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.images import fit_to_model
from ferlib.runs.folder import (
    KERAS_MODEL,
    MEMBERS,
    ONNX_MODEL,
    SKOPS_MODEL,
    PretrainedName,
    Run,
    model_title,
    pretrained_run_dir,
)
from ferlib.runs.onnx_session import OnnxSession
from ferlib.runs.records import RunConfig, TestTimeAugmentation
from ferlib.runs.safety import check_keras, check_zip, limited_memory
from ferlib.runs.views import VIEWS, make_views

if TYPE_CHECKING:
    import keras
    from sklearn.pipeline import Pipeline

_BATCH_SIZE = 256

# Packages that are missing where only prediction is installed.
_LIBRARIES = ("keras", "tensorflow", "jax", "torch", "skops", "sklearn", "joblib", "h5py")

#: Classes that our scikit-learn pipelines may contain besides those that skops trusts.
_TRUSTED = (
    "ferlib.models.bovw.kernel_ridge.KernelRidgeClassifier",
    "ferlib.models.bovw.transformer.BagOfVisualWords",
)


class Classifier(ABC):
    """A trained model of any kind; several threads may use it.

    Attributes
    ----------
    run : Run
        The folder that it was loaded from.
    config : RunConfig
        The run's configuration, with the test-time augmentation and calibration that are in use.
    name : str
        The model, as results name it; see `ferlib.runs.folder.model_title`.
    class_names, image_size, channels, crop, training_shares
        As in `config`. Probabilities are those under the training shares; see
        `ferlib.runs.prior`.
    photographs : bool
        Whether the probabilities are those of `for_photographs`.
    """

    photographs = False

    def __init__(self, run: Run, config: RunConfig) -> None:
        self.run = run
        self.config = config
        self.name = model_title(run, config)
        self.class_names = config.class_names
        self.image_size = config.image_size
        self.channels = config.channels
        self.crop = config.crop
        self.training_shares = config.training_shares

    def calibrate(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (n, n_classes) after the run's calibration, if it has one."""
        calibration = self.config.calibration
        return probabilities if calibration is None else calibration.apply(probabilities)

    def for_photographs(self) -> "Classifier":
        """Return a classifier with the answers for photographs, if the model has such an output; else this one.

        Its answers mostly follow the raters' votes of FER+, and `training_shares` are the class shares that they
        assume; see `ferlib.training.photographs`. Both classifiers share the loaded model.
        """
        return self

    @abstractmethod
    def predict_proba(self, images: np.ndarray, *, progress: bool = False) -> np.ndarray:
        """Return the probability of each emotion.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), dtype uint8
            Gray or RGB faces of any size, 0 to 255; they are converted to the model's color and size.
        progress : bool
            Show a progress bar.

        Returns
        -------
        ndarray of shape (n, n_classes), dtype float32
            Rows sum to 1; no rows for no images.

        Raises
        ------
        ValueError
            `images` has another shape or dtype.
        """


class SingleModel(Classifier):
    """A classifier with one network or pipeline; subclasses implement `_predict`."""

    def predict_proba(self, images: np.ndarray, *, progress: bool = False) -> np.ndarray:
        """Return the probability of each emotion; see `Classifier`."""
        images = fit_to_model(images, image_size=self.image_size, channels=self.channels)
        probabilities = np.empty((len(images), len(self.class_names)), np.float32)
        starts = range(0, len(images), _BATCH_SIZE)
        for start in progress_bar(starts, desc="predict", unit="batch", delay=1) if progress else starts:
            batch = slice(start, start + _BATCH_SIZE)
            views = make_views(images[batch], self.config.test_time_augmentation)
            # One call for all views is faster where images are few.
            parts = np.split(self._predict(np.concatenate(views)), len(views))
            probabilities[batch] = self.calibrate(_mean(parts))
        return probabilities

    @abstractmethod
    def _predict(self, images: np.ndarray) -> np.ndarray:
        """Return the model's own probabilities (n, n_classes) for uint8 images (n, H, W, C) of its size and color."""


class NetworkClassifier(SingleModel):
    """A network, which may have a second output."""

    _output: Literal["label", "photographs"] | None = None

    def __init__(self, run: Run, config: RunConfig) -> None:
        super().__init__(run, config)
        if config.photographs is not None:
            self._output = "label"

    def for_photographs(self) -> Classifier:
        """Return a classifier with the answers for photographs; see `Classifier`."""
        if self.config.photographs is None:
            return self
        other = copy.copy(self)
        other._output, other.photographs = "photographs", True
        other.training_shares = self.config.photographs.shares
        # Probabilities that are not calibrated stay so.
        if self.config.calibration is not None:
            other.config = replace(self.config, calibration=self.config.photographs.calibration)
        return other


class OnnxClassifier(NetworkClassifier):
    """A network on ONNX Runtime."""

    def __init__(self, run: Run, config: RunConfig, n_threads: int = 0) -> None:
        super().__init__(run, config)
        self._session = OnnxSession(run.path / ONNX_MODEL, n_threads)

    def _predict(self, images: np.ndarray) -> np.ndarray:
        return self._session.predict(images, self._output)


class KerasClassifier(NetworkClassifier):
    """A network in Keras."""

    def __init__(self, run: Run, config: RunConfig) -> None:
        super().__init__(run, config)
        self.model = load_keras_model(run)
        self._all = load_keras_model(run, all_outputs=True) if config.photographs is not None else self.model
        # Keras builds its prediction function at the first call.
        self._lock = threading.Lock()

    def _predict(self, images: np.ndarray) -> np.ndarray:
        with self._lock:
            probabilities = self._all.predict_on_batch(images.astype(np.float32))
        return np.asarray(probabilities if self._output is None else probabilities[self._output])


class SklearnClassifier(SingleModel):
    """A scikit-learn pipeline."""

    def __init__(self, run: Run, config: RunConfig) -> None:
        super().__init__(run, config)
        self._pipeline = load_pipeline(run)

    def _predict(self, images: np.ndarray) -> np.ndarray:
        # scikit-learn has no column for a class without training images.
        probabilities = np.zeros((len(images), len(self.class_names)), np.float32)
        probabilities[:, self._pipeline.classes_] = self._pipeline.predict_proba(images)
        return probabilities


class Ensemble(Classifier):
    """The mean of several classifiers, each with its own image size, test-time augmentation and calibration."""

    def __init__(self, run: Run, config: RunConfig, members: Sequence[Classifier]) -> None:
        super().__init__(run, config)
        self.members = tuple(members)

    def predict_proba(self, images: np.ndarray, *, progress: bool = False) -> np.ndarray:
        """Return the mean of the members' probabilities; see `Classifier`."""
        parts = [member.predict_proba(images, progress=progress) for member in self.members]
        return self.calibrate(_mean(parts))

    def for_photographs(self) -> Classifier:
        """Return an ensemble of the members' answers for photographs, if all of them have such; see `Classifier`."""
        members = tuple(member.for_photographs() for member in self.members)
        if not all(member.photographs for member in members):
            return self
        other = copy.copy(self)
        other.members, other.photographs = members, True
        other.config = replace(self.config, calibration=None)
        other.training_shares = members[0].training_shares
        return other


def _mean(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(probabilities, axis=0, dtype=np.float32))


def load_classifier(
    run: str | os.PathLike[str] | None = None,
    *,
    model: PretrainedName = "default",
    calibrated: bool = True,
    test_time_augmentation: TestTimeAugmentation | None = None,
    n_threads: int = 0,
) -> Classifier:
    """Load a run's model for prediction.

    Parameters
    ----------
    run : path or Run, optional
        A run folder; a pretrained model when None.
    model : {"default", "fast"}
        The pretrained model; see `pretrained_run_dir`.
    calibrated : bool
        Apply the run's calibration. Members of an ensemble always apply their own.
    test_time_augmentation : {"none", "flip", "ten_crop"}, optional
        Used instead of the run's own, for an ensemble in each member.
    n_threads : int
        Threads of ONNX Runtime; 0 for one per available core.

    Raises
    ------
    ArtifactError
        The folder is missing, incomplete or damaged, or contains something that must not be loaded.
    OptionError
        `test_time_augmentation` is unknown.
    """
    own = run is None
    run = Run(pretrained_run_dir(model) if run is None else run)
    config = run.config
    if test_time_augmentation is not None:
        if test_time_augmentation not in VIEWS:
            raise OptionError(
                f"test_time_augmentation: expected one of {', '.join(VIEWS)}, got {test_time_augmentation!r}."
            )
        config = replace(config, test_time_augmentation=test_time_augmentation)
    if not calibrated:
        config = replace(config, calibration=None)
    if (run.path / MEMBERS).is_dir():
        if run.path.parent.name == MEMBERS and run.path.parent.parent.parent.name == MEMBERS:
            raise ArtifactError(f"{run.path}: ensembles are nested too deeply.")
        if len(run.members) < (config.n_members or 0):
            raise ArtifactError(f"{run.path} is not complete; finish its training with --resume.")
        members = [
            load_classifier(member, test_time_augmentation=test_time_augmentation, n_threads=n_threads)
            for member in run.members
        ]
        return Ensemble(run, config, members)
    path = run.model_file
    if path is None:
        raise ArtifactError(f"{run.path} contains no model; finish its training with --resume.")
    if own:
        return OnnxClassifier(run, config, n_threads)
    try:
        with limited_memory():
            return _load_and_try(path, run, config, n_threads)
    except ArtifactError:
        raise
    # Each library has its own errors for a damaged file.
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in _LIBRARIES:
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(f"{path} cannot be loaded ({reason[0][:300]}).") from error


def _load_and_try(path: Path, run: Run, config: RunConfig, n_threads: int) -> Classifier:
    """Return the classifier in a model file after it has predicted for one image."""
    classifier: Classifier
    if path.name == ONNX_MODEL:
        classifier = OnnxClassifier(run, config, n_threads)
    else:
        classifier = KerasClassifier(run, config) if path.name == KERAS_MODEL else SklearnClassifier(run, config)
    probabilities = classifier.predict_proba(np.full((1, *config.image_size, config.channels), 128, np.uint8))
    if not np.isfinite(probabilities).all():
        raise ArtifactError(f"{path}: the model's answers are not numbers.")
    return classifier


def load_keras_model(run: str | os.PathLike[str], *, all_outputs: bool = False) -> "keras.Model":
    """Return a run's network as a Keras model, for further training or gradients.

    Its output are the probabilities of the labels; with `all_outputs`, a network with several outputs gives a mapping
    from their names to probabilities.

    Raises
    ------
    ArtifactError
        The run has none.
    """
    path = _require(run, KERAS_MODEL, "Keras network")
    check_keras(path)
    keras = import_keras()
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if all_outputs or not isinstance(model.output, dict):
        return model
    return keras.Model(model.input, model.output["label"], name=model.name)


def load_pipeline(run: str | os.PathLike[str]) -> "Pipeline":
    """Return a run's scikit-learn pipeline.

    Raises
    ------
    ArtifactError
        The run has none, or it was trained by a version of ferlib whose classes have moved.
    """
    path = _require(run, SKOPS_MODEL, "scikit-learn pipeline")
    check_zip(path)
    import skops.io

    moved = [
        name for name in skops.io.get_untrusted_types(file=path) if name.startswith("ferlib.") and name not in _TRUSTED
    ]
    if moved:
        raise ArtifactError(f"{path} was trained by another version of ferlib ({moved[0]}); train the model again.")
    pipeline: Any = skops.io.load(path, trusted=list(_TRUSTED))
    return pipeline


def _require(run: str | os.PathLike[str], file_name: str, what: str) -> Path:
    """Return the path of a run's file, which must exist."""
    path = Run(run).path / file_name
    if not path.exists():
        raise ArtifactError(f"{path.parent} has no {what} ({file_name}).")
    return path
