"""Compare strategies against class imbalance: ``python tools/imbalance_experiment.py --data fer2013.zip``.

Trains a small network and a small bag of visual words with every strategy and every seed, and writes the results to
``reports/resampling.csv``, which notebook 02 shows. The same command continues an interrupted experiment. On all of
FER2013 it takes about two hours on one CPU core.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.console import run
from ferlib.core.files import atomic_write
from ferlib.data import ImageDataset, load_images, split_dataset
from ferlib.runs.folder import CONFIG, Run
from ferlib.training import TrainingOptions, train_model
from ferlib.training.imbalance import COLUMNS, IMBALANCE_STRATEGIES, summarize_imbalance

TABLE = Path(__file__).parents[1] / "reports" / "resampling.csv"

# Small models, because the strategies are compared and many trainings are needed.
MODELS: dict[str, dict[str, Any]] = {
    "compact_cnn": {"widths": (16, 32, 64)},
    "bovw": {"n_words": 500, "flip_invariant": False, "classifier": "logistic", "C": 1.0},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="zip, folder or CSV of FER2013")
    parser.add_argument("--folder", type=Path, default=Path("data/runs/resampling"), help="where to write the runs")
    parser.add_argument("--output-csv", type=Path, default=TABLE, help="table to write")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: both")
    parser.add_argument("--strategies", nargs="+", choices=IMBALANCE_STRATEGIES, default=IMBALANCE_STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--epochs", type=int, default=10, help="epochs without resampling (default: 10)")
    args = parser.parse_args(argv)
    dataset = split_dataset(load_images(args.data), "official", val_fraction=0.1, seed=0)
    sys.stderr.write(dataset.describe() + "\n")
    options = TrainingOptions(epochs=args.epochs, warmup_epochs=1.0)
    # One seed at a time, so that an interrupted experiment compares all strategies.
    for seed in args.seeds:
        for model in args.models:
            train_strategies(dataset, args.folder, model, args.strategies, replace(options, seed=seed), MODELS[model])
            with atomic_write(args.output_csv) as path:
                collect_results(args.folder).to_csv(path, index=False, float_format="%.5f")
    print(summarize_imbalance(collect_results(args.folder)).to_string(float_format="{:.3f}".format))
    return 0


def train_strategies(
    dataset: ImageDataset,
    folder: str | os.PathLike[str],
    model: str,
    strategies: Sequence[str],
    options: TrainingOptions,
    model_options: Mapping[str, Any] | None = None,
) -> None:
    """Train a model with each strategy into ``MODEL-STRATEGY-SEED``; finished trainings are not repeated.

    All trainings have the same number of steps: resampling changes the length of an epoch, so their numbers of epochs
    differ. None of them stops early.
    """
    sizes = dataset.counts()["train"].to_numpy()
    for strategy in strategies:
        weighted = strategy == "class_weight"
        epochs = same_steps(options.epochs, sizes, strategy)
        changed = replace(
            options,
            epochs=epochs,
            warmup_epochs=options.warmup_epochs * epochs / options.epochs,
            patience=epochs,
            resample="none" if weighted else strategy,
            class_weight="balanced" if weighted else "none",
        )
        run_dir = Path(folder) / f"{model}-{strategy}-{options.seed}"
        train_model(model, dataset, run_dir, changed, model_options=model_options, resume=True)


def same_steps(epochs: int, sizes: np.ndarray, strategy: str) -> int:
    """Return how many epochs after resampling have as many steps as `epochs` without; `sizes` are the class counts."""
    sizes = sizes[sizes > 0]
    resampled = {"none": sizes.sum(), "class_weight": sizes.sum(), "random_under": len(sizes) * sizes.min()}
    return max(1, round(epochs * sizes.sum() / resampled.get(strategy, len(sizes) * sizes.max())))


def collect_results(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the table of finished trainings, with the columns of `ferlib.training.imbalance`."""
    rows = []
    for path in sorted(Path(folder).glob(f"*/{CONFIG}")):
        config, metrics = Run(path.parent).config, Run(path.parent).metrics.get("test")
        if metrics is None:
            continue
        training, counts = config.training, config.image_counts["train"]
        rarest = min(config.class_names, key=lambda name: counts[name])
        strategy = "class_weight" if training["class_weight"] != "none" else training["resample"]
        names = (config.model, strategy, training["seed"], training["epochs"], rarest)
        of_rarest = metrics.per_class[rarest]
        rows.append((*names, metrics.accuracy, metrics.macro_f1, of_rarest.recall, of_rarest.precision))
    rows.sort(key=lambda row: (row[0], IMBALANCE_STRATEGIES.index(row[1]), row[2]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


if __name__ == "__main__":
    run(main)
