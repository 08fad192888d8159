"""Measure a model on a data set: ``python -m ferlib.evaluate --data fer2013.zip --split test``."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.console import EXIT_OK, progress_bar, run
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.core.files import check_outputs, write_json
from ferlib.core.images import VIEWS
from ferlib.data import ImageDataset, load_images, split_dataset
from ferlib.data.dataset import SPLITS, USAGES
from ferlib.data.locate import locate_data
from ferlib.evaluation import evaluate_predictions, measure_robustness, tabulate_per_class
from ferlib.evaluation.intervals import compare_all
from ferlib.evaluation.report import describe_headlines, write_report
from ferlib.evaluation.robustness import describe_robustness, measure_corruptions
from ferlib.runs.classifier import Classifier, load_classifier
from ferlib.runs.folder import read_history

EXAMPLES = """examples:
  python -m ferlib.evaluate --data fer2013.zip --split test
  python -m ferlib.evaluate --data fer2013.csv --split PrivateTest --run data/runs/my_cnn --output-json e.json
  python -m ferlib.evaluate --data fer2013.zip --compare data/runs/a data/runs/b
  python -m ferlib.evaluate --data fer2013.zip --robustness --corruptions --report report

val is the part of train that the run's training set aside.
"""

_VIEWS = {"none": "", "flip": ", averaged with mirror images", "ten_crop": ", averaged over ten crops"}


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
    parser.add_argument("--tta", choices=VIEWS, help="views of an image to average (default: the run's own)")
    parser.add_argument("--robustness", action="store_true", help="also measure shifted, scaled and turned images")
    parser.add_argument("--corruptions", action="store_true", help="also measure spoiled images at five strengths")
    parser.add_argument(
        "--compare", metavar="DIR", type=Path, nargs="+", default=[], help="these runs beside it, with paired tests"
    )
    parser.add_argument("--report", metavar="DIR", type=Path, help="write a report with figures there (Markdown)")
    parser.add_argument("--output-json", metavar="FILE", type=Path, help="write the numbers there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the numbers; return the exit status."""
    args = build_parser().parse_args(argv)
    classifier = load_classifier(args.run, test_time_augmentation=args.tta)
    others = [load_classifier(run, test_time_augmentation=args.tta) for run in args.compare]
    for other in others:
        if other.class_names != classifier.class_names:
            raise FerlibError(f"{other.run_dir} tells other emotions apart: {', '.join(other.class_names)}.")
    path = locate_data(args.data, allow_download=False)
    outputs = [args.output_json, args.report / "report.md" if args.report else None]
    check_outputs([output for output in outputs if output], [path])
    dataset = _load(path, args.split, classifier)
    part = dataset.split(args.split)
    y_proba = _predict(classifier, part.images)
    result = {
        **evaluate_predictions(part.labels, y_proba, classifier.class_names),
        "model": classifier.name,
        "run": classifier.run_dir.name,
        "test_time_augmentation": classifier.test_time_augmentation,
        "data": dataset.info.path,
        "split": args.split,
    }
    corruptions = None
    if args.robustness:
        result["robustness"] = measure_robustness(partial(_predict, classifier), part.images, part.labels)
    if args.corruptions:
        corruptions = measure_corruptions(classifier.predict_proba, part.images, part.labels)
        result["corruptions"] = corruptions.replace({np.nan: None}).to_dict("records")
    if others:
        result["compare"] = _compare(part, {_name(classifier): y_proba}, others)
    # The files first: whoever reads the table may leave before its end (| head).
    if args.output_json:
        write_json(args.output_json, result)
        sys.stderr.write(f"wrote {args.output_json}\n")
    if args.report:
        report = write_report(
            args.report,
            title=f"{result['model']} on {result['data']}",
            introduction=_introduce(result, part.info.synthetic),
            y_true=part.labels,
            y_proba=y_proba,
            metrics=result,
            history=read_history(classifier.run_dir),
            corruptions=corruptions,
        )
        sys.stderr.write(f"wrote {report}\n")
    _print_result(result, part.info.synthetic)
    return EXIT_OK


