"""Write recorded numbers into README.md and docs/: ``python tools/update_docs.py [--check]``.

Two kinds of HTML comments, which rendered pages do not show, say where a number comes from:

* ``<!-- table: NAME -->`` and ``<!-- end of table -->`` enclose a table that the function ``tabulate_NAME`` makes.
* A comment right after a number names its record: ``69.3 %<!-- results.csv | bovw_fisher | accuracy -->``. For a CSV
  file these are the file, the value in the first column and the column; for a JSON file the file and a dotted path.

Files are those of reports/, and ``pretrained.json`` is the metrics file of the pretrained model. A number keeps its
decimals and its percent sign.

In the table of notebooks, each notebook that has an executed copy in reports/series gets a link to it.
"""

import argparse
import functools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.files import write_text
from ferlib.evaluation.studies import mean_interval, read_tuning, summarize_confirmation
from ferlib.runs.folder import PRETRAINED as PRETRAINED_NAMES
from ferlib.runs.folder import pretrained_run_dir

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_NOTEBOOK = re.compile(r"^\| (\[\w+\]\(notebooks/(\w+\.ipynb)\))(?: \(\[executed\][^|]*)? \|", re.MULTILINE)
NUMBER = re.compile(r"(?P<number>-?[\d,]*\d(?:\.\d+)?)(?P<unit> ?%)?<!-- (?P<record>[\w.]+\.(?:csv|json) \|[^>]+) -->")
_TABLE = re.compile(r"<!-- table: (?P<name>\w+) -->\n(?:(?!<!--).)*\n<!-- end of table -->", re.DOTALL)


#: How tables mark the run folders of pretrained models.
PRETRAINED_NOTES = {"default": " (pretrained)", "fast": " (pretrained, fast)"}


def main(argv: Sequence[str] | None = None) -> int:
    """Update the documents, or check that nothing is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a number is out of date")
    args = parser.parse_args(argv)
    outdated = 0
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        updated = update(text)
        if updated != text:
            outdated += 1
            print(f"{'out of date' if args.check else 'updated'}: {path.relative_to(ROOT)}")
            if not args.check:
                write_text(path, updated)
    return 1 if args.check and outdated else 0


def update(text: str) -> str:
    """Return a document with the recorded numbers in its marked tables and sentences, and links to executed copies."""

    def fill_table(match: re.Match[str]) -> str:
        table = globals()[f"tabulate_{match['name']}"]()
        return f"<!-- table: {match['name']} -->\n\n{table}\n\n<!-- end of table -->"

    def fill_number(match: re.Match[str]) -> str:
        decimals = len(match["number"].partition(".")[2])
        value = read_record(match["record"]) * (100 if match["unit"] else 1)
        return f"{value:,.{decimals}f}{match['unit'] or ''}<!-- {match['record']} -->"

    def link_executed(match: re.Match[str]) -> str:
        copy = f"reports/series/{match[2]}"
        return f"| {match[1]} ([executed]({copy})) |" if (ROOT / copy).exists() else f"| {match[1]} |"

    return _NOTEBOOK.sub(link_executed, NUMBER.sub(fill_number, _TABLE.sub(fill_table, text)))


def read_record(record: str) -> float:
    """Return the number that ``FILE | ROW | COLUMN`` or ``FILE | PATH`` names."""
    file, *keys = (part.strip() for part in record.split("|"))
    if file.endswith(".csv"):
        return float(read_table(file).loc[keys[0], keys[1]])
    value = _read_json(file)
    for key in keys[0].split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return float(value)


@functools.cache
def read_table(file: str) -> pd.DataFrame:
    """Return a CSV file of reports/ with its first column as the index."""
    return pd.read_csv(ROOT / "reports" / file, index_col=0)


@functools.cache
def _read_json(file: str) -> Any:
    return _read_path(pretrained_run_dir() / "metrics.json" if file == "pretrained.json" else ROOT / "reports" / file)


def _read_path(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def tabulate_summary() -> str:
    """Return README's table: some models with parameters, accuracies and macro-F1."""
    best = _best_runs()
    rows = [
        [
            f"`{name}`",
            "-" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}",
            *map(_percent, row[["val accuracy", "test accuracy", "test macro_f1"]]),
        ]
        for name, row in best.loc[["ensemble", "bovw_fisher", "plain_cnn"]].iterrows()
    ]
    rows[0][0] = "`ensemble` with `bovw_fisher`"
    for position, name in enumerate(PRETRAINED_NAMES, start=1):
        folder = pretrained_run_dir(name)
        config, metrics = (_read_path(folder / f"{file}.json") for file in ("config", "metrics"))
        test = metrics["test"]
        numbers = (metrics["val"]["accuracy"], test["accuracy"], test["macro_f1"])
        note = "pretrained" if name == "default" else f"pretrained, `--model {name}`"
        rows.insert(position, [f"`{config['model']}` ({note})", f"{config['parameters']:,}", *map(_percent, numbers)])
    return _markdown(["model", "parameters", "val accuracy", "PublicTest accuracy", "macro-F1"], rows)


