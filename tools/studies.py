"""Train the small studies that the notebooks show: ``python tools/studies.py layers --data fer2013.zip``.

Each study trains every variant with every seed and writes one table to ``reports/``. Runs are kept in
``data/runs/STUDY``; the same command continues an interrupted study. The studies are:

* ``layers``: one layer or training option of ``plain_cnn`` at a time (``layers.csv``, notebook 03);
* ``normalization``: batch normalization with and without augmentation and at three learning rates, epoch by epoch
  (``normalization.csv``, notebook 03);
* ``transfer``: the trunk of ``face_resnet`` from random weights, frozen, and fine-tuned, epoch by epoch
  (``transfer.csv``, notebook 03);
* ``probe``: only prints the val accuracy of a linear classifier on the features of the frozen trunk
  (``measurements.csv``, notebook 03);
* ``recipe``: what votes, a teacher, more epochs and more augmentation bring to a small network (``recipe.csv``,
  ``docs/results.md``); needs ``--votes`` and ``--everyday``;
* ``four_classes``: three models on angry, happy, sad and neutral (``four_classes.csv``, notebook 04).

Networks learn from ``--train-size`` images of the train split, and are measured on all of val and test.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.console import run, write_line
from ferlib.core.emotions import FOUR_EMOTIONS
from ferlib.core.files import atomic_write, write_json
from ferlib.data import ImageDataset, limit_train, load_images, split_dataset
from ferlib.evaluation import evaluate_predictions
from ferlib.models import get_model
from ferlib.preprocessing import Augmentation
from ferlib.runs.classifier import load_classifier
from ferlib.runs.data import load_run_data
from ferlib.runs.folder import CONFIG, Run, pretrained_run_dir
from ferlib.runs.prior import apply_prior
from ferlib.training import TrainingOptions, default_options, train_model

REPORTS = Path(__file__).resolve().parents[1] / "reports"


@dataclass(frozen=True)
class Variant:
    """One variant of a study: what it changes, its model, its options, and how many times the epochs it trains."""

    name: str
    change: str
    model: str
    model_options: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    n_times: int = 1


_BASE = Variant("base", "", "plain_cnn")
_WORDS = {"n_words": 500, "classifier": "logistic", "flip_invariant": False, "C": 1.0}
_TRUNK = {"backbone": "face_resnet"}
_TUNING = {"learning_rate": 6e-4, "warmup_epochs": 1.0, "weight_decay": 0.05}

# The command line names the votes; the teacher is the pretrained network.
_VOTES, _TEACHER = {"votes": ""}, {"teacher": str(pretrained_run_dir())}
_PHOTO_LIKE = Augmentation(rotation=12, scale=0.2, brightness=0.1, contrast=0.2, gamma=0.25, resolution=0.25)

#: The variants of each study. ``change`` is the group that a figure shows together.
STUDIES: dict[str, tuple[Variant, ...]] = {
    "layers": (
        _BASE,
        Variant("1 stage", "depth", "plain_cnn", {"depth": 1}),
        Variant("2 stages", "depth", "plain_cnn", {"depth": 2}),
        Variant("4 stages", "depth", "plain_cnn", {"depth": 4}),
        Variant("average", "pooling", "plain_cnn", {"pooling": "average"}),
        Variant("stride", "pooling", "plain_cnn", {"pooling": "stride"}),
        Variant("no dense layer", "dense layer", "plain_cnn", {"dense": 0}),
        Variant("512 units", "dense layer", "plain_cnn", {"dense": 512}),
        Variant("batch normalization", "normalization", "plain_cnn", {"batch_norm": True}),
        Variant("0.0003", "learning rate", "plain_cnn", training={"learning_rate": 3e-4}),
        Variant("0.003", "learning rate", "plain_cnn", training={"learning_rate": 3e-3}),
        Variant("16 images", "batch size", "plain_cnn", training={"batch_size": 16}),
        Variant("256 images", "batch size", "plain_cnn", training={"batch_size": 256}),
    ),
    "normalization": (
        Variant("plain", "", "plain_cnn"),
        Variant("normalized", "", "plain_cnn", {"batch_norm": True}),
        Variant("plain, augmented", "", "plain_cnn", training={"augmentation": Augmentation()}),
        Variant("normalized, augmented", "", "plain_cnn", {"batch_norm": True}, {"augmentation": Augmentation()}),
        Variant("plain, rate 0.0003", "", "plain_cnn", training={"learning_rate": 3e-4}),
        Variant("normalized, rate 0.0003", "", "plain_cnn", {"batch_norm": True}, {"learning_rate": 3e-4}),
        Variant("plain, rate 0.003", "", "plain_cnn", training={"learning_rate": 3e-3}),
        Variant("normalized, rate 0.003", "", "plain_cnn", {"batch_norm": True}, {"learning_rate": 3e-3}),
    ),
    "transfer": (
        Variant("from scratch", "", "transfer", {**_TRUNK, "weights": "none"}, {"frozen_epochs": 0, **_TUNING}),
        Variant("frozen trunk", "", "transfer", _TRUNK, {"frozen_epochs": 10_000, **_TUNING, "learning_rate": 0.03}),
        Variant("fine-tuned", "", "transfer", _TRUNK, {"frozen_epochs": 0, **_TUNING}),
    ),
    "recipe": (
        Variant("labels", "", "fast_cnn"),
        Variant("votes", "labels", "fast_cnn", training=_VOTES),
        Variant("teacher", "labels", "fast_cnn", training=_TEACHER),
        Variant("votes and teacher", "labels", "fast_cnn", training=_VOTES | _TEACHER),
        Variant("twice as long", "votes and teacher", "fast_cnn", training=_VOTES | _TEACHER, n_times=2),
        Variant(
            "more augmentation",
            "votes and teacher",
            "fast_cnn",
            training=_VOTES | _TEACHER | {"augmentation": _PHOTO_LIKE},
        ),
    ),
    "four_classes": (
        Variant("CNN", "", "compact_cnn", {"widths": (32, 64, 128)}),
        Variant("bag of words", "", "bovw", _WORDS),
        Variant("bag of words with means", "", "bovw_spatial", _WORDS),
    ),
}

#: The training images and epochs of each study, as recorded in ``reports/``, and the studies that record every epoch.
TRAIN_SIZES = {
    "layers": 4000,
    "normalization": 4000,
    "transfer": 8000,
    "recipe": 8000,
    "four_classes": 4000,
    "probe": 8000,
}
EPOCHS = {"layers": 5, "normalization": 6, "transfer": 3, "recipe": 10, "four_classes": 6}
CURVES = ("normalization", "transfer")

#: A run's metrics on photographs.
EVERYDAY = "everyday.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=[*STUDIES, "probe"])
    parser.add_argument("--data", required=True, help="zip, folder or CSV of FER2013")
    parser.add_argument("--folder", type=Path, default=Path("data/runs"), help="where to write the runs")
    parser.add_argument("--output-csv", type=Path, help="table to write (default: reports/STUDY.csv)")
    parser.add_argument("--train-size", type=int, help=f"images to learn from; 0 for all (default: {TRAIN_SIZES})")
    parser.add_argument("--epochs", type=int, help=f"default: {EPOCHS}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--votes", type=Path, help="CSV of the votes of FER+, for the study recipe")
    parser.add_argument("--everyday", type=Path, help="photographs of faces, for the study recipe")
    args = parser.parse_args(argv)
    if args.study == "recipe" and not (args.votes and args.everyday):
        parser.error("the study recipe needs --votes and --everyday")
    emotions = FOUR_EMOTIONS if args.study == "four_classes" else None
    dataset = split_dataset(load_images(args.data, emotions=emotions), "official", seed=0)
    if size := TRAIN_SIZES[args.study] if args.train_size is None else args.train_size:
        dataset = limit_train(dataset, size)
    write_line(dataset.describe(), error=True)
    if args.study == "probe":
        print(f"{probe_trunk(dataset):.3f}")
        return 0
    table = run_study(
        args.study,
        dataset,
        args.folder / args.study,
        epochs=args.epochs or EPOCHS[args.study],
        seeds=args.seeds,
        output=args.output_csv or REPORTS / f"{args.study}.csv",
        votes=args.votes,
        everyday=args.everyday,
    )
    print(summarize(table).to_string(float_format="{:.3f}".format))
    return 0


def probe_trunk(dataset: ImageDataset) -> float:
    """Return the val accuracy of a logistic regression on the pooled features of the pretrained `face_resnet`."""
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = get_model("face_resnet").build(dataset.n_classes)
    trunk = keras.Model(network.input, network.layers[-1].input)
    parts = [dataset.split(name) for name in ("train", "val")]
    features = [trunk.predict(part.images.astype(np.float32), batch_size=128, verbose=0) for part in parts]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(
        features[0], parts[0].labels
    )
    return float(linear.score(features[1], parts[1].labels))


def run_study(
    study: str,
    dataset: ImageDataset,
    folder: Path,
    *,
    epochs: int,
    seeds: Sequence[int],
    output: Path,
    votes: Path | None = None,
    everyday: Path | None = None,
) -> pd.DataFrame:
    """Train what is missing of a study, write its table after each training, and return it.

    `everyday` are photographs of faces, on which each run is measured under the class prior of photographs.
    """
    # One seed at a time, so that an interrupted study compares all variants.
    for seed in seeds:
        for variant in STUDIES[study]:
            options = make_options(variant, epochs=epochs, seed=seed, votes=votes)
            path = folder / f"{_stem(variant)}-{seed}"
            train_model(
                variant.model, dataset, path, options, model_options=variant.model_options, resume=True, export=False
            )
            if everyday and not (path / EVERYDAY).exists():
                write_json(path / EVERYDAY, measure_everyday(path, everyday))
            with atomic_write(output) as temporary:
                collect(study, folder).to_csv(temporary, index=False, float_format="%.5f")
    return collect(study, folder)


def make_options(variant: Variant, *, epochs: int, seed: int, votes: Path | None = None) -> TrainingOptions:
    """Return the training options of a variant."""
    epochs *= variant.n_times
    training = {name: str(votes) if name == "votes" else value for name, value in variant.training.items()}
    options = replace(default_options(variant.model), epochs=epochs, patience=epochs, seed=seed, **training)
    return replace(options, frozen_epochs=min(options.frozen_epochs, epochs))


def measure_everyday(path: Path, everyday: Path) -> dict[str, Any]:
    """Return the metrics of a run on photographs of faces, under the class prior of photographs."""
    classifier, _ = apply_prior(load_classifier(path), "photographs")
    part = load_run_data(everyday, classifier.config, "test").split("test")
    metrics = evaluate_predictions(part.labels, classifier.predict_proba(part.images), part.class_names)
    return metrics.to_json()


def collect(study: str, folder: Path) -> pd.DataFrame:
    """Return the table of a study's finished runs: one row per run, or per epoch for a study of curves."""
    table = pd.DataFrame([row for variant in STUDIES[study] for row in _rows(study, variant, folder)])
    # Bags of words have neither parameters nor epochs.
    counts = {"parameters", "epochs"} & set(table.columns)
    return table.astype(dict.fromkeys(counts, "Int64"))


