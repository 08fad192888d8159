"""Train a model on a dataset: ``ferlib train --model compact_cnn --data fer2013.zip``."""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.options import OptionParser, ParsedOptions, check_options, option
from ferlib.data.locate import default_data_dir, locate_data
from ferlib.data.options import DataOptions
from ferlib.models import get_model, list_models
from ferlib.runs.folder import RUN_OPTIONS
from ferlib.training import TrainingOptions, default_options, train_model
from ferlib.training.loading import ImageOptions, limit_by_options, load_for_training

EXAMPLES = """examples:
  ferlib train --model compact_cnn --data fer2013.zip --run-dir data/runs/my_cnn
  ferlib train --resume --run-dir data/runs/my_cnn
  ferlib train --config data/runs/my_cnn/run.toml --seed 1 --run-dir data/runs/my_cnn_1
  ferlib train --model bovw --data fer2013.csv --emotions angry,happy,sad,neutral
  ferlib train --model compact_cnn --data AffectNet/ --label-order affectnet --split-folder 'val*=test'
  ferlib train --model compact_cnn --data my_photographs/ --detect --split-scheme 70/15/15
  ferlib train --model plain_cnn --model-option depth=4 --model-option pooling=average --data fer2013.zip
  ferlib train --model transfer --model-option backbone=ResNet50 --model-option weights=resnet50.weights.h5
  ferlib train --model ensemble --model-option members=data/runs/a,data/runs/b --run-dir data/runs/both
  ferlib train --model compact_cnn --teacher data/runs/both --distillation-weight 0.7 --augment rotation=20
  ferlib train --model compact_cnn --init-from data/runs/my_cnn --learning-rate 2e-4 --epochs 10

Each run folder has a run.toml: --config repeats its training. The val split, which is taken from train, chooses the
epoch and the calibration; test is only measured.
"""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of the command that are not in `TrainingOptions`."""

    model: str = option(help=f"model to train: {', '.join(list_models())}", metavar="NAME")
    data: str | None = option(
        None, help="zip, folder, CSV or Parquet (default: the dataset of ferlib download)", metavar="PATH"
    )
    run_dir: Path | None = option(None, help="run folder to write (default: data/runs/MODEL-TIME)", metavar="DIR")
    resume: bool = option(False, help="continue the training in --run-dir")
    overwrite: bool = option(False, help="replace the run in --run-dir")
    model_options: dict[str, Any] = option(dict, flag="--model-option", help="option of the model, such as depth=4")
    robustness: bool = option(False, help="also measure accuracy on shifted, scaled and rotated test images")
    tensorboard: bool = option(False, help="write TensorBoard logs")

    def __post_init__(self) -> None:
        """Check types, ranges and combinations."""
        check_options(self)
        if self.model not in list_models():
            raise OptionError(f"--model: expected one of {', '.join(list_models())}, got '{self.model}'.")
        if self.resume and self.overwrite:
            raise OptionError("--resume and --overwrite cannot be combined.")
        get_model(self.model).check_options(self.model_options)


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "train",
        (TrainOptions, ImageOptions, DataOptions, TrainingOptions),
        description="Train a model, measure it, and save it as a self-contained run folder.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train a model and print its accuracy on val and test; return the exit status."""
    parsed = _parse(list(sys.argv[1:] if argv is None else argv))
    options = parsed.build(TrainOptions)
    training = parsed.build(TrainingOptions, default_options(options.model))
    images, reading = parsed.build(ImageOptions), parsed.build(DataOptions).loading()
    run_dir = options.run_dir or default_data_dir() / "runs" / f"{options.model}-{time.strftime('%Y%m%d-%H%M%S')}"
    path = locate_data(options.data, allow_download=False)
    spec = get_model(options.model)
    # The members of an ensemble and a teacher may have another size.
    any_size = spec.kind == "ensemble" or training.teacher is not None
    dataset = load_for_training(path, spec, images, reading, seed=training.seed, any_size=any_size)
    dataset = limit_by_options(dataset, images)
    write_line(dataset.describe(), error=True)
    try:
        finished = train_model(
            options.model,
            dataset,
            run_dir,
            training,
            model_options=options.model_options,
            resume=options.resume,
            overwrite=options.overwrite,
            robustness=options.robustness,
            tensorboard=options.tensorboard,
            data=path,
        )
    except KeyboardInterrupt:
        again = ["python", "-m", "ferlib.train", "--resume", "--run-dir", str(run_dir)]
        write_line(f"\nto continue: {shlex.join(again)}", error=True)
        raise
    for split, metrics in finished.metrics.items():
        write_line(f"{split}: accuracy {metrics.accuracy:.2%}, macro-F1 {metrics.macro_f1:.2%} (n = {metrics.n:,})")
    write_line(f"wrote {run_dir}")
    return EXIT_OK


def _parse(argv: list[str]) -> ParsedOptions:
    """Parse the command line; with --resume, options that are not given are those of the run."""
    parser = build_parser()
    parsed = parser.parse(argv)
    if not parsed.given.get("resume"):
        return parsed
    run_dir = parsed.given.get("run_dir")
    if run_dir is None:
        raise OptionError("--resume needs --run-dir.")
    if not (run_dir / RUN_OPTIONS).exists():
        raise ArtifactError(f"--resume: {run_dir} is not a run folder that can be continued: it has no {RUN_OPTIONS}.")
    return parser.parse(["--config", str(run_dir / RUN_OPTIONS), *argv])


if __name__ == "__main__":
    run(main)
