"""Measure treatments of class imbalance: ``python tools/imbalance_experiment.py --data fer2013.zip``.

Trains a small network and a small bag of visual words with every treatment and every seed, and writes what each
training came to into ``reports/resampling.csv``, which notebook 02 shows. Interrupted, the same command goes on. On
all of FER2013 it takes about two hours of one CPU core.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ferlib.core.console import run
from ferlib.core.files import atomic_write
from ferlib.data import load_images, split_dataset
from ferlib.training import TrainingOptions
from ferlib.training.imbalance import STUDY, TREATMENTS, collect_study, summarize_study, train_study

# Small enough that many trainings are possible: what is compared is the treatments, not the models.
MODELS = {
    "compact_cnn": {"widths": (16, 32, 64)},
    "bovw": {"n_words": 500, "flip_invariant": False, "classifier": "logistic", "C": 1.0},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="zip, folder or CSV of FER2013")
    parser.add_argument("--folder", type=Path, default=Path("data/runs/resampling"), help="where the runs are made")
    parser.add_argument("--csv", type=Path, default=STUDY, help="the table to write")
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(MODELS), help="which models (default: both)"
    )
    parser.add_argument("--treatments", nargs="+", choices=TREATMENTS, default=TREATMENTS, help="which (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="which seeds (default: 0 1 2)")
    parser.add_argument("--epochs", type=int, default=10, help="of the network, untreated (default: 10)")
    args = parser.parse_args(argv)
    dataset = split_dataset(load_images(args.data), "official", val_fraction=0.1, seed=0)
    sys.stderr.write(dataset.describe() + "\n")
    # A seed with all treatments at a time: stopped in between, the seeds that are done can be compared.
    for seed in args.seeds:
        for model in args.models:
            train_study(
                dataset,
                args.folder,
                model,
                treatments=args.treatments,
                seeds=[seed],
                options=TrainingOptions(epochs=args.epochs, warmup_epochs=1.0),
                model_options=MODELS[model],
            )
            with atomic_write(args.csv) as path:
                collect_study(args.folder).to_csv(path, index=False, float_format="%.5f")
    print(summarize_study(collect_study(args.folder)).to_string(float_format="{:.3f}".format))
    return 0


if __name__ == "__main__":
    run(main)
