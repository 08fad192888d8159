"""Measure a model on a data set: ``python -m ferlib.evaluate --data fer2013.zip --split test``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlib.artifacts import Classifier, load_classifier
from ferlib.commands import EXIT_OK, run
from ferlib.datasets import ImageDataset, load_images, split_dataset
from ferlib.datasets.base import SPLITS, USAGES
from ferlib.emotions import EMOTIONS
from ferlib.evaluation import evaluate_predictions, measure_robustness, tabulate_per_class
from ferlib.evaluation.robustness import describe_robustness
from ferlib.files import check_outputs, write_json
from ferlib.images import VIEWS
from ferlib.progress import track
from ferlib.sources.locate import locate_data

EXAMPLES = """examples:
  python -m ferlib.evaluate --data fer2013.zip --split test
  python -m ferlib.evaluate --data fer2013.csv --split PrivateTest --run data/runs/my_cnn --output-json e.json

val is the part of train that the run's training set aside.
"""

_VIEWS = {"none": "", "flip": "   (averaged with mirror images)", "ten_crop": "   (averaged over ten crops)"}


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
    parser.add_argument("--tta", choices=VIEWS, help="views of a picture to average (default: the run's own)")
    parser.add_argument("--robustness", action="store_true", help="also measure shifted, scaled and turned pictures")
    parser.add_argument("--output-json", metavar="FILE", type=Path, help="write the numbers there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the numbers; return the exit status."""
    args = build_parser().parse_args(argv)
    classifier = load_classifier(args.run, test_time_augmentation=args.tta)
    path = locate_data(args.data, allow_download=False)
    check_outputs([args.output_json] if args.output_json else [], [path])
    dataset = _load(path, args.split, classifier)
    part = dataset.split(args.split)
    metrics = evaluate_predictions(part.labels, predict_with_progress(classifier, part.images), classifier.class_names)
    result = {
        **metrics,
        "model": classifier.name,
        "run": classifier.run_dir.name,
        "test_time_augmentation": classifier.test_time_augmentation,
        "data": dataset.info["path"],
        "split": args.split,
    }
    if args.robustness:
        result["robustness"] = measure_robustness(
            lambda images: predict_with_progress(classifier, images), part.images, part.labels
        )
    # The file first: whoever reads the table may leave before its end (| head).
    if args.output_json:
        write_json(args.output_json, result)
        sys.stderr.write(f"wrote {args.output_json}\n")
    _print_result(result, part.info["synthetic"])
    return EXIT_OK


def _load(path: Path, split: str, classifier: Classifier) -> ImageDataset:
    """Return the data set, with the run's own splits where a split is asked for that its training made."""
    trained_on = classifier.config.get("data", {})
    cut = trained_on.get("split") or {}
    subset = None if classifier.class_names == EMOTIONS else classifier.class_names
    dataset = load_images(path, emotions=subset)
    same = dataset.info["sha256"] == trained_on.get("sha256")
    # Test stays as published, unless the run's training dealt the same pictures anew and has seen some of that test.
    dealt_anew = same and cut.get("scheme", "official") != "official"
    if split in USAGES or (split == "test" and not dealt_anew):
        return dataset
    if same and trained_on.get("sample_size"):
        dataset = load_images(path, emotions=subset, sample_size=trained_on["sample_size"], seed=cut.get("seed", 0))
    elif not same:
        sys.stderr.write(f"{split} is cut anew: these are not the data that {classifier.name} was trained on.\n")
    return split_dataset(dataset, **cut)


def predict_with_progress(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Return the probabilities, float32 (n, n_classes), with a progress bar."""
    starts = track(range(0, len(images), 256), desc="predict", unit="batch")
    return np.concatenate([classifier.predict_proba(images[start : start + 256]) for start in starts])


def _print_result(result: dict, synthetic: bool) -> None:
    """Write the numbers as a table to standard output."""
    sys.stdout.write(
        f"{result['model']} on {result['data']}, split {result['split']}{' (SYNTHETIC faces)' if synthetic else ''}\n"
        f"n {result['n']:,}   accuracy {result['accuracy']:.2%}   macro-F1 {result['macro_f1']:.2%}   "
        f"balanced accuracy {result['balanced_accuracy']:.2%}"
        f"{_VIEWS[result['test_time_augmentation']]}\n\n"
    )
    table = tabulate_per_class(result)
    sys.stdout.write(table.to_string(float_format="{:.3f}".format) + "\n")
    if "robustness" in result:
        rows = describe_robustness(result["robustness"])
        sys.stdout.write(
            "\n" + "".join(f"{name:<18} {value}  {change}".rstrip() + "\n" for name, value, change in rows)
        )


if __name__ == "__main__":
    run(main)
