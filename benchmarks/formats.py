"""Accuracy, size and speed of a run in every format: ``python benchmarks/formats.py RUN --data fer2013.zip``.

Speeds are those of one thread, from the time that the processor spends on it, so that other programs matter little.
They are measured in turns in one run, so that their ratios hold on other machines of the same kind.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ferlib.core.images import fit_to_model
from ferlib.export.agreement import random_images
from ferlib.export.formats import N_CALIBRATION, export_run
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.data import load_run_data
from ferlib.runs.folder import ASSETS, Run
from ferlib.runs.model_file import ModelFile

#: Name of each row: file, and the options of `export_run`. The first is what the others are compared with.
FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "ONNX": ("float.onnx", {"format_name": "onnx"}),
    "ONNX, not folded": ("unfolded.onnx", {}),
    "ONNX, float16 weights": ("float16.onnx", {"format_name": "onnx", "weights": "float16"}),
    "ONNX, int8 weights": ("int8_weights.onnx", {"format_name": "onnx", "weights": "int8"}),
    "ONNX, int8 arithmetic": ("int8.onnx", {"format_name": "onnx-int8"}),
    "ONNX, mirror image and calibration inside": (
        "complete.onnx",
        {"format_name": "onnx", "tta": "flip", "calibrated": True},
    ),
    "TensorFlow Lite": ("float.tflite", {"format_name": "tflite"}),
    "TensorFlow Lite, int8 only": ("int8.tflite", {"format_name": "tflite-int8"}),
}


def main() -> None:
    """Measure, print a table and append it to a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder of a network")
    parser.add_argument("--data", required=True, type=Path, help="the dataset that it was trained on")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each speed (default: 15)")
    parser.add_argument("--output-csv", type=Path, help="file whose rows of the same run are replaced")
    args = parser.parse_args()
    run = Run(args.run)
    config = run.config
    splits = {name: load_run_data(args.data, config, name).split(name) for name in ("train", "val", "test")}
    fit = partial(fit_to_model, image_size=config.image_size, channels=config.channels)
    rows = np.random.default_rng(0).permutation(len(splits["train"]))[:N_CALIBRATION]
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(run, Path(folder), fit(splits["train"].images[rows]))
        table = measure_accuracy(run, files, {name: splits[name] for name in ("val", "test")})
        images = fit(splits["val"].images[:64])
        models = {name: ModelFile(path, run, n_threads=1) for name, path in files.items()}
        for column, batch, rounds in (("batch", images, args.rounds), ("single", images[:1], 8 * args.rounds)):
            seconds = measure_in_turns({name: partial(m.predict_proba, batch) for name, m in models.items()}, rounds)
            table[f"{column}_faces_per_second"] = len(batch) / seconds
            table[f"{column}_speed"] = seconds["ONNX"] / seconds
        loads = {name: partial(ModelFile, path, run, n_threads=1) for name, path in files.items()}
        table["load_ms"] = 1000 * measure_in_turns(loads, 5)
    print(table.to_string(float_format="{:.4g}".format))
    if args.output_csv:
        folder = "ferlib/assets" if run.path.resolve().parent == ASSETS else "data/runs"
        command = f"python benchmarks/formats.py {folder}/{run.name} --data {args.data.name} --rounds {args.rounds}"
        write_rows(args.output_csv, table.assign(run=run.name, model=config.model, command=command))


def write_all(run: Run, folder: Path, images: np.ndarray) -> dict[str, Path]:
    """Write a run in every format; return the files by the name of the format."""
    from ferlib.export.onnx import write_onnx

    files = {}
    for name, (file, options) in FORMATS.items():
        files[name] = folder / file
        if options:
            export_run(run, files[name], images=images, **options)
        else:
            model = load_keras_model(run)
            noise = random_images(8, model.input_shape[1:])
            write_onnx(model, files[name], noise, model.predict_on_batch(noise.astype(np.float32)), fold=False)
    return files


def measure_accuracy(run: Run, files: dict[str, Path], splits: dict) -> pd.DataFrame:
    """Return sizes, accuracies and the largest and mean difference of a probability from ONNX, by format."""
    rows, expected = {}, None
    for name, path in files.items():
        model = ModelFile(path, run)
        probabilities = {split: model.predict_proba(part.images) for split, part in splits.items()}
        row = {"megabytes": path.stat().st_size / 1e6}
        for split, part in splits.items():
            row[f"{split}_accuracy"] = (probabilities[split].argmax(axis=1) == part.labels).mean()
        if expected is None:
            expected = probabilities["test"]
        difference = np.abs(probabilities["test"] - expected)
        if FORMATS[name][1].get("calibrated"):
            # Its probabilities are meant to differ.
            difference = np.full(1, np.nan)
        row |= {"largest_difference": difference.max(), "mean_difference": difference.mean()}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("format")


def measure_in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> pd.Series:
    """Return the median seconds of the processor that each call takes, measured in turns after one call each."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.process_time()
            call()
            seconds[name].append(time.process_time() - started)
    return pd.Series({name: float(np.median(values)) for name, values in seconds.items()})


def write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a run's rows, and keep those of other runs."""
    table = table.reset_index()
    table.insert(0, "id", [f"{run}: {name}" for run, name in zip(table["run"], table["format"], strict=True)])
    if path.exists():
        earlier = pd.read_csv(path)
        table = pd.concat([earlier[~earlier["run"].isin(table["run"])], table])
    table.to_csv(path, index=False, float_format="%.5g", lineterminator="\n")


if __name__ == "__main__":
    main()
