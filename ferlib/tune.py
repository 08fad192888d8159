"""Tune a model's settings: ``ferlib tune --model plain_cnn --data fer2013.zip``."""

import logging
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import FerlibError, OptionError
from ferlib.core.files import check_outputs
from ferlib.core.options import OptionParser, check_options, option
from ferlib.data.locate import default_data_dir, locate_data
from ferlib.data.options import DataOptions
from ferlib.evaluation.studies import Metric, parameters_of, rank_trials, summarize_confirmation, write_tuning
from ferlib.models import get_model, list_models
from ferlib.training import TrainingOptions, default_options
from ferlib.training.loading import ImageOptions, load_for_training
from ferlib.training.tuning.space_file import list_spaces, read_space

logger = logging.getLogger(__name__)

EXAMPLES = """examples:
  ferlib tune --model plain_cnn --data fer2013.zip --train-size 10000 --epochs 8
  ferlib tune --model bovw --data fer2013.zip --train-size 5000 --trials 20 --timeout 2h
  ferlib tune --model compact_cnn --space my_space.toml --metric macro_f1 --study-dir data/studies/mine
  ferlib tune --model plain_cnn --storage postgresql+psycopg://user@host/studies    # the same on every machine
  ferlib tune --study-dir data/studies/plain_cnn --show --output-csv trials.csv --output-figures figures

Options of a training that do not vary are given as for ferlib train. Each trial is a run folder. The same command
continues an interrupted study. The settings are chosen on val; trials do not get the test split.
"""

_UNITS = {"s": 1, "m": 60, "h": 3600}

