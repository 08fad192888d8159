"""Evaluate a model on a dataset: ``ferlib evaluate --data fer2013.zip --split test``."""

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
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
from ferlib.data.options import DataOptions
from ferlib.evaluation import evaluate_predictions, measure_robustness, tabulate_per_class, tabulate_results
from ferlib.evaluation.intervals import compare_all
from ferlib.evaluation.markdown import DESCRIBE_VIEWS, headline_rows, robustness_rows
from ferlib.evaluation.robustness import measure_corruptions
from ferlib.evaluation.speed import Speed, measure_speed, speed_rows
from ferlib.faces import make_detector
from ferlib.faces.crops import FaceCropper, SnapshotCheck
from ferlib.runs.classifier import Classifier, load_classifier
from ferlib.runs.data import load_run_data
from ferlib.runs.folder import PretrainedName, Run, check_one_model, pretrained_run_dir
from ferlib.runs.model_file import ModelFile
from ferlib.runs.prior import ClassPrior, apply_prior, parse_prior
from ferlib.runs.records import Metrics, TestTimeAugmentation

EXAMPLES = """examples:
  ferlib evaluate --data fer2013.zip --split test
  ferlib evaluate --data fer2013.csv --split PrivateTest --run data/runs/my_cnn --output-json e.json
  ferlib evaluate --data fer2013.zip --compare data/runs/a data/runs/b
  ferlib evaluate --data fer2013.zip --robustness --corruptions --output-report report
  ferlib evaluate --data photographs.zip --prior photographs
  ferlib evaluate --data fer2013.zip --run data/runs/my_cnn --model-file fast.onnx

val is the part of train that the run's training used for validation.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of the command."""

    data: Path | None = option(
        None, help="zip, folder, CSV or Parquet", default_text="FER2013_ARCHIVE, else the last download"
    )
    split: Literal["train", "val", "test", "Training", "PublicTest", "PrivateTest"] = option(
        "test", help="part of the dataset to evaluate on"
    )
    model: PretrainedName | None = option(None, help="pretrained model", default_text="default")
    run: Path | None = option(None, metavar="DIR", help="run folder to use instead of a pretrained model")
    model_file: Path | None = option(
        None,
        metavar="FILE",
        help="exported .onnx or .tflite file to evaluate instead of the run's own model; also measures its speed",
    )
    test_time_augmentation: TestTimeAugmentation | None = option(
        None, flag="--tta", help="test-time augmentation", default_text="the run's own; none for a model file"
    )
    prior: str = option(
        "training",
        help="how frequent each emotion is: photographs, training (as in the training data), or a share per class",
        metavar="PRIOR",
    )
    detect: bool = option(False, help="cut the largest face out of each image, for photographs", group="data")
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
        check_one_model(self.run, self.model)
        parse_prior(self.prior, "--prior")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured on one split of a dataset.

    Attributes
    ----------
    classifier : Classifier
        The model that `metrics` and `corruptions` describe.
    prior : ClassPrior
        Its class prior.
    part : ImageDataset
        The images of `split`.
    probabilities : dict
        Names of all compared runs to probabilities (n, n_classes); the classifier's are the first.
    results : dict
        The same names to metrics, without robustness.
    speed : Speed or None
        Of a model file.
    """

    classifier: Classifier
    prior: ClassPrior
    part: ImageDataset
    split: str
    probabilities: dict[str, np.ndarray]
    results: dict[str, Metrics]
    metrics: Metrics
    corruptions: pd.DataFrame | None = None
    tests: pd.DataFrame | None = None
    speed: Speed | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        record = self.metrics.to_json() | {
            "model": self.classifier.name,
            "run": self.classifier.run.name,
            "model_file": self.classifier.path.name if isinstance(self.classifier, ModelFile) else None,
            "test_time_augmentation": self.classifier.config.test_time_augmentation,
            "prior": self.prior.name,
            "data": self.part.info.path,
            "split": self.split,
        }
        if self.speed is not None:
            record["speed"] = asdict(self.speed)
        if self.corruptions is not None:
            record["corruptions"] = self.corruptions.replace({np.nan: None}).to_dict("records")
        if self.tests is not None:
            record["compare"] = {
                "models": {name: metrics.to_json() for name, metrics in self.results.items()},
                "tests": self.tests.to_dict("records"),
            }
        return record

    @property
    def title(self) -> str:
        """Model and data."""
        return f"{self.classifier.name} on {self.part.info.path}"

    def describe(self) -> str:
        """Return one line: model, data, split, number of images, test-time augmentation and class prior."""
        synthetic = " (SYNTHETIC faces)" if self.part.info.synthetic else ""
        views = DESCRIBE_VIEWS[self.classifier.config.test_time_augmentation]
        return f"{self.title}, split {self.split}{synthetic}, n {self.metrics.n:,}{views}, {self.prior.name} prior"


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "evaluate",
        (EvaluateOptions, DataOptions),
        description="Evaluate a model on one split of a dataset.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, write the outputs and print tables; return the exit status."""
    parsed = build_parser().parse(argv)
    options = parsed.build(EvaluateOptions)
    reading = parsed.build(DataOptions)
    chosen = [apply_prior(classifier, options.prior, "--prior") for classifier in _load_classifiers(options)]
    classifiers, priors = [classifier for classifier, _ in chosen], [prior for _, prior in chosen]
    path = locate_data(options.data, allow_download=False)
    report = options.output_report and options.output_report / "report.md"
    check_outputs([output for output in (options.output_json, report) if output], [path])
    check = SnapshotCheck(make_detector())
    process = FaceCropper(check.detector, geometry=classifiers[0].crop) if options.detect else check
    config, loading = classifiers[0].config, reading.loading()
    part = load_run_data(path, config, options.split, reading=loading, process=process).split(options.split)
    if warning := check.warning():
        logger.warning(warning)
    evaluation = _evaluate(options, classifiers, priors, part)
    # Files first: the reader of the tables may close the pipe, as `| head` does.
    if options.output_json:
        write_json(options.output_json, evaluation.to_json())
        logger.info("wrote %s", options.output_json)
    if options.output_report:
        _write_report(options.output_report, evaluation)
    sys.stdout.write("\n".join(_tables(evaluation)))
    return EXIT_OK