def tabulate_models() -> str:
    """Return the best run of each model by validation accuracy."""
    rows = [
        [
            f"`{name}`",
            row["run"],
            *(
                "-" if pd.isna(value) else format(value, form)
                for value, form in (
                    (row["parameters"], ",.0f"),
                    (row["MB"], ".1f"),
                    (row["epochs"], ".0f"),
                    (row["seconds"] / 60, ".0f"),
                )
            ),
            row["views"],
            *map(_percent, row[["val accuracy", "test accuracy"]]),
            _interval(row["test low"], row["test high"]),
            _percent(row["test macro_f1"]),
        ]
        for name, row in _best_runs().iterrows()
    ]
    header = ["model", "run", "parameters", "MB", "epochs", "minutes", "test-time augmentation"]
    return _markdown([*header, "val accuracy", "PublicTest accuracy", "95 % interval", "macro-F1"], rows)


def tabulate_steps() -> str:
    """Return the runs of the plan for an accelerator, with both outputs' accuracies on everyday faces."""
    rows = [
        [
            f"`{name}`",
            row["step"],
            f"{row['epochs']:.0f}",
            *map(_percent, row[["val_accuracy", "test_accuracy", "everyday_label", "everyday_photographs"]]),
            _percent(row["everyday_balanced"]),
        ]
        for name, row in read_table("steps.csv").iterrows()
    ]
    header = ["run", "what is new", "epochs", "val", "PublicTest", "everyday, labels", "everyday, photographs"]
    return _markdown([*header, "balanced"], rows)


def tabulate_recipe() -> str:
    """Return the variants of the study `recipe`: means over the seeds, and paired gains with intervals."""
    table = read_table("recipe.csv").reset_index()
    by_variant = {name: rows.set_index("seed") for name, rows in table.groupby("variant", sort=False)}
    lines = []
    for name, rows in by_variant.items():
        base = by_variant.get(rows["change"].iloc[0])
        cells = [name, "" if base is None else rows["change"].iloc[0], f"{rows['epochs'].iloc[0]:.0f}", str(len(rows))]
        for measure in ("val_accuracy", "everyday_accuracy"):
            gain = "" if base is None else _gain((rows[measure] - base[measure]).dropna().to_numpy())
            cells += [_percent(rows[measure].mean()), gain]
        lines.append([*cells, _percent(rows["everyday_balanced_accuracy"].mean())])
    header = ["training with", "compared with", "epochs", "seeds", "val", "gain, points", "everyday", "gain, points"]
    return _markdown([*header, "balanced"], lines)


def tabulate_classes() -> str:
    """Return precision, recall and F1 of the pretrained model for each class on PublicTest."""
    rows = [
        [name, *(f"{100 * values[key]:.0f} %" for key in ("precision", "recall", "f1")), str(values["support"])]
        for name, values in _read_json("pretrained.json")["test"]["per_class"].items()
    ]
    return _markdown(["class", "precision", "recall", "F1", "images"], rows)


def tabulate_robustness() -> str:
    """Return the pretrained model's accuracy on transformed images."""
    measured = _read_json("pretrained.json")["test"]["robustness"]
    rows = [[name, _percent(value), f"{100 * (value - measured['original']):+.1f}"] for name, value in measured.items()]
    return _markdown(["PublicTest images", "accuracy", "difference (points)"], rows)


def tabulate_ablation() -> str:
    """Return the variants of the ablation with their accuracies."""
    from ferlib.training.ablation import tabulate_ablation as tabulate_variants

    rows = [
        [
            name[:2],
            row["baseline"],
            row["change"],
            _percent(row["val accuracy"]),
            "" if pd.isna(row["gain"]) else f"{row['gain']:+.1f}",
            _percent(row["test accuracy"]),
        ]
        for name, row in tabulate_variants(read_table("experiments.csv")).iterrows()
    ]
    header = ["variant", "baseline", "change", "val accuracy", "gain (points)", "PublicTest accuracy"]
    return _markdown(header, rows)


def tabulate_imbalance() -> str:
    """Return the means over three seeds of each strategy against class imbalance."""
    table = read_table("resampling.csv").reset_index()
    strategy = table.columns[1]
    columns = ["accuracy", "macro_f1", "recall", "precision"]
    means = table.groupby(["model", strategy], sort=False)[columns].mean()
    rows = [[f"`{model}`", f"`{name}`", *map(_percent, row)] for (model, name), row in means.iterrows()]
    header = ["model", "strategy", "accuracy", "macro-F1", "recall of disgust", "precision of disgust"]
    return _markdown(header, rows)


