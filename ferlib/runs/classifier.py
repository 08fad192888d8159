"""Load a run's trained model: images in, calibrated probabilities out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.core.backend import import_keras
from ferlib.core.errors import ArtifactError
from ferlib.core.images import fit_to_model, make_views
from ferlib.runs.calibration import scale_logits
from ferlib.runs.folder import (
    KERAS_MODEL,
    MEMBERS,
    MODEL_FILES,
    SKOPS_MODEL,
    pretrained_run_dir,
    read_config,
)

#: Classes that a scikit-learn pipeline of ours may hold; any other class that skops does not know is refused.
_TRUSTED = (
    "ferlib.models.bovw.kernel_ridge.KernelRidgeClassifier",
    "ferlib.models.bovw.transformer.BagOfVisualWords",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)


class Classifier:
    """A trained model of any kind: images in, probabilities of the emotions out.

    Attributes
    ----------
    class_names : tuple of str
        The emotions, in the order of the probabilities' columns.
    image_size : tuple of int
        (height, width) of the model's input in pixels.
    channels : int
        1 for a model of gray images, 3 for RGB.
    name : str
        The model's name in the registry.
    run_dir : Path
        The folder it was loaded from.
    config : dict
        That folder's configuration.
    """

    def __init__(self, run_dir: Path, config: dict[str, Any], predict: Callable[[np.ndarray], np.ndarray]) -> None:
        self.run_dir = run_dir
        self.config = config
        self.name: str = config["model"]
        self.class_names = tuple(config["class_names"])
        self.image_size = tuple(config["image_size"])
        self.channels: int = config["channels"]
        self._predict = predict

    @property
    def test_time_augmentation(self) -> str:
        """Test-time augmentation: "none", "flip" or "ten_crop"; see `ferlib.core.images.make_views`."""
        return self.config.get("test_time_augmentation", "none")

    def predict_proba(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Return the probability of each emotion.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), dtype uint8
            Gray or RGB faces of any size, 0 to 255; color and size are brought to the model's own.
        batch_size : int
            How many images go through the model at a time.

        Returns
        -------
        ndarray of shape (n, n_classes), dtype float32
            Rows sum to 1; no rows for no images.

        Raises
        ------
        ValueError
            `images` has another shape or dtype.
        """
        images = fit_to_model(images, image_size=self.image_size, channels=self.channels)
        batches = [self._predict_batch(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        return np.concatenate(batches) if batches else np.empty((0, len(self.class_names)), np.float32)

    def _predict_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities float32 (n, n_classes) of images that already fit."""
        views = make_views(images, self.test_time_augmentation)
        return self.calibrate(np.mean([self._predict(view) for view in views], axis=0, dtype=np.float32))

    def calibrate(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities as the run's calibration makes them; those of a run without one are left as they are."""
        calibration = self.config.get("calibration")
        return probabilities if calibration is None else scale_logits(probabilities, **calibration)


class Ensemble(Classifier):
    """Several trained models whose probabilities are averaged; to its users a `Classifier` like any other.

    Attributes
    ----------
    members : tuple of Classifier
        Each brings images to its own size and makes its own views of them.
    """

    def __init__(self, run_dir: Path, config: dict[str, Any], members: Sequence[Classifier]) -> None:
        super().__init__(run_dir, config, self.predict_proba)
        self.members = tuple(members)

    def predict_proba(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Return the mean of the members' probabilities; see `Classifier.predict_proba`."""
        members = [member.predict_proba(images, batch_size=batch_size) for member in self.members]
        return self.calibrate(np.mean(members, axis=0, dtype=np.float32))


def load_classifier(
    run_dir: str | Path | None = None, *, test_time_augmentation: str | None = None, n_threads: int = 0
) -> Classifier:
    """Load a run's model for prediction.

    Parameters
    ----------
    run_dir : path, optional
        A run's folder; the delivered model's when None.
    test_time_augmentation : {"none", "flip", "ten_crop"}, optional
        Views to average instead of those that the run's configuration names, for an ensemble in each member.
    n_threads : int
        Of ONNX Runtime; 0 leaves it the choice.

    Raises
    ------
    ArtifactError
        The folder is missing, incomplete or damaged, or holds what may not be loaded.
    """
    run_dir = pretrained_run_dir() if run_dir is None else Path(run_dir)
    config = read_config(run_dir)
    if test_time_augmentation is not None:
        config = {**config, "test_time_augmentation": test_time_augmentation}
    if (run_dir / MEMBERS).is_dir():
        if config.get("status") == "training":
            raise ArtifactError(f"{run_dir} is not complete; is its training still to be finished (--resume)?")
        # A hidden one is a copy that was interrupted.
        folders = sorted((run_dir / MEMBERS).glob("[0-9]*"), key=lambda folder: int(folder.name.split("-")[0]))
        options = {"test_time_augmentation": test_time_augmentation, "n_threads": n_threads}
        members = [load_classifier(folder, **options) for folder in folders]
        return Ensemble(run_dir, config, members)
    for file_name, load in zip(MODEL_FILES, (_load_onnx, _load_keras, _load_skops), strict=True):
        path = run_dir / file_name
        if path.exists():
            try:
                return Classifier(run_dir, config, load(path, len(config["class_names"]), n_threads))
            # Each library has its own kinds of error for a damaged file.
            except Exception as error:
                raise ArtifactError(f"{path} cannot be loaded ({error}).") from error
    raise ArtifactError(f"{run_dir} holds no model; is its training still to be finished (--resume)?")


def load_keras_model(run_dir: str | Path) -> Any:
    """Return a run's network as a Keras model, for further training or gradients.

    Raises
    ------
    ArtifactError
        The run has none.
    """
    path = Path(run_dir) / KERAS_MODEL
    if not path.exists():
        raise ArtifactError(f"{run_dir} has no Keras network ({KERAS_MODEL}).")
    return import_keras().saving.load_model(path, compile=False, safe_mode=True)


def load_pipeline(run_dir: str | Path) -> Any:
    """Return a run's scikit-learn pipeline, to look into its steps.

    Raises
    ------
    ArtifactError
        The run has none.
    """
    path = Path(run_dir) / SKOPS_MODEL
    if not path.exists():
        raise ArtifactError(f"{run_dir} has no scikit-learn pipeline ({SKOPS_MODEL}).")
    import skops.io

    return skops.io.load(path, trusted=list(_TRUSTED))


def _load_onnx(path: Path, n_classes: int, n_threads: int) -> Callable[[np.ndarray], np.ndarray]:  # noqa: ARG001
    """Return the prediction of an ONNX network: uint8 (n, H, W, C) to (n, n_classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images.astype(np.float32)})[0]


def _load_keras(path: Path, n_classes: int, n_threads: int) -> Callable[[np.ndarray], np.ndarray]:  # noqa: ARG001
    """Return the prediction of a Keras network: uint8 (n, H, W, C) to (n, n_classes)."""
    model = load_keras_model(path.parent)
    return lambda images: np.asarray(model.predict_on_batch(images.astype(np.float32)))


def _load_skops(path: Path, n_classes: int, n_threads: int) -> Callable[[np.ndarray], np.ndarray]:  # noqa: ARG001
    """Return the prediction of a scikit-learn pipeline: uint8 (n, H, W, C) to (n, n_classes)."""
    pipeline = load_pipeline(path.parent)

    def predict(images: np.ndarray) -> np.ndarray:
        # A class without a training image has no column in scikit-learn; here its probability is 0.
        probabilities = np.zeros((len(images), n_classes), np.float32)
        probabilities[:, pipeline.classes_] = pipeline.predict_proba(images)
        return probabilities

    return predict
