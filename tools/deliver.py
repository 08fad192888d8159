"""Put a finished run in the place of the delivered model: ``python tools/deliver.py RUN --data fer2013.zip``.

The network's weights are rounded to 16 bits, of which its files then need half the space: ``model.onnx`` keeps them
so, ``model.keras`` is packed. They are measured anew, with moved and turned pictures, and nothing is replaced if the
accuracy on val falls by more than 0.1 points.
"""

import argparse
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlib.artifacts import (
    CONFIG,
    HISTORY,
    KERAS_MODEL,
    ONNX_MODEL,
    delivered_run_dir,
    load_keras_model,
    read_config,
    read_metrics,
)
from ferlib.commands import run
from ferlib.datasets import load_images, split_dataset
from ferlib.errors import FerlibError
from ferlib.files import write_json
from ferlib.formats import write_float16
from ferlib.training import record_metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the finished run")
    parser.add_argument("--data", required=True, help="the data that it was trained on")
    args = parser.parse_args(argv)
    config = read_config(args.run)
    dataset = split_dataset(load_images(args.data), **config["data"]["split"])
    if dataset.info["sha256"] != config["data"]["sha256"]:
        raise FerlibError(f"{args.data} is not what {args.run} was trained on.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        folder.mkdir()
        for name in (CONFIG, HISTORY, f"{Path(HISTORY).stem}.csv"):
            shutil.copyfile(args.run / name, folder / name)
        _name_teacher(folder)
        _write_small(args.run, folder)
        metrics = record_metrics(folder, dataset, robustness=True)
        before = read_metrics(args.run)["val"]["accuracy"]
        after = metrics["val"]["accuracy"]
        print(f"accuracy on val {before:.2%}, with 16 bits {after:.2%}; PublicTest {metrics['test']['accuracy']:.2%}")
        if after < before - 0.001:
            print("nothing was replaced")
            return 1
        shutil.rmtree(delivered_run_dir())
        shutil.copytree(folder, delivered_run_dir())
    size = sum(path.stat().st_size for path in delivered_run_dir().iterdir())
    print(f"wrote {delivered_run_dir()} ({size / 1e6:.2f} MB)")
    return 0


def _name_teacher(folder: Path) -> None:
    """Leave of the teacher's path its name: where it lay says nothing on another machine."""
    config = read_config(folder)
    if config["training"].get("teacher"):
        config["training"]["teacher"] = f"data/runs/{Path(config['training']['teacher']).name}"
        write_json(folder / CONFIG, config)


def _write_small(run: Path, folder: Path) -> None:
    """Write a run's network with weights of 16 bits."""
    write_float16(run, folder / ONNX_MODEL)
    model = load_keras_model(run)
    # Means and variances of normalisation are few, and may be too small for 16 bits.
    model.set_weights(
        [
            weight.astype(np.float16).astype(weight.dtype) if weight.size > 1000 else weight
            for weight in model.get_weights()
        ]
    )
    plain = folder / f"plain_{KERAS_MODEL}"
    model.save(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(folder / KERAS_MODEL, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), source.read(name), zipfile.ZIP_DEFLATED, 9)
    plain.unlink()


if __name__ == "__main__":
    run(main)
