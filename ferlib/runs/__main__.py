"""Compare runs in a table: ``ferlib runs data/runs --output-csv runs.csv``."""

import io
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.files import write_text
from ferlib.core.options import OptionParser, check_options, option
from ferlib.runs.folder import CONFIG, Run
from ferlib.training import read_experiments, tabulate_runs

EXAMPLES = """examples:
  ferlib runs data/runs
  ferlib runs data/runs/compact_cnn --output-csv reports/experiments.csv

The CSV file keeps its other runs; a run with the same folder name is replaced.
"""

_SHOWN = ["model", "epochs", "s/epoch", "val accuracy", "test accuracy", "test macro_f1", "options"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunsOptions:
    """Options of the command."""

    folders: tuple[Path, ...] = option(
        (), positional=True, metavar="DIR", help="run folders, or folders that contain run folders"
    )
    output_csv: Path | None = option(None, metavar="FILE", help="add the runs to this table")

    def __post_init__(self) -> None:
        """Check that there is something to show."""
        check_options(self)
        if not self.folders and self.output_csv is None:
            raise OptionError("DIR or --output-csv is required.")


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "runs", (RunsOptions,), description="Compare the options, times and accuracies of runs.", examples=EXAMPLES
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of runs, and write it if requested; return the exit status."""
    options = build_parser().parse(argv).build(RunsOptions)
    table = tabulate_runs([found for folder in options.folders for found in _measured_runs(folder)])
    table.index.name = "run"
    if options.output_csv:
        table = _merge(read_experiments(options.output_csv), table)
    if table.empty:
        raise ArtifactError("There are no finished runs to show.")
    if options.output_csv and options.folders:
        text = io.StringIO()
        table.to_csv(text, lineterminator="\n", float_format="%.6g")
        write_text(options.output_csv, text.getvalue())
        logger.info("wrote %s", options.output_csv)
    sys.stdout.write(table[_SHOWN].to_string(float_format="{:.4g}".format, na_rep="-") + "\n")
    return EXIT_OK


def _measured_runs(folder: Path) -> list[Run]:
    """Return the finished and measured runs in a folder, or the folder's own run."""
    if not folder.is_dir():
        raise ArtifactError(f"There is no folder {folder}.")
    is_run = (folder / CONFIG).exists()
    runs = [Run(folder)] if is_run else [Run(path.parent) for path in sorted(folder.glob(f"*/{CONFIG}"))]
    if not runs:
        raise ArtifactError(f"{folder} is not a run folder and contains none.")
    return [found for found in runs if found.config.status == "finished" and found.metrics]


def _merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return both tables as one, sorted by model and accuracy; new runs replace old ones of the same name."""
    kept = old.drop(index=old.index.intersection(new.index))
    # An empty table would change the types of the columns.
    table = pd.concat([part for part in (kept, new) if not part.empty] or [new])
    return table if table.empty else table.sort_values(["model", "val accuracy"], ascending=[True, False])


if __name__ == "__main__":
    run(main)
