"""Collect runs into one table: ``python -m ferlib.runs.__main__ data/runs --csv reports/experiments.csv``."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import ArtifactError, FerlibError
from ferlib.core.files import write_text
from ferlib.runs.folder import CONFIG, read_config, read_metrics
from ferlib.training import read_experiments, tabulate_runs

EXAMPLES = """examples:
  python -m ferlib.runs.__main__ data/runs
  python -m ferlib.runs.__main__ data/runs/compact_cnn --csv reports/experiments.csv
  python -m ferlib.runs.__main__ --csv reports/experiments.csv --readme README.md

The CSV file keeps the runs that it knows already, by their folder's name; a run of the same name is renewed.
"""

# What stands around the table in a Markdown file.
BEGIN, END = "<!-- results: made by ferlib.runs.__main__ -->", "<!-- end of results -->"


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.runs.__main__",
        description="Collect what finished runs recorded: configuration, time, size, accuracy.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="DIR", help="run folders, or folders of run folders")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="add the runs to this table of experiments")
    parser.add_argument(
        "--readme",
        type=Path,
        metavar="FILE",
        help="renew the table of the best run of each model in this Markdown file",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of runs, and write it where it is wanted; return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.runs and not args.csv:
        parser.error("name run folders, a table (--csv), or both")
    table = tabulate_runs(_find(args.runs))
    table.index.name = "run"
    if args.csv:
        table = _merge(read_experiments(args.csv), table)
    if table.empty:
        raise ArtifactError("There is no finished run to show.")
    readme = _renew(args.readme, table) if args.readme else None
    if args.csv and args.runs:
        text = io.StringIO()
        table.to_csv(text, lineterminator="\n", float_format="%.6g")
        write_text(args.csv, text.getvalue())
        sys.stderr.write(f"wrote {args.csv}\n")
    if readme is not None:
        write_text(args.readme, readme)
        sys.stderr.write(f"wrote {args.readme}\n")
    columns = ["model", "epochs", "s/epoch", "val accuracy", "test accuracy", "test macro_f1", "options"]
    sys.stdout.write(table[columns].to_string(float_format="{:.4g}".format, na_rep="-") + "\n")
    return EXIT_OK


def tabulate_best(table: pd.DataFrame) -> str:
    """Return the best run of each model as a Markdown table, best on val first.

    Parameters
    ----------
    table : DataFrame
        As from `ferlib.training.tabulate_runs`, of runs on the same data.

    Returns
    -------
    str
        The run of each model is the one with the highest validation accuracy; what is shown beside it was measured on
        the test split, once.
    """
    measured = table.dropna(subset=["val accuracy", "test accuracy"])
    best = measured.loc[measured.groupby("model")["val accuracy"].idxmax()].sort_values("val accuracy", ascending=False)
    lines = [
        "| model | parameters | MB | epochs | s/epoch | minutes | views | val accuracy | test accuracy "
        "| test macro-F1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for _, row in best.iterrows():
        cells = [
            str(row["model"]),
            _number(row["parameters"], ",.0f"),
            _number(row["MB"], ".1f"),
            _number(row["epochs"], ".0f"),
            _number(row["s/epoch"], ".0f"),
            _number(row["seconds"] / 60, ".0f"),
            str(row["views"]),
            *(f"{row[name]:.1%}".replace("%", " %") for name in ("val accuracy", "test accuracy", "test macro_f1")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    """Return a number in a form, or a dash where there is none."""
    return "-" if pd.isna(value) else format(value, form)


def _find(paths: Sequence[Path]) -> list[Path]:
    """Return the finished runs among folders and in them."""
    runs = []
    for path in paths:
        if not path.is_dir():
            raise ArtifactError(f"There is no folder {path}.")
        candidates = (
            [path] if (path / CONFIG).exists() else [found.parent for found in sorted(path.glob(f"*/{CONFIG}"))]
        )
        if not candidates:
            raise ArtifactError(f"{path} is no run folder and holds none.")
        finished = [candidate for candidate in candidates if read_config(candidate).get("status") == "finished"]
        runs += [candidate for candidate in finished if read_metrics(candidate)]
    return runs


def _merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return both tables as one, sorted by model and accuracy; a run of the same name is the new one."""
    kept = old.drop(index=[name for name in new.index if name in old.index])
    # An empty table has no say about the columns' types.
    table = pd.concat([part for part in (kept, new) if not part.empty] or [new])
    return table if table.empty else table.sort_values(["model", "val accuracy"], ascending=[True, False])


def _renew(path: Path, table: pd.DataFrame) -> str:
    """Return a Markdown file's text with a new table between its marks."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FerlibError(f"{path} cannot be read ({error.strerror}).") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise FerlibError(f"{path} has no place for the table: it lacks the lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{tabulate_best(table)}\n\n{END}{after}"


if __name__ == "__main__":
    run(main)
