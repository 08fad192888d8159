"""A run folder: everything that one training writes; it can be moved and loaded on its own.

======================  ================================================================================
``config.json``         the model, its input, classes and options, versions, and the data (`RunConfig`)
``model.onnx``          the network for prediction with ONNX Runtime
``model.keras``         the same network for further training and for gradients
``model.skops``         a scikit-learn pipeline, instead of the two above
``out_of_fold.npz``     leave-one-out probabilities of a kernel model for its training images
``members/``            the runs that an ensemble averages, instead of a model of its own
``history.json, .csv``  one row per epoch
``metrics.json``        split name to `Metrics`
``model_card.md``       a summary for readers
``run.toml``            the options that repeat the training
``logs/``               TensorBoard logs, if requested
``checkpoint/``         the state of an unfinished training; removed at its end
======================  ================================================================================
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.files import write_json, write_text
from ferlib.runs.records import Metrics, RunConfig
from ferlib.runs.safety import read_json, require_inside

J = TypeVar("J", dict[str, Any], list[Any])
R = TypeVar("R", RunConfig, Metrics)

CONFIG, HISTORY, METRICS, MODEL_CARD = "config.json", "history.json", "metrics.json", "model_card.md"
ONNX_MODEL, KERAS_MODEL, SKOPS_MODEL = "model.onnx", "model.keras", "model.skops"
MEMBERS, OUT_OF_FOLD = "members", "out_of_fold.npz"
HISTORY_CSV, RUN_OPTIONS, CHECKPOINT, LOGS = "history.csv", "run.toml", "checkpoint", "logs"

#: The files that a model can be loaded from, the one that prediction prefers first.
MODEL_FILES = (ONNX_MODEL, KERAS_MODEL, SKOPS_MODEL)


PretrainedName = Literal["default", "fast"]

#: The names of the models that ferlib can ship; each is a run folder of this name in `ASSETS`.
PRETRAINED: tuple[PretrainedName, ...] = get_args(PretrainedName)
ASSETS = Path(str(resources.files("ferlib"))) / "assets"


def pretrained_run_dir(name: PretrainedName = "default") -> Path:
    """Return the folder of a model that ships with ferlib.

    Parameters
    ----------
    name : {"default", "fast"}
        The most accurate one, or the one that classifies the most faces per second.

    Raises
    ------
    OptionError
        The name is unknown.
    ArtifactError
        This version does not ship the model.
    """
    if name not in PRETRAINED:
        raise OptionError(f"model: expected one of {', '.join(PRETRAINED)}, got {name!r}.")
    folder = ASSETS / name
    if not (folder / CONFIG).exists():
        raise ArtifactError(f"This version of ferlib ships no {name} model; use the default one, or name a run folder.")
    return folder


def check_one_model(run: Path | None, model: PretrainedName | None) -> None:
    """Raise OptionError if a command got both a run folder and the name of a pretrained model."""
    if run is not None and model is not None:
        raise OptionError("--run and --model cannot be combined; --model names a pretrained model.")


def model_title(run: "Run", config: RunConfig) -> str:
    """Return the name of a run's model in results: ``compact_cnn``, or ``fast_cnn (pretrained, fast)`` if it ships."""
    if run.path.absolute().parent != ASSETS.absolute():
        return config.model
    return f"{config.model} (pretrained{'' if run.name == 'default' else f', {run.name}'})"


@dataclass(frozen=True, init=False)
class Run(os.PathLike[str]):
    """One training and its folder.

    A run can be used wherever a path is expected. Files are read on each access, so that a run in training shows its
    current state.

    Parameters
    ----------
    path : path or Run
        The folder; it may be missing until something is written.

    Raises
    ------
    ArtifactError
        From the properties: the folder or a file is missing or damaged.
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))

    def __fspath__(self) -> str:
        """Return the folder's path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> RunConfig:
        """The configuration."""
        path = self.path / CONFIG
        return _from_json(RunConfig, _read_json(path, dict), path)

    @property
    def history(self) -> list[dict[str, float]]:
        """One row per epoch; empty for a model without epochs."""
        path = self.path / HISTORY
        rows = _read_json(path, list) if path.exists() else []
        for row in rows:
            if not isinstance(row, dict) or not all(isinstance(value, int | float) for value in row.values()):
                raise ArtifactError(f"{path} is not valid: expected numbers by name, one row per epoch.")
        return rows

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Split names to metrics; empty if nothing was measured."""
        path = self.path / METRICS
        records = _read_json(path, dict) if path.exists() else {}
        return {split: _from_json(Metrics, record, path) for split, record in records.items()}

    @property
    def model_file(self) -> Path | None:
        """The file that prediction loads; None for an ensemble and for an unfinished run."""
        return next((self.path / name for name in MODEL_FILES if (self.path / name).exists()), None)

    @property
    def members(self) -> list["Run"]:
        """The members of an ensemble, in order; empty for other models."""
        # Names with a leading dot are interrupted copies.
        numbers = {folder: folder.name.split("-")[0] for folder in (self.path / MEMBERS).glob("[0-9]*")}
        folders = [folder for folder, number in numbers.items() if number.isdecimal() and len(number) < 5]
        for folder in folders:
            require_inside(folder)
        return [Run(folder) for folder in sorted(folders, key=lambda folder: int(numbers[folder]))]

    def write_config(self, config: RunConfig) -> None:
        """Write ``config.json``."""
        write_json(self.path / CONFIG, config.to_json())

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write ``history.json`` and ``history.csv``."""
        # Prediction, which only reads runs, works without pandas.
        import pandas as pd

        write_json(self.path / HISTORY, list(rows))
        write_text(self.path / HISTORY_CSV, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))

    def write_metrics(self, metrics: Mapping[str, Metrics]) -> None:
        """Write ``metrics.json`` from metrics by split."""
        write_json(self.path / METRICS, {split: values.to_json() for split, values in metrics.items()})

    def write_card(self, text: str) -> None:
        """Write ``model_card.md``."""
        write_text(self.path / MODEL_CARD, text)

    def has_artifacts(self) -> bool:
        """Return whether there is something to lose: a model, members or a checkpoint."""
        return any(any(self.path.glob(name)) for name in (*MODEL_FILES, MEMBERS, "checkpoint/last-*"))

    def remove_checkpoint(self) -> None:
        """Delete the state of an unfinished training."""
        shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)

    def remove(self) -> None:
        """Delete everything that a training writes, and nothing else in the folder."""
        for folder in (CHECKPOINT, MEMBERS, LOGS):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        for name in (CONFIG, HISTORY, HISTORY_CSV, METRICS, MODEL_CARD, RUN_OPTIONS, OUT_OF_FOLD, *MODEL_FILES):
            (self.path / name).unlink(missing_ok=True)


def _from_json(cls: type[R], record: dict[str, Any], path: Path) -> R:
    """Return a record; an error names the file."""
    try:
        return cls.from_json(record)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid ({error}).") from error


def _read_json(path: Path, kind: type[J]) -> J:
    """Return a JSON file's object or list; an error names the file."""
    if path.parent.is_file():
        raise ArtifactError(
            f"{path.parent} is a file, not a run folder. A run folder has a model and {CONFIG}, which says its classes "
            f"and input; `ferlib import {path.parent.name} --run-dir DIR` makes one from an ONNX or Keras file."
        )
    if not path.parent.is_dir():
        raise ArtifactError(f"There is no run folder {path.parent}.")
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path.parent} is not a run folder: it has no {path.name}.") from None
    if not isinstance(content, kind):
        raise ArtifactError(f"{path} is not a JSON {'object' if kind is dict else 'list'}.")
    return content