def _compare(part: ImageDataset, known: dict[str, np.ndarray], others: Sequence[Classifier]) -> dict[str, Any]:
    """Return the metrics of several models on the same images, and paired tests of neighbors in the ranking."""
    probabilities = dict(known)
    for other in others:
        # Two folders may have the same name.
        name = _name(other) if _name(other) not in probabilities else str(other.run_dir)
        probabilities[name] = _predict(other, part.images)
    return {
        "models": {
            name: evaluate_predictions(part.labels, y_proba, part.class_names)
            for name, y_proba in probabilities.items()
        },
        "tests": compare_all(
            part.labels, {name: y_proba.argmax(axis=1) for name, y_proba in probabilities.items()}
        ).to_dict("records"),
    }


def _name(classifier: Classifier) -> str:
    """Return what a run is called in a table."""
    return classifier.run_dir.name


def _load(path: Path, split: str, classifier: Classifier) -> ImageDataset:
    """Return the data set, with the run's own splits where a split is asked for that its training made."""
    trained_on = classifier.config.get("data", {})
    cut = trained_on.get("split") or {}
    subset = None if classifier.class_names == EMOTIONS else classifier.class_names
    dataset = load_images(path, emotions=subset)
    same = dataset.info.sha256 == trained_on.get("sha256")
    # Test stays as published, unless the run's training dealt the same images anew and has seen some of that test.
    dealt_anew = same and cut.get("scheme", "official") != "official"
    if split in USAGES or (split == "test" and not dealt_anew):
        return dataset
    if same and trained_on.get("sample_size"):
        dataset = load_images(path, emotions=subset, sample_size=trained_on["sample_size"], seed=cut.get("seed", 0))
    elif not same:
        sys.stderr.write(f"{split} is cut anew: these are not the data that {classifier.name} was trained on.\n")
    return split_dataset(dataset, **cut)


def _predict(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Return the probabilities, float32 (n, n_classes), with a progress bar."""
    starts = progress_bar(range(0, len(images), 256), desc="predict", unit="batch", delay=1)
    return np.concatenate([classifier.predict_proba(images[start : start + 256]) for start in starts])


def _introduce(result: dict, synthetic: bool) -> str:
    """Return in one line what was measured on what."""
    return (
        f"{result['model']} on {result['data']}, split {result['split']}"
        f"{' (SYNTHETIC faces)' if synthetic else ''}, n {result['n']:,}"
        f"{_VIEWS[result['test_time_augmentation']]}"
    )


def _print_result(result: dict, synthetic: bool) -> None:
    """Write the numbers as tables to standard output."""
    blocks = [_introduce(result, synthetic) + "\n"]
    blocks.append(
        "".join(
            f"{name:<36} {value:>8}  {interval}".rstrip() + "\n" for name, value, interval in describe_headlines(result)
        )
    )
    blocks.append(tabulate_per_class(result).to_string(float_format="{:.3f}".format) + "\n")
    if "robustness" in result:
        rows = describe_robustness(result["robustness"])
        blocks.append("".join(f"{name:<18} {value}  {change}".rstrip() + "\n" for name, value, change in rows))
    if "corruptions" in result:
        table = pd.DataFrame(result["corruptions"]).pivot_table(index="corruption", columns="level", values="accuracy")
        blocks.append(
            "accuracy by strength, 0 is the image as it is\n" + table.to_string(float_format="{:.3f}".format) + "\n"
        )
    if "compare" in result:
        blocks.append(_describe_comparison(result["compare"]))
    sys.stdout.write("\n".join(blocks))


def _describe_comparison(comparison: dict[str, Any]) -> str:
    """Return the tables of several models: their metrics, and the tests of neighbors."""
    models = pd.DataFrame(
        {
            name: {
                "accuracy": metrics["accuracy"],
                "low": metrics["intervals"]["accuracy"][0],
                "high": metrics["intervals"]["accuracy"][1],
                "macro-F1": metrics["macro_f1"],
                "ece": metrics["ece"],
            }
            for name, metrics in comparison["models"].items()
        }
    ).T.sort_values("accuracy", ascending=False)
    lines = [
        f"{test['better']} against {test['worse']}: {100 * test['accuracy_difference']:+.2f} points "
        f"(95 %: {100 * test['accuracy_low']:+.2f} to {100 * test['accuracy_high']:+.2f}), "
        f"McNemar p = {test['p_value']:.3g}"
        for test in comparison["tests"]
    ]
    return models.to_string(float_format="{:.3f}".format) + "\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
