"""Train a model on a data set: ``python -m ferlib.train --model compact_cnn --data fer2013.zip``."""

import argparse
import contextlib
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ferlib.core.console import EXIT_OK, run
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.data import ImageDataset, load_images, split_dataset
from ferlib.data.locate import default_data_dir, locate_data
from ferlib.models import get_model, list_models
from ferlib.preprocessing import STRATEGIES, Augmentation
from ferlib.runs.folder import read_config
from ferlib.training import TrainingOptions, record_metrics, train_model
from ferlib.training.options import ClassWeight, Optimizer, Precision, Schedule
from ferlib.training.recipes import default_options

EXAMPLES = """examples:
  python -m ferlib.train --model compact_cnn --data fer2013.zip --run-dir data/runs/my_cnn
  python -m ferlib.train --resume --run-dir data/runs/my_cnn --data fer2013.zip
  python -m ferlib.train --model bovw --data fer2013.csv --emotions angry,happy,sad,neutral
  python -m ferlib.train --model plain_cnn --model-option depth=4 --model-option pooling=average --data fer2013.zip
  python -m ferlib.train --model transfer --model-option backbone=ResNet50 --model-option weights=resnet50.weights.h5
  python -m ferlib.train --model ensemble --model-option members=data/runs/a,data/runs/b --run-dir data/runs/both
  python -m ferlib.train --model compact_cnn --teacher data/runs/both --distillation-weight 0.7 --augment rotation=20
  python -m ferlib.train --model compact_cnn --init-from data/runs/my_cnn --learning-rate 2e-4 --epochs 10

The model is chosen on the val split, which is cut from train; test is measured once, at the end.
"""

# Options of the command that go to TrainingOptions under their own name.
_TRAINING = tuple(field.name for field in dataclasses.fields(TrainingOptions) if field.name != "augmentation")


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.train",
        description="Train a model into a run folder that loads with no other knowledge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=list_models(), help="which model to train")
    parser.add_argument("--data", metavar="PATH", help="zip, folder or CSV (default: what ferlib.download made)")
    parser.add_argument("--run-dir", metavar="DIR", type=Path, help="folder to make (default: data/runs/MODEL-TIME)")
    parser.add_argument("--resume", action="store_true", help="continue the interrupted training in --run-dir")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in --run-dir")
    data = parser.add_argument_group("data")
    data.add_argument("--emotions", metavar="A,B,…", help="only these emotions (default: all seven)")
    data.add_argument("--split", help="official, 90/10 or 70/15/15 (default: official)")
    data.add_argument("--val-fraction", type=float, metavar="F", help="share of train that becomes val (default: 0.1)")
    data.add_argument("--sample-size", type=int, metavar="N", help="only so many images, drawn in proportion")
    training = parser.add_argument_group("training (default: the model's own)")
    training.add_argument("--epochs", type=int, metavar="N", help="passes over the training images, at most")
    training.add_argument("--batch-size", type=int, metavar="N", help="images in one step")
    training.add_argument("--optimizer", choices=get_args(Optimizer), help="what changes the weights")
    training.add_argument("--learning-rate", type=float, metavar="F", help="highest learning rate")
    training.add_argument("--schedule", choices=get_args(Schedule), help="how the learning rate falls")
    training.add_argument("--warmup-epochs", type=float, metavar="F", help="how long the learning rate rises at first")
    training.add_argument("--weight-decay", type=float, metavar="F", help="decoupled decay of the kernels")
    training.add_argument("--label-smoothing", type=float, metavar="F", help="share of a label given to all classes")
    training.add_argument("--mixup", type=float, metavar="F", help="blend images: parameter of the beta distribution")
    training.add_argument("--cutmix", type=float, metavar="F", help="paste rectangles: parameter of the distribution")
    training.add_argument("--ema", type=float, metavar="F", help="momentum of the moving average of the weights")
    training.add_argument("--patience", type=int, metavar="N", help="epochs without improvement before stopping")
    training.add_argument("--init-from", metavar="DIR", help="begin with the weights of this run (fine-tuning)")
    training.add_argument("--frozen-epochs", type=int, metavar="N", help="epochs that leave a backbone as it is")
    training.add_argument("--resample", choices=STRATEGIES, help="resampling of the training split")
    training.add_argument("--class-weight", choices=get_args(ClassWeight), help="weigh the loss by class")
    training.add_argument("--teacher", metavar="DIR", help="learn from this run's probabilities too (distillation)")
    training.add_argument(
        "--distillation-weight", type=float, metavar="F", help="share of the teacher in what is learned"
    )
    training.add_argument(
        "--distillation-temperature", type=float, metavar="F", help="above 1 the teacher sounds less sure"
    )
    training.add_argument("--votes", metavar="CSV", help="learn what raters voted (FER+) by a second output")
    training.add_argument("--aux-loss-weight", type=float, metavar="F", help="weight of that output's loss")
    training.add_argument(
        "--augment",
        action="append",
        default=[],
        metavar="K=V",
        help="how far images are changed: rotation=20, crop=0.8",
    )
    training.add_argument("--no-augmentation", action="store_true", help="train on the images as they are")
    training.add_argument("--precision", choices=get_args(Precision), help="arithmetic of training")
    training.add_argument("--seed", type=int, metavar="N", help="seeds everything that is random (default: 0)")
    parser.add_argument(
        "--model-option", action="append", default=[], metavar="K=V", help="option of the model's builder: depth=4"
    )
    parser.add_argument("--robustness", action="store_true", help="at the end also measure moved and turned images")
    parser.add_argument("--tensorboard", action="store_true", help="also write logs for TensorBoard")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure on val and test, and write the model card; return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.resume and not args.run_dir:
        parser.error("--resume needs --run-dir")
    if not args.resume and not args.model:
        parser.error("--model is needed (or --resume)")
    earlier = read_config(args.run_dir) if args.resume else {}
    model = args.model or earlier["model"]
    options = _training_options(args, model, earlier)
    # Another model's options would be refused before the other model is.
    recorded = earlier.get("model_options", {}) if model == earlier.get("model") else {}
    model_options = recorded | _parse_pairs(args.model_option, "--model-option")
    get_model(model).check_options(model_options)
    dataset = _load(args, earlier)
    sys.stderr.write(dataset.describe() + "\n")
    run_dir = args.run_dir or default_data_dir() / "runs" / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        train_model(
            model,
            dataset,
            run_dir,
            options,
            model_options=model_options,
            resume=args.resume,
            overwrite=args.overwrite,
            tensorboard=args.tensorboard,
        )
    except KeyboardInterrupt:
        again = ["python", "-m", "ferlib.train", "--resume", "--run-dir", str(run_dir)]
        sys.stderr.write(f"\nto continue: {shlex.join([*again, *(['--data', args.data] if args.data else [])])}\n")
        raise
    metrics = record_metrics(run_dir, dataset, robustness=args.robustness)
    for split, values in metrics.items():
        sys.stdout.write(
            f"{split}: accuracy {values['accuracy']:.2%}, macro-F1 {values['macro_f1']:.2%} (n = {values['n']:,})\n"
        )
    sys.stdout.write(f"wrote {run_dir}\n")
    return EXIT_OK


