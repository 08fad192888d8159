"""Train the variants of the ablation: ``python tools/ablation_experiment.py --data fer2013.zip``.

Each variant is a run in ``data/runs/ablation``; the same command continues an interrupted experiment.
``ferlib runs data/runs/ablation --output-csv reports/experiments.csv`` records the results, which notebook 03 shows.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ferlib.core.console import run
from ferlib.data import ImageDataset, load_images, split_dataset
from ferlib.preprocessing import Augmentation
from ferlib.training import TrainingOptions, tabulate_runs, train_model
from ferlib.training.ablation import BASE, CHANGES, tabulate_ablation

# Options of the first network, as in most introductions.
PLAIN = TrainingOptions(
    optimizer="adam", learning_rate=1e-3, schedule="constant", label_smoothing=0.0, augmentation=None
)
_COSINE = replace(PLAIN, optimizer="adamw", learning_rate=2e-3, schedule="cosine")
_SHIFT = Augmentation(rotation=0, scale=0, shear=0, brightness=0, contrast=0, erase=0, blur=0, noise=0)
_ROTATE = replace(_SHIFT, rotation=10, scale=0.12, brightness=0.05, contrast=0.15)
_ERASE = replace(_ROTATE, erase=0.4)
_SMOOTH = replace(_COSINE, augmentation=_ERASE, label_smoothing=0.1)

TRAINING = {
    "01_plain": PLAIN,
    "02_normalized": PLAIN,
    "03_residual": PLAIN,
    "04_schedule": _COSINE,
    "05_shifted": replace(_COSINE, augmentation=_SHIFT),
    "06_turned": replace(_COSINE, augmentation=_ROTATE),
    "07_erased": replace(_COSINE, augmentation=_ERASE),
    "10_mixup": replace(_SMOOTH, mixup=0.2),
    "11_averaged": replace(_SMOOTH, ema=0.995),
    "12_cropped": replace(_SMOOTH, augmentation=replace(_ERASE, crop=5 / 6)),
    "13_noisy": replace(_SMOOTH, augmentation=replace(_ERASE, blur=0.12, noise=0.15)),
}


def model_of(variant: str) -> tuple[str, dict[str, Any]]:
    """Return a variant's model and its options."""
    if variant < "03":
        return "plain_cnn", {"batch_norm": variant == "02_normalized"}
    # Half of compact_cnn's channels: an epoch takes a quarter of the time.
    options: dict[str, Any] = {} if variant == "15_wider" else {"widths": (32, 64, 128)}
    return "compact_cnn", options if variant >= BASE else {**options, "se_reduction": 0}


def train_variants(
    dataset: ImageDataset, folder: str | os.PathLike[str], *, epochs: int, seed: int = 0, votes: str | None = None
) -> pd.DataFrame:
    """Train every variant and return what each change contributes; without votes, the last variant is skipped."""
    runs = []
    for variant in CHANGES:
        options = replace(TRAINING.get(variant, _SMOOTH), epochs=epochs, patience=epochs, seed=seed)
        if variant == "14_distilled":
            options = replace(options, teacher=str(Path(folder) / BASE))
        if variant == "16_votes":
            if votes is None:
                continue
            options = replace(options, votes=votes)
        model, model_options = model_of(variant)
        runs.append(
            train_model(model, dataset, Path(folder) / variant, options, model_options=model_options, resume=True)
        )
    return tabulate_ablation(tabulate_runs(runs))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="zip, folder or CSV of FER2013")
    parser.add_argument("--folder", type=Path, default=Path("data/runs/ablation"), help="where to write the runs")
    parser.add_argument("--votes", help="CSV of FER+ votes")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each variant (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    args = parser.parse_args(argv)
    dataset = split_dataset(load_images(args.data), "official", val_fraction=0.1, seed=args.seed)
    print(train_variants(dataset, args.folder, epochs=args.epochs, seed=args.seed, votes=args.votes).to_string())
    return 0


if __name__ == "__main__":
    run(main)
