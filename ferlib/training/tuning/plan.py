"""What a study varies, what has to stay the same when it continues, and which settings are the best."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ferlib.data import ImageDataset
from ferlib.evaluation.studies import DEFAULTS_NOTE, Metric
from ferlib.models import get_model
from ferlib.training.options import TrainingOptions
from ferlib.training.recipes import default_options
from ferlib.training.tuning.space import Scalar, SearchSpace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """What a study varies and how long it takes.

    Attributes
    ----------
    model : str
        A name of `ferlib.models.list_models`.
    space : SearchSpace
        See `ferlib.training.tuning.space_file.read_space`.
    training : TrainingOptions
        The options of the first trial; of the others, those that do not vary.
    model_options : mapping
        Those of the model, likewise.
    metric : {"accuracy", "macro_f1"}
        What is maximized, measured on val.
    trials : int
        Trials of the study, by all workers together.
    prune : bool
        Stop a network's trial whose best val accuracy so far is below the median of the others at the same epoch.
    train_size : int, optional
        Training images of a trial; all of them by default.
    confirm, confirm_seeds : int
        How many of the best settings are trained again in full, and with how many seeds; so are the defaults.
    confirm_epochs : int, optional
        Epochs of these trainings; by default those of the model.
    """

    model: str
    space: SearchSpace
    training: TrainingOptions
    model_options: Mapping[str, Any] = field(default_factory=dict)
    metric: Metric = "accuracy"
    trials: int = 40
    prune: bool = True
    train_size: int | None = None
    confirm: int = 3
    confirm_seeds: int = 3
    confirm_epochs: int | None = None

    @property
    def known_defaults(self) -> dict[str, Scalar]:
        """The defaults that the space contains, as the study stores them."""
        return self.space.defaults(get_model(self.model), self.training, self.model_options)

    @property
    def full_epochs(self) -> int:
        """The epochs of the confirmation's trainings."""
        return self.confirm_epochs or default_options(self.model).epochs

    @property
    def favors_high_rates(self) -> bool:
        """Whether the trials choose a learning rate that falls to zero much earlier than in the confirmation.

        See `docs/tuning.md`: such a rate was good in 8 epochs, and too high in 50.
        """
        varied = {parameter.name: parameter for parameter in self.space.parameters}
        schedules = varied["schedule"].choices if "schedule" in varied else (self.training.schedule,)
        return "learning_rate" in varied and "cosine" in schedules and 2 * self.training.epochs < self.full_epochs

    def to_json(self) -> dict[str, Any]:
        """Return what has to be equal when the study is continued."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "metric": self.metric,
            "space": self.space.to_json(),
            "training": self.training.to_config(),
            "model_options": {name: to_list(value) for name, value in self.model_options.items()},
            "train_size": self.train_size,
        }

    def options_of(self, trial: "FrozenTrial") -> tuple[TrainingOptions, dict[str, Any]]:
        """Return the options of a trial, those of its training and those of its model."""
        if trial.user_attrs.get("key") == DEFAULTS_NOTE:
            return self.training, dict(self.model_options)
        return self.space.apply(self.space.recall(trial.params), self.training, self.model_options)


def choose_best(trials: "list[FrozenTrial]", n: int) -> "list[FrozenTrial]":
    """Return the trial with the defaults and the `n` best others, by their value on val; the defaults come first."""
    from optuna.trial import TrialState

    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    defaults = [trial for trial in finished if trial.user_attrs.get("key") == DEFAULTS_NOTE]
    others = [trial for trial in finished if trial not in defaults]
    return defaults[:1] + sorted(others, key=lambda trial: (-(trial.value or 0), trial.number))[:n]


def describe_data(dataset: ImageDataset) -> dict[str, Any]:
    """Return what identifies the images of a study and their split."""
    info = dataset.info
    counts = {name: int((dataset.splits == name).sum()) for name in np.unique(dataset.splits)}
    return {
        "title": info.title,
        "sha256": info.sha256,
        "class_names": list(dataset.class_names),
        "sample_size": info.sample_size,
        "split": info.split and info.split.to_json(),
        "counts": counts,
    }


def describe_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the first differences of two mappings in words."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    first = names[0]
    before, now = old.get(first), new.get(first)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return f"{first}.{describe_difference(before, now)}"
    return f"{first} was {before!r}, now {now!r}"


def to_list(value: Any) -> Any:
    """Return a value as it is read back from JSON."""
    return list(value) if isinstance(value, tuple) else value
