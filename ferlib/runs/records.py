"""What a run folder records: its configuration, calibration and metrics, with a schema version.

Schema 2 is written. Schema 1, which has no ``schema_version``, is still read: it names some options differently and
keeps the image counts in ``data.pictures``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from ferlib.core.crops import DEFAULT_CROP, CropGeometry
from ferlib.core.data_info import DataInfo
from ferlib.core.records import Record
from ferlib.runs.calibration import scale_logits

SCHEMA_VERSION = 2

# More would be a damaged file, or one that is meant to fill the memory.
_MAX_CLASSES, _MAX_SIDE = 1_000, 4_096

Kind = Literal["cnn", "bovw", "ensemble"]
Status = Literal["training", "finished"]
TestTimeAugmentation = Literal["none", "flip", "ten_crop"]

#: Model and training options of schema 1, and their names now.
_OLD_OPTIONS = {
    "squeeze": "se_reduction",
    "mirror": "flip_invariant",
    "means": "spatial_stats",
    "place_weight": "position_weight",
    "distillation": "distillation_weight",
    "temperature": "distillation_temperature",
    "votes_weight": "aux_loss_weight",
    "start_from": "init_from",
}


@dataclass(frozen=True, kw_only=True)
class _Versioned(Record):
    """A record with a schema version."""

    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check the version."""
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"it has schema version {self.schema_version}; this ferlib reads up to {SCHEMA_VERSION}")


@dataclass(frozen=True, kw_only=True)
class Calibration(Record):
    """Vector scaling: a factor and an offset for the logit of each class."""

    scales: tuple[float, ...]
    biases: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the numbers."""
        if len(self.scales) != len(self.biases) or not all(map(math.isfinite, (*self.scales, *self.biases))):
            raise ValueError("calibration needs one finite scale and bias per class")

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of shape (n, n_classes)."""
        return scale_logits(probabilities, self.scales, self.biases)

    @property
    def per_class(self) -> bool:
        """Whether classes differ; otherwise all share one temperature."""
        return any(self.biases)


@dataclass(frozen=True, kw_only=True)
class PhotographsOutput(Record):
    """The second output of a network, for faces in photographs; see `ferlib.training.photographs`.

    Attributes
    ----------
    shares : tuple of float
        The class shares that its answers assume: those of the raters' votes, moved towards equal ones.
    calibration : Calibration
        Of this output.
    """

    shares: tuple[float, ...]
    calibration: Calibration

    def __post_init__(self) -> None:
        """Check the numbers."""
        if len(self.shares) != len(self.calibration.scales) or not all(0 < share <= 1 for share in self.shares):
            raise ValueError("the photographs output needs a share above 0 for each class")


@dataclass(frozen=True, kw_only=True)
class RunReference(Record):
    """Another run that a training used, with the hash of its model file, or one hash per member of an ensemble."""

    model: str
    weights_sha256: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunConfig(_Versioned):
    """The configuration of a run, stored in ``config.json``.

    Attributes
    ----------
    model : str
        The model's name in the registry.
    class_names : tuple of str
        The emotions, in the order of the probabilities' columns.
    image_size : tuple of int
        (height, width) of the model's input in pixels.
    channels : int
        1 for gray images, 3 for RGB.
    model_options : dict
        Arguments of the model's builder that differ from its defaults.
    training : dict
        The training options, as `ferlib.training.TrainingOptions.to_config` returns them.
    image_counts : dict
        Split to class name to number of images.
    versions : dict
        Package name to version.
    parameters : int or None
        The number of weights of a network.
    seconds : float or None
        How long a model without epochs took to fit.
    n_members : int or None
        Of an ensemble.
    backend : str or None
        The Keras backend that trained a network.
    teacher, init_from : RunReference or None
        The runs that gave distillation targets and initial weights.
    votes : str or None
        SHA-256 of the file of FER+ votes.
    photographs : PhotographsOutput or None
        Of a network that has this output besides ``label``.
    imported : str or None
        Name and checksum of the file of another program that the network comes from.
    crop : CropGeometry
        How prediction cuts a face out of an image: as the faces of the training data were cut out, or the default for
        faces in FER2013's geometry.
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
    photographs: PhotographsOutput | None = None
    imported: str | None = None
    crop: CropGeometry = DEFAULT_CROP

    def __post_init__(self) -> None:
        """Check the numbers, which may come from a stranger."""
        super().__post_init__()
        if not 1 <= len(self.class_names) <= _MAX_CLASSES or len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"class_names needs 1 to {_MAX_CLASSES} different names")
        if not all(1 <= side <= _MAX_SIDE for side in self.image_size) or self.channels not in (1, 3):
            raise ValueError(f"expected images of up to {_MAX_SIDE} pixels with 1 or 3 channels")
        if self.calibration is not None and len(self.calibration.scales) != len(self.class_names):
            raise ValueError("calibration needs one scale per class")
        if self.photographs is not None and len(self.photographs.shares) != len(self.class_names):
            raise ValueError("the photographs output needs one share per class")

    @property
    def training_shares(self) -> tuple[float, ...] | None:
        """The share of each class in the training data, in the order of `class_names`; None if it is not recorded.

        After a training with balanced classes all shares are equal. A class without images counts as one image.
        """
        counts = self.image_counts.get("train")
        if counts is None:
            return None
        if any(self.training.get(name, "none") != "none" for name in ("resample", "class_weight")):
            counts = {}
        seen = [max(1, counts.get(name, 0)) for name in self.class_names]
        return tuple(count / sum(seen) for count in seen)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` or schema 1 wrote; errors are those of `Record.from_json`."""
        return super().from_json(values if "schema_version" in values else _upgrade(values))


@dataclass(frozen=True, kw_only=True)
class ClassMetrics(Record):
    """Metrics of one class against the rest; support is its number of images."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Metrics(_Versioned):
    """What was measured on one split of `n` images; every rate is a fraction.

    Attributes
    ----------
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
    robustness : dict or None
        Accuracy on the original images, then on transformed ones, by the transform's name.
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


def _upgrade(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of schema 1 in the form of schema 2."""
    data, votes = config.get("data") or {}, config.get("votes")
    return dict(config) | {
        "model": "bovw_spatial" if config["model"] == "bovw_means" else config["model"],
        "model_options": _rename(config.get("model_options", {})),
        "training": _rename(config.get("training", {})),
        "data": data or None,
        "image_counts": data.get("pictures", {}),
        "init_from": config.get("init_from") or config.get("start"),
        "votes": votes and votes["sha256"],
    }


def _rename(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options under their new names, also those of the members of an ensemble."""
    renamed = {_OLD_OPTIONS.get(name, name): value for name, value in options.items()}
    if isinstance(renamed.get("member_options"), Mapping):
        renamed["member_options"] = _rename(renamed["member_options"])
    return renamed