def tabulate_expw() -> str:
    """Return accuracies on ExpW's photographs by model, boxes and crop margin."""
    rows = []
    for _, row in read_table("expw.csv").iterrows():
        crops = "64 x 64 pixels" if "64 x 64" in row["command"] else "photograph"
        interval = "" if pd.isna(row["low"]) else _interval(row["low"], row["high"])
        margin = f"{row['crop_margin']:g}"
        rows.append([row["model"], row["boxes"], margin, crops, f"{row['n']:,}", _percent(row["accuracy"]), interval])
    header = ["model", "boxes", "crop margin", "crops from", "faces", "accuracy", "95 % interval"]
    return _markdown(header, rows)


def tabulate_photographs() -> str:
    """Return the pretrained model's metrics by data and class prior."""
    rows = []
    for data, prior, metrics in (
        ("everyday faces", "training", _read_json("everyday_training.json")),
        ("everyday faces", "photographs", _read_json("everyday_photographs.json")),
        ("FER2013 PublicTest", "training", _read_json("pretrained.json")["test"]),
        ("FER2013 PublicTest", "photographs", _read_json("fer2013_photographs.json")),
    ):
        accuracies = [_percent(metrics[name]) for name in ("accuracy", "balanced_accuracy")]
        interval = _interval(*metrics["intervals"]["accuracy"])
        rows.append([data, f"`{prior}`", f"{metrics['n']:,}", accuracies[0], interval, accuracies[1]])
        rows[-1].append(f"{metrics['ece']:.3f}")
    return _markdown(["data", "prior", "images", "accuracy", "95 % interval", "balanced accuracy", "ECE"], rows)


def tabulate_crops() -> str:
    """Return accuracies by the way to cut out faces, with the paired test against the default."""
    rows = []
    for name, row in read_table("crop.csv").iterrows():
        accuracies = [_percent(row[f"{data}_accuracy"]) for data in ("everyday", "expw")]
        balanced = _percent(row["everyday_balanced_accuracy"])
        test = ["", "", ""]
        if row["difference"] or row["p_value"] < 1:
            low, high = (100 * row[key] for key in ("low", "high"))
            test = [f"{100 * row['difference']:+.1f}", f"{low:+.1f} to {high:+.1f}", f"{row['p_value']:.3f}"]
        rows.append([name, accuracies[0], balanced, accuracies[1], *test])
    header = ["crop and margin", "everyday faces", "balanced", "ExpW", "both, points", "95 % interval", "McNemar p"]
    return _markdown(header, rows)


def tabulate_service() -> str:
    """Return the service's throughput and latency by the number of clients."""
    rows = [
        [
            clients,
            f"{row['per_second']:.1f}",
            *(f"{row[f'{name}_ms'] / 1000:.2f} s" for name in ("p50", "p95", "p99")),
            f"{100 * row['refused']:.0f} %",
        ]
        for clients, row in _read_json("service.json")["load"]["clients"].items()
    ]
    return _markdown(["clients", "images/s", "median latency", "95 %", "99 %", "refused"], rows)


def tabulate_scoring() -> str:
    """Return the speed of ``ferlib score`` compared with the bare recognizer, with one core."""
    rows = [
        [
            row["title"],
            *(f"{row[name]:,.1f}" for name in ("bare_per_second", "score_per_second")),
            f"{100 * row['ratio']:.0f} %",
            *(f"{row[f'{name}_processor_ms']:.1f}" for name in ("bare", "score")),
            f"{100 * row['processor_ratio']:.0f} %",
        ]
        for row in _read_json("scoring.json")["workloads"].values()
    ]
    header = ["images", "recognizer, images/s", "`ferlib score`, images/s", "ratio"]
    return _markdown([*header, "recognizer, ms of the processor", "`ferlib score`, ms", "ratio"], rows)


def tabulate_scoring_memory() -> str:
    """Return the memory of ``ferlib score`` by the number of images."""
    rows = [
        [f"{int(n):,}", *(f"{row[name]:.0f} MB" for name in ("main_mb", "worker_mb")), f"{row['resume_seconds']:.1f} s"]
        for n, row in _read_json("scoring.json")["memory"].items()
    ]
    return _markdown(["images", "main process", "largest worker", "second call, which finds nothing to do"], rows)


