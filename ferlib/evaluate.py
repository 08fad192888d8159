"""Measure a model on a data set: ``python -m ferlib.evaluate --data fer2013.zip --split test``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ferlib.artifacts import Classifier, load_classifier
from ferlib.commands import EXIT_OK, run
from ferlib.datasets import ImageDataset, load_images, split_dataset
from ferlib.datasets.base import SPLITS, USAGES
from ferlib.emotions import EMOTIONS
from ferlib.evaluation import evaluate_predictions, tabulate_per_class
from ferlib.files import write_json
from ferlib.sources.locate import locate_data

EXAMPLES = """examples:
  python -m ferlib.evaluate --data fer2013.zip --split test
  python -m ferlib.evaluate --data fer2013.csv --split PrivateTest --run data/runs/my_cnn --output-json e.json

val is the part of train that training with the same data and default options sets aside.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.evaluate",
        description="Measure a model on one split of a data set.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="PATH", help="zip, folder or CSV (default: what ferlib.download made)")
    parser.add_argument("--split", choices=(*SPLITS, *USAGES), default="test", help="which part (default: test)")
    parser.add_argument("--run", metavar="DIR", type=Path, help="run folder (default: the delivered model)")
    parser.add_argument("--output-json", metavar="FILE", type=Path, help="write the numbers there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the numbers; return the exit status."""
    args = build_parser().parse_args(argv)
    classifier = load_classifier(args.run)
    path = locate_data(args.data, allow_download=False)
    subset = None if classifier.class_names == EMOTIONS else classifier.class_names
    dataset = load_images(path, emotions=subset)
    if args.split in ("train", "val"):
        dataset = _split_as_trained(dataset, classifier)
    part = dataset.split(args.split)
    metrics = evaluate_predictions(part.labels, classifier.predict_proba(part.images), classifier.class_names)
    result = {
        **metrics,
        "model": classifier.name,
        "run": classifier.run_dir.name,
        "flip_averaging": classifier.averages_flip,
        "data": dataset.info["path"],
        "split": args.split,
    }
    _print_result(result, part.info["synthetic"])
    if args.output_json:
        write_json(args.output_json, result)
        sys.stderr.write(f"wrote {args.output_json}\n")
    return EXIT_OK


def _split_as_trained(dataset: ImageDataset, classifier: Classifier) -> ImageDataset:
    """Return the data set with the val split that the run's training cut from train."""
    recorded = classifier.config["data"].get("split") or {}
    return split_dataset(dataset, **recorded) if recorded else split_dataset(dataset)


def _print_result(result: dict, synthetic: bool) -> None:
    """Write the numbers as a table to standard output."""
    sys.stdout.write(
        f"{result['model']} on {result['data']}, split {result['split']}{' (SYNTHETIC faces)' if synthetic else ''}\n"
        f"n {result['n']:,}   accuracy {result['accuracy']:.2%}   macro-F1 {result['macro_f1']:.2%}   "
        f"balanced accuracy {result['balanced_accuracy']:.2%}"
        f"{'   (averaged with mirror images)' if result['flip_averaging'] else ''}\n\n"
    )
    table = tabulate_per_class(result)
    sys.stdout.write(table.to_string(float_format="{:.3f}".format) + "\n")


if __name__ == "__main__":
    run(main)
