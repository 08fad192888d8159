"""Put a finished run in the place of the delivered model: ``python tools/release_model.py RUN --data fer2013.zip``.

The network's weights are rounded to 8 bits with a scale for every channel: ``model.onnx`` keeps them so, a quarter of
the size, and ``model.keras`` packs well. Both say the same. They are measured anew, with moved and turned images, and
nothing is replaced if the accuracy on val falls by more than 0.3 points.
"""

import argparse
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlib.core.console import run
from ferlib.core.errors import FerlibError
from ferlib.core.files import write_json
from ferlib.data import load_images, split_dataset
from ferlib.export.formats import int8_scale, write_int8_weights
from ferlib.export.onnx import save_network
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import (
    CONFIG,
    HISTORY,
    KERAS_MODEL,
    ONNX_MODEL,
    pretrained_run_dir,
    read_config,
    read_metrics,
)
from ferlib.training import record_metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Do it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the finished run")
    parser.add_argument("--data", required=True, help="the data that it was trained on")
    args = parser.parse_args(argv)
    config = read_config(args.run)
    dataset = split_dataset(load_images(args.data), **config["data"]["split"])
    if dataset.info.sha256 != config["data"]["sha256"]:
        raise FerlibError(f"{args.data} is not what {args.run} was trained on.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        folder.mkdir()
        for name in (CONFIG, HISTORY, f"{Path(HISTORY).stem}.csv"):
            shutil.copyfile(args.run / name, folder / name)
        _name_other_runs(folder)
        _write_small(args.run, folder, dataset.split("train").images[:64])
        metrics = record_metrics(folder, dataset, robustness=True)
        before = read_metrics(args.run)["val"]["accuracy"]
        after = metrics["val"].accuracy
        print(f"accuracy on val {before:.2%}, with 8 bits {after:.2%}; PublicTest {metrics['test'].accuracy:.2%}")
        if after < before - 0.003:
            print("nothing was replaced")
            return 1
        shutil.rmtree(pretrained_run_dir())
        shutil.copytree(folder, pretrained_run_dir())
    size = sum(path.stat().st_size for path in pretrained_run_dir().iterdir())
    print(f"wrote {pretrained_run_dir()} ({size / 1e6:.2f} MB)")
    return 0


def _name_other_runs(folder: Path) -> None:
    """Leave of other runs' paths their names: where they lay says nothing on another machine."""
    config = read_config(folder)
    for role in ("teacher", "init_from"):
        if config["training"].get(role):
            config["training"][role] = f"data/runs/{Path(config['training'][role]).name}"
    write_json(folder / CONFIG, config)


def _write_small(run: Path, folder: Path, images: np.ndarray) -> None:
    """Write a run's network with weights of 8 bits, alike in both formats."""
    model = load_keras_model(run)
    # Biases, means and variances are few, and need their digits.
    model.set_weights([_round(weight) if weight.size > 1000 else weight for weight in model.get_weights()])
    save_network(model, folder, images)
    write_int8_weights(folder, folder / ONNX_MODEL)
    plain = folder / f"plain_{KERAS_MODEL}"
    (folder / KERAS_MODEL).rename(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(folder / KERAS_MODEL, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), source.read(name), zipfile.ZIP_DEFLATED, 9)
    plain.unlink()


def _round(weight: np.ndarray) -> np.ndarray:
    """Return weights as multiples of a step, one for each channel of the last axis."""
    fraction, exponent = np.frexp(int8_scale(weight, -1))
    # Steps of few digits, rounded up, make numbers that end in zeros, which pack well.
    scale = np.ldexp(np.ceil(fraction * 16) / 16, exponent)
    return np.round(weight / scale) * scale


if __name__ == "__main__":
    run(main)