def tabulate_scoring_plan() -> str:
    """Return what a billion images take at the measured rates, on 100 nodes of 32 cores."""
    rows = []
    for row in _read_json("scoring.json")["workloads"].values():
        core_hours = 1e9 / row["per_core_second"] / 3600
        rows.append(
            [
                row["title"],
                f"{row['per_core_second']:,.0f}",
                f"{core_hours:,.0f}",
                f"{core_hours / 3200:,.1f}",
                f"{row['image_bytes'] / 1000:,.1f}",
                f"{row['row_bytes']:,}",
            ]
        )
    header = ["images", "images per core and second", "core-hours", "hours on 100 nodes of 32 cores", "TB to read"]
    return _markdown([*header, "GB of Parquet"], rows)


def tabulate_formats() -> str:
    """Return accuracy, size and speed of networks in every format."""
    rows = [
        [
            f"`{row['model']}`" + PRETRAINED_NOTES.get(row["run"], ""),
            row["format"],
            f"{row['megabytes']:.1f}",
            f"{100 * row['val_accuracy']:.2f} %",
            f"{100 * row['test_accuracy']:.2f} %",
            "-" if pd.isna(row["largest_difference"]) else f"{row['largest_difference']:.3f}",
            f"{row['batch_faces_per_second']:,.0f}",
            f"{row['batch_speed']:.2f}",
            f"{row['single_faces_per_second']:,.0f}",
            f"{row['single_speed']:.2f}",
        ]
        for _, row in read_table("formats.csv").iterrows()
    ]
    header = ["model", "format", "MB", "val accuracy", "PublicTest accuracy", "largest difference"]
    return _markdown([*header, "faces/s, 64 at a time", "ratio", "faces/s, one at a time", "ratio"], rows)


def tabulate_benchmarks() -> str:
    """Return speed and memory, compared with other packages where they were measured in the same run."""
    rows = [
        [
            row["measure"],
            f"{row['value']:g} {row['unit']}",
            ""
            if pd.isna(row["compared_value"])
            else f"{row['compared_value']:g} {row['unit']}: {row['compared_with']}",
            f"`{row['command']}`",
        ]
        for _, row in read_table("benchmarks.csv").iterrows()
    ]
    return _markdown(["measure", "ferlib", "compared with", "command"], rows)


def tabulate_detection() -> str:
    """Return the recall of each detector by condition."""
    table = read_table("detection.csv").drop(columns="faces")
    rows = [[condition, *map(_percent, row)] for condition, row in table.iterrows()]
    return _markdown(["condition", *(f"`{name}`" for name in table.columns)], rows)


def _best_runs() -> pd.DataFrame:
    """Return the run of each model with the highest validation accuracy, by model."""
    runs = read_table("experiments.csv").dropna(subset=["val accuracy", "test accuracy"])
    best = runs.loc[runs.groupby("model")["val accuracy"].idxmax()].sort_values("val accuracy", ascending=False)
    return best.rename_axis("run").reset_index().set_index("model")


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _gain(differences: np.ndarray) -> str:
    """Return the mean of paired differences in points, with the 95 % interval of a few seeds."""
    low, high = mean_interval(differences)
    mean = f"{100 * differences.mean():+.1f}"
    return mean if np.isnan(low) else f"{mean} ({100 * low:+.1f} to {100 * high:+.1f})"


def tabulate_tuning() -> str:
    """Return the confirmation of each recorded tuning study, or a sentence if there is none."""
    table = read_tuning(ROOT / "reports" / "tuning.csv")
    rows = []
    for study, trainings in table.groupby("study", sort=False):
        for row in summarize_confirmation(trainings).itertuples():
            settings = trainings[(trainings["stage"] == "trial") & (trainings["trial"] == row.Index)]
            metric = str(trainings["metric"].iloc[0])
            rows.append(
                [
                    f"`{study}`",
                    str(row.settings),
                    _percent(settings["value"].iloc[0]),
                    str(row.seeds),
                    f"{_percent(row.value)} ({100 * row.low:.1f} to {100 * row.high:.1f})",
                    "-"
                    if pd.isna(row.gain)
                    else f"{100 * row.gain:+.1f} ({100 * row.gain_low:+.1f} to {100 * row.gain_high:+.1f})",
                    _percent(row.test_accuracy),
                ]
            )
    if not rows:
        return "There is no recorded study yet."
    name = "accuracy" if metric == "accuracy" else "macro-F1"
    return _markdown(
        ["study", "settings", f"val {name} of the trial", "seeds", f"val {name}, full training", "gain, points",
         "PublicTest accuracy"],
        rows,
    )  # fmt: skip


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns of numbers are aligned to the right."""
    numeric = [all(re.fullmatch(r"[-+]?[\d,.]*(?: %)?", cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [header, ["---:" if right else "---" for right in numeric], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
