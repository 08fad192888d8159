"""Evaluate a model on a dataset: ``ferlib evaluate --data fer2013.zip --split test``."""

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import OptionError
from ferlib.core.files import check_outputs, write_json
from ferlib.core.options import OptionParser, check_options, option
from ferlib.data import ImageDataset
from ferlib.data.locate import locate_data
from ferlib.evaluation import evaluate_predictions, measure_robustness, tabulate_per_class, tabulate_results
from ferlib.evaluation.intervals import compare_all
from ferlib.evaluation.markdown import DESCRIBE_VIEWS, headline_rows, robustness_rows
from ferlib.evaluation.report import write_report
from ferlib.evaluation.robustness import measure_corruptions
from ferlib.runs.classifier import Classifier, load_classifier
from ferlib.runs.data import load_run_data
from ferlib.runs.records import Metrics, TestTimeAugmentation

EXAMPLES = """examples:
  ferlib evaluate --data fer2013.zip --split test
  ferlib evaluate --data fer2013.csv --split PrivateTest --run data/runs/my_cnn --output-json e.json
  ferlib evaluate --data fer2013.zip --compare data/runs/a data/runs/b
  ferlib evaluate --data fer2013.zip --robustness --corruptions --output-report report

val is the part of train that the run's training used for validation.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of the command."""

    data: Path | None = option(None, help="zip, folder or CSV", default_text="FER2013_ARCHIVE, else the last download")
    split: Literal["train", "val", "test", "Training", "PublicTest", "PrivateTest"] = option(
        "test", help="part of the dataset to evaluate on"
    )
    run: Path | None = option(None, metavar="DIR", help="run folder to load", default_text="the pretrained model")
    test_time_augmentation: TestTimeAugmentation | None = option(
        None, flag="--tta", help="test-time augmentation", default_text="the run's own"
    )
    robustness: bool = option(False, help="also measure shifted, scaled and rotated images")
    corruptions: bool = option(False, help="also measure corrupted images at five strengths")
    compare: tuple[Path, ...] = option(
        (), metavar="DIR", help="further run folders to evaluate on the same images, with paired tests"
    )
    output_json: Path | None = option(None, metavar="FILE", group="output", help="write the metrics as JSON")
    output_report: Path | None = option(
        None, metavar="DIR", group="output", help="write a Markdown report with figures"
    )

    def __post_init__(self) -> None:
        """Check types and ranges."""
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured on one split of a dataset; `compared` has the metrics of all models if there are several."""

    model: str
    run: str
    test_time_augmentation: TestTimeAugmentation
    data: str
    split: str
    synthetic: bool
    metrics: Metrics
    corruptions: pd.DataFrame | None
    compared: dict[str, Metrics]
    tests: pd.DataFrame | None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        names = ("model", "run", "test_time_augmentation", "data", "split")
        record = self.metrics.to_json() | {name: getattr(self, name) for name in names}
        if self.corruptions is not None:
            record["corruptions"] = self.corruptions.replace({np.nan: None}).to_dict("records")
        if self.tests is not None:
            record["compare"] = {
                "models": {name: metrics.to_json() for name, metrics in self.compared.items()},
                "tests": self.tests.to_dict("records"),
            }
        return record

    def describe(self) -> str:
        """Return one line: model, data, split, number of images and test-time augmentation."""
        synthetic = " (SYNTHETIC faces)" if self.synthetic else ""
        views = DESCRIBE_VIEWS[self.test_time_augmentation]
        return f"{self.model} on {self.data}, split {self.split}{synthetic}, n {self.metrics.n:,}{views}"


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "evaluate", (EvaluateOptions,), description="Evaluate a model on one split of a dataset.", examples=EXAMPLES
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, write the outputs and print tables; return the exit status."""
    options = build_parser().parse(argv).build(EvaluateOptions)
    classifiers = _load_classifiers(options)
    path = locate_data(options.data, allow_download=False)
    report = options.output_report and options.output_report / "report.md"
    check_outputs([output for output in (options.output_json, report) if output], [path])
    part = load_run_data(path, classifiers[0].config, options.split).split(options.split)
    probabilities = _predict(classifiers, part.images)
    evaluation = _evaluate(options, classifiers[0], part, probabilities)
    # Files first: the reader of the tables may close the pipe, as `| head` does.
    if options.output_json:
        write_json(options.output_json, evaluation.to_json())
        logger.info("wrote %s", options.output_json)
    if options.output_report:
        _write_report(options.output_report, evaluation, classifiers[0], part, next(iter(probabilities.values())))
    sys.stdout.write("\n".join(_tables(evaluation)))
    return EXIT_OK