def _load_classifiers(options: EvaluateOptions) -> list[Classifier]:
    """Return the model to evaluate, then those to compare it with."""
    views = options.test_time_augmentation
    first: Classifier
    if options.model_file:
        source = Run(options.run or pretrained_run_dir(options.model or "default"))
        first = ModelFile(options.model_file, source, test_time_augmentation=views or "none")
    else:
        first = load_classifier(options.run, model=options.model or "default", test_time_augmentation=views)
    others = [load_classifier(folder, test_time_augmentation=views) for folder in options.compare]
    for other in others:
        if other.class_names != first.class_names:
            raise OptionError(f"--compare: {other.run.path} has other classes: {', '.join(other.class_names)}.")
    return [first, *others]


def _predict(
    classifier: Classifier, prior: ClassPrior, class_names: Sequence[str], images: np.ndarray, *, progress: bool = False
) -> np.ndarray:
    """Return probabilities (n, n_classes) of some of the model's classes under a prior."""
    probabilities = prior.apply(classifier.predict_proba(images, progress=progress))
    if classifier.class_names == tuple(class_names):
        return probabilities
    # Classes that datasets do not have, such as contempt, cannot be right.
    probabilities = probabilities[:, [classifier.class_names.index(name) for name in class_names]]
    return np.asarray(probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12))


def _evaluate(
    options: EvaluateOptions, classifiers: Sequence[Classifier], priors: Sequence[ClassPrior], part: ImageDataset
) -> Evaluation:
    """Return the metrics of all classifiers, and the rest of the measurements for the first."""
    classifier, probabilities = classifiers[0], {}
    others = [name for name in classifier.class_names if name not in part.class_names]
    if others:
        logger.warning("the dataset has no %s: these classes are not measured", ", ".join(others))
    for each, prior in zip(classifiers, priors, strict=True):
        name = each.run.name if each.run.name not in probabilities else str(each.run.path)
        probabilities[name] = _predict(each, prior, part.class_names, part.images, progress=True)
    results = {name: evaluate_predictions(part.labels, p, part.class_names) for name, p in probabilities.items()}
    metrics, corruptions, tests = next(iter(results.values())), None, None
    if options.robustness:
        measured = partial(_predict, classifier, priors[0], part.class_names, progress=True)
        metrics = replace(metrics, robustness=measure_robustness(measured, part.images, part.labels))
    if options.corruptions:
        corruptions = measure_corruptions(
            partial(_predict, classifier, priors[0], part.class_names), part.images, part.labels
        )
    if options.compare:
        tests = compare_all(part.labels, {name: p.argmax(axis=1) for name, p in probabilities.items()})
    return Evaluation(
        classifier=classifier,
        prior=priors[0],
        part=part,
        split=options.split,
        probabilities=probabilities,
        results=results,
        metrics=metrics,
        corruptions=corruptions,
        tests=tests,
        speed=measure_speed(classifier, part.images) if isinstance(classifier, ModelFile) else None,
    )


def _write_report(folder: Path, evaluation: Evaluation) -> None:
    """Write the report and its figures."""
    # Matplotlib takes a second to import.
    from ferlib.plots import write_report

    path = write_report(
        folder,
        title=evaluation.title,
        introduction=evaluation.describe(),
        y_true=evaluation.part.labels,
        y_proba=next(iter(evaluation.probabilities.values())),
        metrics=evaluation.metrics,
        history=evaluation.classifier.run.history,
        corruptions=evaluation.corruptions,
    )
    logger.info("wrote %s", path)


def _tables(evaluation: Evaluation) -> list[str]:
    """Return the tables to print."""
    tables = [
        evaluation.describe() + "\n",
        _align(headline_rows(evaluation.metrics)),
        _format(tabulate_per_class(evaluation.metrics)),
    ]
    if evaluation.speed is not None:
        tables.append(_align(speed_rows(evaluation.speed)))
    if evaluation.metrics.robustness is not None:
        tables.append(_align(robustness_rows(evaluation.metrics.robustness)))
    if evaluation.corruptions is not None:
        table = evaluation.corruptions.pivot_table(index="corruption", columns="level", values="accuracy")
        tables.append("accuracy by strength; 0 is the original image\n" + _format(table))
    if evaluation.tests is not None:
        results = tabulate_results(evaluation.results)[["accuracy", "low", "high", "macro_f1", "ece"]]
        tables.append(_format(results.sort_values("accuracy", ascending=False)))
        tables += [_describe_test(test) for _, test in evaluation.tests.iterrows()]
    return tables


def _align(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return rows of text in columns."""
    return "".join(f"{name:<36} {value:>8}  {note}".rstrip() + "\n" for name, value, note in rows)


def _format(table: pd.DataFrame) -> str:
    """Return a table with three decimals."""
    return table.to_string(float_format="{:.3f}".format) + "\n"


def _describe_test(test: pd.Series) -> str:
    """Return one line about a paired test."""
    difference, low, high = (100 * test[f"accuracy_{name}"] for name in ("difference", "low", "high"))
    return (
        f"{test['better']} against {test['worse']}: {difference:+.2f} points "
        f"(95 %: {low:+.2f} to {high:+.2f}), McNemar p = {test['p_value']:.3g}\n"
    )


if __name__ == "__main__":
    run(main)
