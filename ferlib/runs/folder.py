"""A run's folder: configuration, model, history and metrics, loaded with no other knowledge.

======================  ================================================================================
``config.json``         model, class names, input, options, seed, versions, and the data it was trained on
``model.onnx``          the network for prediction, on ONNX Runtime
``model.keras``         the same network for further training and for gradients
``model.skops``         a scikit-learn pipeline, instead of the two above
``out_of_fold.npz``        what a pipeline with a kernel says of each training image from all the others; for teaching
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
from importlib import resources
from pathlib import Path
from typing import Any

from ferlib.core.errors import ArtifactError
from ferlib.core.files import write_json, write_text

CONFIG, HISTORY, METRICS, MODEL_CARD = "config.json", "history.json", "metrics.json", "model_card.md"
ONNX_MODEL, KERAS_MODEL, SKOPS_MODEL = "model.onnx", "model.keras", "model.skops"
MEMBERS, OUT_OF_FOLD = "members", "out_of_fold.npz"

#: The files that a model can be loaded from, the one that prediction prefers first.
MODEL_FILES = (ONNX_MODEL, KERAS_MODEL, SKOPS_MODEL)


def pretrained_run_dir() -> Path:
    """Return the folder of the model that ships with ferlib."""
    return Path(str(resources.files("ferlib"))) / "assets" / "compact_cnn"


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