def _load_classifiers(options: EvaluateOptions) -> list[Classifier]:
    """Return the model to evaluate, then those to compare it with."""
    load = partial(load_classifier, test_time_augmentation=options.test_time_augmentation)
    first, *others = [load(folder) for folder in (options.run, *options.compare)]
    for other in others:
        if other.class_names != first.class_names:
            raise OptionError(f"--compare: {other.run.path} has other classes: {', '.join(other.class_names)}.")
    return [first, *others]


def _predict(classifiers: Sequence[Classifier], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return run names, or paths where names are equal, to probabilities (n, n_classes)."""
    probabilities: dict[str, np.ndarray] = {}
    for classifier in classifiers:
        name = classifier.run.name if classifier.run.name not in probabilities else str(classifier.run.path)
        probabilities[name] = classifier.predict_proba(images, progress=True)
    return probabilities


def _evaluate(
    options: EvaluateOptions, classifier: Classifier, part: ImageDataset, probabilities: dict[str, np.ndarray]
) -> Evaluation:
    """Return the metrics of the first probabilities, and comparisons with the others."""
    results = {name: evaluate_predictions(part.labels, p, part.class_names) for name, p in probabilities.items()}
    metrics = next(iter(results.values()))
    predict = partial(classifier.predict_proba, progress=True)
    if options.robustness:
        metrics = replace(metrics, robustness=measure_robustness(predict, part.images, part.labels))
    corruptions = tests = None
    if options.corruptions:
        corruptions = measure_corruptions(classifier.predict_proba, part.images, part.labels)
    if options.compare:
        tests = compare_all(part.labels, {name: p.argmax(axis=1) for name, p in probabilities.items()})
    return Evaluation(
        model=classifier.name,
        run=classifier.run.name,
        test_time_augmentation=classifier.config.test_time_augmentation,
        data=part.info.path,
        split=options.split,
        synthetic=part.info.synthetic,
        metrics=metrics,
        corruptions=corruptions,
        compared=results if options.compare else {},
        tests=tests,
    )


def _write_report(
    folder: Path, evaluation: Evaluation, classifier: Classifier, part: ImageDataset, y_proba: np.ndarray
) -> None:
    """Write the report and its figures."""
    # Matplotlib takes a second to import.
    from ferlib.plots import save_report_figures

    title = f"{evaluation.model} on {evaluation.data}"
    figures = save_report_figures(
        folder,
        title=title,
        y_true=part.labels,
        y_proba=y_proba,
        metrics=evaluation.metrics,
        history=classifier.run.history,
        corruptions=evaluation.corruptions,
    )
    path = write_report(
        folder, title=title, introduction=evaluation.describe(), metrics=evaluation.metrics, figures=figures
    )
    logger.info("wrote %s", path)


def _tables(evaluation: Evaluation) -> list[str]:
    """Return the tables to print."""
    tables = [
        evaluation.describe() + "\n",
        _align(headline_rows(evaluation.metrics)),
        _format(tabulate_per_class(evaluation.metrics)),
    ]
    if evaluation.metrics.robustness is not None:
        tables.append(_align(robustness_rows(evaluation.metrics.robustness)))
    if evaluation.corruptions is not None:
        table = evaluation.corruptions.pivot_table(index="corruption", columns="level", values="accuracy")
        tables.append("accuracy by strength; 0 is the original image\n" + _format(table))
    if evaluation.tests is not None:
        results = tabulate_results(evaluation.compared)[["accuracy", "low", "high", "macro_f1", "ece"]]
        tables += [_format(results.sort_values("accuracy", ascending=False)), *_describe_tests(evaluation.tests)]
    return tables


def _align(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return rows of text in columns."""
    return "".join(f"{name:<36} {value:>8}  {note}".rstrip() + "\n" for name, value, note in rows)


def _format(table: pd.DataFrame) -> str:
    """Return a table with three decimals."""
    return table.to_string(float_format="{:.3f}".format) + "\n"


def _describe_tests(tests: pd.DataFrame) -> list[str]:
    """Return one line per paired test."""
    return [
        f"{test['better']} against {test['worse']}: {100 * test['accuracy_difference']:+.2f} points "
        f"(95 %: {100 * test['accuracy_low']:+.2f} to {100 * test['accuracy_high']:+.2f}), "
        f"McNemar p = {test['p_value']:.3g}\n"
        for _, test in tests.iterrows()
    ]


if __name__ == "__main__":
    run(main)
