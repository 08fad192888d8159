"""A run's folder: configuration, model, history and metrics, loaded with no other knowledge.

======================  ================================================================================
``config.json``         model, class names, input, options, seed, versions, and the data it was trained on
``model.onnx``          the network for prediction, on ONNX Runtime
``model.keras``         the same network for further training and for gradients
``model.skops``         a scikit-learn pipeline, instead of the two above
``left_out.npz``        what a pipeline with a kernel says of each training picture from all the others; for teaching
``members/``            the runs that an ensemble averages, instead of a model of its own
``history.json, .csv``  one row an epoch
``metrics.json``        what was measured at the end, by split
``model_card.md``       the same for people
``logs/``               for TensorBoard, if asked for
``checkpoint/``         what an interrupted training continues from; gone when it is done
======================  ================================================================================
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.errors import ArtifactError
from ferlib.files import write_json, write_text
from ferlib.images import fit_to_model, make_views
from ferlib.probabilities import scale_logits
from ferlib.quiet import start_keras

CONFIG, HISTORY, METRICS, MODEL_CARD = "config.json", "history.json", "metrics.json", "model_card.md"
ONNX_MODEL, KERAS_MODEL, SKOPS_MODEL = "model.onnx", "model.keras", "model.skops"
MEMBERS, LEFT_OUT = "members", "left_out.npz"

#: The files that a model can be loaded from, the one that prediction prefers first.
MODEL_FILES = (ONNX_MODEL, KERAS_MODEL, SKOPS_MODEL)

#: Classes that a scikit-learn pipeline of ours may hold; any other class that skops does not know is refused.
_TRUSTED = (
    "ferlib.models.kernel.KernelRidgeClassifier",
    "ferlib.words.bag.BagOfVisualWords",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)


def delivered_run_dir() -> Path:
    """Return the folder of the model that ships with ferlib."""
    return Path(str(resources.files("ferlib"))) / "delivered" / "compact_cnn"


def read_config(run_dir: str | Path) -> dict[str, Any]:
    """Return a run's configuration.

    Raises
    ------
    ArtifactError
        The folder or its ``config.json`` is missing or damaged.
    """
    path = Path(run_dir) / CONFIG
    config = _read_json(path)
    keys = ("model", "class_names", "image_size", "channels")
    missing = [key for key in keys if not isinstance(config, dict) or key not in config]
    if missing:
        raise ArtifactError(f"{path} lacks {', '.join(missing)}.")
    return config


def read_history(run_dir: str | Path) -> list[dict[str, float]]:
    """Return a run's history, one row an epoch; empty for a model that is not trained in epochs."""
    path = Path(run_dir) / HISTORY
    return _read_json(path) if path.exists() else []


def read_metrics(run_dir: str | Path) -> dict[str, Any]:
    """Return what was measured at the end of a run, by split; empty when nothing was."""
    path = Path(run_dir) / METRICS
    return _read_json(path) if path.exists() else {}


def write_history(run_dir: str | Path, rows: list[dict[str, float]]) -> None:
    """Write a run's history as JSON and as CSV."""
    write_json(Path(run_dir) / HISTORY, rows)
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(rows[0]) if rows else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text((Path(run_dir) / HISTORY).with_suffix(".csv"), table.getvalue())


def _read_json(path: Path) -> Any:
    """Return a JSON file's content; an error names the file."""
    if not path.parent.is_dir():
        raise ArtifactError(f"There is no run folder {path.parent}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}).") from None


class Classifier:
    """A trained model of any kind: pictures in, probabilities of the emotions out.

    Attributes
    ----------
    class_names : tuple of str
        The emotions, in the order of the probabilities' columns.
    image_size : tuple of int
        (height, width) of the model's input in pixels.
    channels : int
        1 for a model of grey pictures, 3 for RGB.
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
        """Whose probabilities are averaged: those of the views that `ferlib.images.make_views` makes of a picture."""
        return self.config.get("test_time_augmentation", "none")

    def predict_proba(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Return the probability of each emotion.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), dtype uint8
            Grey or RGB faces of any size, 0 to 255; colour and size are brought to the model's own.
        batch_size : int
            How many pictures go through the model at a time.

        Returns
        -------
        ndarray of shape (n, n_classes), dtype float32
            Rows sum to 1; no rows for no pictures.

        Raises
        ------
        ValueError
            `images` has another shape or dtype.
        """
        images = fit_to_model(images, image_size=self.image_size, channels=self.channels)
        batches = [self._predict_batch(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        return np.concatenate(batches) if batches else np.empty((0, len(self.class_names)), np.float32)

    def _predict_batch(self, images: np.ndarray) -> np.ndarray:
        """Probabilities float32 (n, n_classes) of pictures that already fit."""
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
        Each brings pictures to its own size and makes its own views of them.
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
    run_dir = delivered_run_dir() if run_dir is None else Path(run_dir)
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
    return start_keras().saving.load_model(path, compile=False, safe_mode=True)


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
        # A class without a training picture has no column in scikit-learn; here its probability is 0.
        probabilities = np.zeros((len(images), n_classes), np.float32)
        probabilities[:, pipeline.classes_] = pipeline.predict_proba(images)
        return probabilities

    return predict