_SHOWN_TRIALS = 10


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The options of the command that are not those of a training."""

    model: str | None = option(
        None, help=f"model to tune: {', '.join(name for name in list_models() if name != 'ensemble')}", metavar="NAME"
    )
    data: str | None = option(
        None, help="zip, folder, CSV or Parquet (default: the dataset of ferlib download)", metavar="PATH"
    )
    space: str | None = option(
        None,
        help=f"search space, a TOML file or one of {', '.join(list_spaces())} (default: the model's name)",
        metavar="FILE",
    )
    study_dir: Path | None = option(None, help="folder of the study (default: data/studies/MODEL)", metavar="DIR")
    storage: str | None = option(
        None, help="database that several machines share (default: a file in --study-dir)", metavar="URL"
    )
    metric: Metric = option("accuracy", help="what is maximized on val")
    trials: int = option(40, help="trials of the study, by all workers together", minimum=1)
    timeout: str | None = option(
        None, help="stop after this time, such as 90m or 3h; the same command continues", metavar="TIME"
    )
    prune: bool = option(True, help="stop trials that are worse than the median after a third of their epochs")
    model_options: dict[str, Any] = option(dict, flag="--model-option", help="option of the model, such as depth=4")
    confirm: int = option(
        3, help="train so many of the best settings again, in full; 0 for none", minimum=0, group="confirmation"
    )
    confirm_seeds: int = option(3, help="seeds of each of these settings", minimum=1, group="confirmation")
    confirm_epochs: int | None = option(
        None, help="epochs of these trainings (default: the model's)", minimum=1, group="confirmation"
    )
    overwrite: bool = option(False, help="remove the study in --study-dir and begin again")
    show: bool = option(False, help="train nothing, show the study in --study-dir", group="results")
    output_csv: Path | None = option(
        None, help="table of all trainings; other studies in it are kept", metavar="FILE", group="results"
    )
    output_figures: Path | None = option(None, help="folder for the figures", metavar="DIR", group="results")

    def __post_init__(self) -> None:
        """Check types, ranges and combinations."""
        check_options(self)
        if self.overwrite and self.show:
            raise OptionError("--overwrite and --show cannot be combined.")
        if self.model is None and not self.show:
            raise OptionError("--model is required.")
        if self.model is None and self.study_dir is None:
            raise OptionError("--show needs --study-dir or --model.")
        if self.model is not None:
            if self.model not in list_models():
                raise OptionError(f"--model: expected one of {', '.join(list_models())}, got '{self.model}'.")
            get_model(self.model).check_options(self.model_options)
            if self.space is None and not self.show and self.model not in list_spaces():
                raise OptionError(
                    f"--space is required for {self.model}; ferlib has spaces for {', '.join(list_spaces())}."
                )
        self.seconds()

    def seconds(self) -> float | None:
        """Return the timeout in seconds."""
        if self.timeout is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", self.timeout)
        if match is None or float(match[1]) == 0:
            raise OptionError(f"--timeout: expected a time such as 300s, 90m or 3h, got '{self.timeout}'.")
        return float(match[1]) * _UNITS[match[2]]

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.study_dir or default_data_dir() / "studies" / str(self.model)


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "tune",
        (TuneOptions, ImageOptions, DataOptions, TrainingOptions),
        description="Try settings of a model in a search space, and train the best of them again with several seeds.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study or show one; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parsed = build_parser().parse(arguments)
    options = parsed.build(TuneOptions)
    if os.name == "nt":
        raise FerlibError("ferlib tune needs Linux or macOS; on Windows, run it in WSL.")
    from ferlib.training.tuning.plan import TuningPlan
    from ferlib.training.tuning.storage import hide_password
    from ferlib.training.tuning.study import TuningStudy

    check_outputs([path for path in (options.output_csv,) if path], [])
    if options.show:
        _show(TuningStudy(options.folder, options.storage, create=False).table(), options)
        return EXIT_OK
    assert options.model is not None
    base = parsed.build(TrainingOptions, default_options(options.model))
    images, reading = parsed.build(ImageOptions), parsed.build(DataOptions).loading()
    plan = TuningPlan(
        model=options.model,
        space=read_space(options.space or options.model, options.model, base, options.model_options),
        training=base,
        model_options=options.model_options,
        metric=options.metric,
        trials=options.trials,
        prune=options.prune,
        train_size=images.train_size,
        confirm=options.confirm,
        confirm_seeds=options.confirm_seeds,
        confirm_epochs=options.confirm_epochs,
    )
    if plan.favors_high_rates:
        logger.warning(
            "with the cosine schedule, trials of %d epochs favor learning rates that may be too high for the %d epochs "
            "of a full training; the confirmation shows it",
            base.epochs,
            plan.full_epochs,
        )
    path = locate_data(options.data, allow_download=False)
    study = TuningStudy(options.folder, options.storage, overwrite=options.overwrite)
    dataset = load_for_training(
        path, get_model(options.model), images, reading, seed=base.seed, any_size=base.teacher is not None
    )
    write_line(dataset.describe(), error=True)
    words = [word for word in arguments if word != "--overwrite"]
    again = hide_password(shlex.join(["ferlib", "tune", *words]))
    try:
        complete = study.run(plan, dataset, timeout=options.seconds(), data=path)
    except KeyboardInterrupt:
        write_line(f"\nto continue: {again}", error=True)
        raise
    _show(study.table(), options)
    if not complete:
        write_line(f"to continue: {again}", error=True)
    write_line(f"wrote {options.folder}")
    return EXIT_OK


def _show(table: pd.DataFrame, options: TuneOptions) -> None:
    """Print a study's table, and write it and its figures if requested."""
    trials = rank_trials(table)
    counts = trials["state"].value_counts()
    metric = f"val {str(table['metric'].iloc[0]).replace('macro_f1', 'macro-F1')}" if len(table) else "val"
    columns = {"val_accuracy": "val accuracy", "val_macro_f1": "val macro-F1"}
    shown = trials[["trial", "state", *columns, "epochs", "seconds", "note", *parameters_of(trials)]]
    shown = shown.rename(columns=columns).head(_SHOWN_TRIALS)
    if trials.empty:
        write_line("no trial has started")
    else:
        write_line(shown.to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
        write_line(f"{len(trials)} trials: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    confirmed = summarize_confirmation(table)
    if len(confirmed):
        write_line(f"\nconfirmation, mean {metric} over the seeds with 95 % intervals:")
        write_line(confirmed.to_string(index=False, float_format="{:.4f}".format, na_rep="-"))
    if options.output_csv:
        write_tuning(options.output_csv, table)
        logger.info("wrote %s", options.output_csv)
    if options.output_figures:
        _draw(table, options.output_figures)


def _draw(table: pd.DataFrame, folder: Path) -> None:
    """Write the figures of a study."""
    import matplotlib as mpl

    mpl.use("Agg")
    from ferlib import plots
    from ferlib.training.tuning.importance import measure_importance

    for name, figure in plots.plot_study(table, measure_importance(table)).items():
        logger.info("wrote %s", plots.save_figure(figure, folder, name))


if __name__ == "__main__":
    run(main)
