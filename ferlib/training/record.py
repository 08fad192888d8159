"""Measure finished runs, and find and compare them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ferlib.artifacts import (
    METRICS,
    MODEL_CARD,
    MODEL_FILES,
    delivered_run_dir,
    load_classifier,
    read_config,
    read_history,
    read_metrics,
)
from ferlib.datasets import ImageDataset
from ferlib.evaluation import evaluate_predictions
from ferlib.evaluation.card import write_model_card
from ferlib.files import write_json, write_text


def record_metrics(run_dir: str | Path, dataset: ImageDataset) -> dict[str, dict[str, Any]]:
    """Measure a finished run on val and test, and write ``metrics.json`` and ``model_card.md`` into its folder.

    Parameters
    ----------
    run_dir : path
    dataset : ImageDataset
        Split as for the training, so that val is what the training chose by.

    Returns
    -------
    dict
        Split names, those that the data have, to metrics.
    """
    classifier = load_classifier(run_dir)
    metrics = {}
    for split in ("val", "test"):
        if split in dataset.splits:
            part = dataset.split(split)
            y_proba = classifier.predict_proba(part.images)
            metrics[split] = evaluate_predictions(part.labels, y_proba, classifier.class_names)
    write_json(Path(run_dir) / METRICS, metrics)
    write_text(Path(run_dir) / MODEL_CARD, write_model_card(classifier.config, metrics, read_history(run_dir)))
    return metrics


def find_runs(folder: str | Path, class_names: Sequence[str]) -> list[Path]:
    """Return the finished runs in a folder that tell these classes apart, then the delivered model if it does too.

    Parameters
    ----------
    folder : path
        Holds run folders; may be missing.
    class_names : sequence of str
    """
    candidates = [path.parent for path in sorted(Path(folder).glob("*/config.json"))]
    configs = {run: read_config(run) for run in [*candidates, delivered_run_dir()]}
    return [
        run
        for run, config in configs.items()
        if config.get("status") == "finished" and tuple(config["class_names"]) == tuple(class_names)
    ]


def tabulate_runs(runs: Sequence[str | Path]) -> pd.DataFrame:
    """Return a table of runs: what was trained on what, how long, how large, and how good on val and test.

    Returns
    -------
    DataFrame
        One row a run, by folder name. ``MB`` is the model as prediction loads it (10^6 bytes), ``seconds`` the time of
        all epochs, ``val accuracy`` and so on are fractions; what a run has not recorded is not-a-number.
    """
    rows = {}
    for run in map(Path, runs):
        config, history, metrics = read_config(run), read_history(run), read_metrics(run)
        size = next((run / name).stat().st_size for name in MODEL_FILES if (run / name).exists())
        rows[run.name] = {
            "model": config["model"],
            "data": config["data"]["title"],
            "epochs": len(history) or None,
            "seconds": sum(row["seconds"] for row in history) or None,
            "MB": size / 1e6,
        }
        for split in ("val", "test"):
            for metric in ("accuracy", "macro_f1"):
                rows[run.name][f"{split} {metric}"] = metrics.get(split, {}).get(metric)
    return pd.DataFrame.from_dict(rows, orient="index")