def _load(args: argparse.Namespace, earlier: dict[str, Any]) -> ImageDataset:
    """Return the data set, split; what the command does not say is taken from the run to resume."""
    data = earlier.get("data", {})
    split = data.get("split") or {}

    def choose(given: Any, recorded: Any, default: Any) -> Any:
        return next((value for value in (given, recorded) if value is not None), default)

    seed = choose(args.seed, split.get("seed"), 0)
    dataset = load_images(
        locate_data(args.data, allow_download=False),
        emotions=args.emotions or _subset(earlier),
        sample_size=choose(args.sample_size, data.get("sample_size"), None),
        seed=seed,
    )
    return split_dataset(
        dataset,
        choose(args.split, split.get("scheme"), "official"),
        val_fraction=choose(args.val_fraction, split.get("val_fraction"), 0.1),
        seed=seed,
    )


def _subset(earlier: dict[str, Any]) -> list[str] | None:
    """Return the emotions that the run to resume was limited to, None if it was not."""
    names = earlier.get("class_names")
    return None if names is None or tuple(names) == EMOTIONS else names


def _training_options(args: argparse.Namespace, model: str, earlier: dict[str, Any]) -> TrainingOptions:
    """Return the options: what the command says, else those of the run to resume, else the model's own."""
    options = TrainingOptions.from_config(earlier.get("training", {})) if earlier else default_options(model)
    given = {name: getattr(args, name) for name in _TRAINING if getattr(args, name) is not None}
    changes = _parse_pairs(args.augment, "--augment")
    if args.no_augmentation and changes:
        raise FerlibError("--augment and --no-augmentation exclude each other.")
    if args.no_augmentation:
        given["augmentation"] = None
    elif changes:
        try:
            given["augmentation"] = dataclasses.replace(options.augmentation or Augmentation(), **changes)
        except TypeError:
            known = ", ".join(field.name for field in dataclasses.fields(Augmentation))
            raise FerlibError(f"--augment takes {known} and numbers, got {' '.join(args.augment)}.") from None
    return dataclasses.replace(options, **given)


def _parse_pairs(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """Return what KEY=VALUE pairs say; a value is JSON, a list of it without brackets, or else a plain string."""
    parsed = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise FerlibError(f"{option} wants KEY=VALUE, got '{pair}'.")
        parsed[key] = value
        for text in (value, f"[{value}]" if "," in value else value):
            with contextlib.suppress(ValueError):
                parsed[key] = json.loads(text)
                break
    return parsed


if __name__ == "__main__":
    run(main)