def _rows(study: str, variant: Variant, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a variant."""
    for path in sorted(folder.glob(f"{_stem(variant)}-[0-9]*/{CONFIG}")):
        run = Run(path.parent)
        config, metrics = run.config, run.metrics
        if "val" not in metrics:
            continue
        row = {
            "variant": variant.name,
            "change": variant.change,
            "seed": config.training["seed"],
            "model": config.model,
            "parameters": config.parameters,
            "train_images": sum(config.image_counts["train"].values()),
            "epochs": len(run.history) or None,
            "val_accuracy": metrics["val"].accuracy,
            "test_accuracy": metrics["test"].accuracy,
            "test_macro_f1": metrics["test"].macro_f1,
            "seconds": round(sum(epoch["seconds"] for epoch in run.history) or config.seconds or 0.0),
        }
        if (path.parent / EVERYDAY).exists():
            everyday = json.loads((path.parent / EVERYDAY).read_text(encoding="utf-8"))
            row |= {f"everyday_{name}": everyday[name] for name in ("accuracy", "balanced_accuracy")}
        if study not in CURVES:
            yield row
            continue
        shared = {name: row[name] for name in ("variant", "change", "seed", "model", "parameters", "train_images")}
        for epoch in run.history:
            values = {name: epoch[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
            yield shared | {"epoch": int(epoch["epoch"])} | values


def _stem(variant: Variant) -> str:
    """Return the start of the names of a variant's run folders."""
    return variant.name.replace(",", "").replace(" ", "_")


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation of val accuracy over the seeds, in the order of the variants."""
    last = table.groupby(["variant", "seed"], sort=False)["val_accuracy"].max()
    return last.groupby("variant", sort=False).agg(["count", "mean", "std"])


if __name__ == "__main__":
    run(main)
