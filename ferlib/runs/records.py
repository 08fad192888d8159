"""What a run folder records: its configuration, calibration and metrics, with a schema version.

Schema 2 is written. Schema 1, which has no ``schema_version``, is still read: it names some options differently and
keeps the image counts in ``data.pictures``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from ferlib.core.data_info import DataInfo
from ferlib.core.errors import ArtifactError
from ferlib.core.records import Record
from ferlib.runs.calibration import scale_logits

SCHEMA_VERSION = 2

Kind = Literal["cnn", "bovw", "ensemble"]
Status = Literal["training", "finished"]
TestTimeAugmentation = Literal["none", "flip", "ten_crop"]

#: Names in schema 1 and their names now.
_OLD_MODELS = {"bovw_means": "bovw_spatial"}
_OLD_MODEL_OPTIONS = {
    "squeeze": "se_reduction",
    "mirror": "flip_invariant",
    "means": "spatial_stats",
    "place_weight": "position_weight",
}
_OLD_TRAINING_OPTIONS = {
    "distillation": "distillation_weight",
    "temperature": "distillation_temperature",
    "votes_weight": "aux_loss_weight",
    "start_from": "init_from",
}


@dataclass(frozen=True, kw_only=True)
class _Versioned(Record):
    """A record with a schema version; records of schema 1 are read as well."""

    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can represent; fields that are None are left out."""
        return {name: value for name, value in super().to_json().items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` or schema 1 wrote; unknown keys are ignored.

        Raises
        ------
        ArtifactError
            A key is missing, a value has the wrong type, or the schema is newer than this version of ferlib.
        """
        if not isinstance(values, Mapping):
            raise ArtifactError("is not a JSON object.")
        try:
            version = values.get("schema_version", 1)
            if version not in range(1, SCHEMA_VERSION + 1):
                raise ArtifactError(f"has schema version {version}; this ferlib reads up to {SCHEMA_VERSION}.")
            upgraded = dict(values) if version == SCHEMA_VERSION else cls._upgrade(dict(values))
            return super().from_json(upgraded | {"schema_version": SCHEMA_VERSION})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"is not valid ({error}).") from error

    @classmethod
    def _upgrade(cls, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record of schema 1 in the form of schema 2."""
        return record


@dataclass(frozen=True, kw_only=True)
class Calibration(Record):
    """Vector scaling: a factor and an offset for the logit of each class.

    Attributes
    ----------
    scales, biases : tuple of float
        One value per class.
    """

    scales: tuple[float, ...]
    biases: tuple[float, ...]

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of shape (n, n_classes)."""
        return scale_logits(probabilities, self.scales, self.biases)

    @property
    def per_class(self) -> bool:
        """Whether classes differ; otherwise all share one temperature."""
        return any(self.biases)


@dataclass(frozen=True, kw_only=True)
class RunReference(Record):
    """Another run that a training used.

    Attributes
    ----------
    model : str
    weights_sha256 : tuple of str
        Hash of its model file, or one hash per member of an ensemble.
    """

    model: str
    weights_sha256: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunConfig(_Versioned):
    """The configuration of a run, stored in ``config.json``.

    Attributes
    ----------
    model : str
        The model's name in the registry.
    kind : {"cnn", "bovw", "ensemble"}
    class_names : tuple of str
        The emotions, in the order of the probabilities' columns.
    image_size : tuple of int
        (height, width) of the model's input in pixels.
    channels : int
        1 for gray images, 3 for RGB.
    test_time_augmentation : {"none", "flip", "ten_crop"}
    model_options : dict
        Arguments of the model's builder that differ from its defaults.
    training : dict
        The training options, as `ferlib.training.TrainingOptions.to_config` returns them.
    data : DataInfo or None
    image_counts : dict
        Split to class name to number of images.
    versions : dict
        Package name to version.
    status : {"training", "finished"}
    parameters : int or None
        The number of weights of a network.
    seconds : float or None
        How long a model without epochs took to fit.
    n_members : int or None
        Of an ensemble.
    backend : str or None
        The Keras backend that trained a network.
    calibration : Calibration or None
    teacher, init_from : RunReference or None
        The runs that gave distillation targets and initial weights.
    votes : str or None
        SHA-256 of the file of FER+ votes.
    """

    model: str
    kind: Kind
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    channels: int
    test_time_augmentation: TestTimeAugmentation = "none"
    model_options: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: DataInfo | None = None
    image_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    status: Status = "training"
    parameters: int | None = None
    seconds: float | None = None
    n_members: int | None = None
    backend: str | None = None
    calibration: Calibration | None = None
    teacher: RunReference | None = None
    init_from: RunReference | None = None
    votes: str | None = None

    @classmethod
    def _upgrade(cls, record: dict[str, Any]) -> dict[str, Any]:
        data, votes = record.get("data") or {}, record.get("votes")
        return record | {
            "model": _OLD_MODELS.get(record.get("model", ""), record.get("model")),
            "model_options": _rename(record.get("model_options", {}), _OLD_MODEL_OPTIONS),
            "training": _rename(record.get("training", {}), _OLD_TRAINING_OPTIONS),
            "data": data or None,
            "image_counts": data.get("pictures", {}),
            "init_from": record.get("init_from") or record.get("start"),
            "votes": votes and votes["sha256"],
        }


@dataclass(frozen=True, kw_only=True)
class ClassMetrics(Record):
    """Metrics of one class against the rest; support is its number of images."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Metrics(_Versioned):
    """What was measured on one split; every rate is a fraction.

    Attributes
    ----------
    n : int
        The number of images.
    accuracy, macro_f1, weighted_f1, balanced_accuracy, top2_accuracy, log_loss : float
    ece : float
        Expected calibration error.
    brier : float
        Brier score, 0 to 2.
    intervals : dict
        ``"accuracy"`` and ``"macro_f1"`` to the limits (low, high) of their 95 % intervals.
    per_class : dict
        Class names to `ClassMetrics`.
    confusion_matrix : tuple of tuple of int
        Rows are true classes, columns predicted ones.
    class_names : tuple of str
    robustness : dict or None
        Names of transforms to the accuracy on transformed images.
    """

    n: int
    accuracy: float
    macro_f1: float
    weighted_f1: float
    balanced_accuracy: float
    top2_accuracy: float
    log_loss: float
    ece: float
    brier: float
    intervals: dict[str, tuple[float, float]]
    per_class: dict[str, ClassMetrics]
    confusion_matrix: tuple[tuple[int, ...], ...]
    class_names: tuple[str, ...]
    robustness: dict[str, float] | None = None


def _rename(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return options under their new names, also those of the members of an ensemble."""
    renamed = {names.get(name, name): value for name, value in options.items()}
    if isinstance(renamed.get("member_options"), Mapping):
        renamed["member_options"] = _rename(renamed["member_options"], names)
    return renamed
