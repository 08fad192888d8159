"""Ship a finished run as a pretrained model: ``python tools/release_model.py RUN --data fer2013.zip --model fast``.

The network is folded for prediction (`ferlib.export.folding`), and its weights are rounded to 8 bits with a scale per
channel. ``model.onnx`` stores them as int8, at a quarter
of the size, and ``model.keras`` compresses well; both give the same probabilities. A small network may lose too much by
that: ``--bits 16`` stores its weights as float16. With ``--arithmetic int8``,
``model.onnx`` also computes in 8 bits, and its probabilities differ a little. The rounded model is measured, also on
shifted, scaled and rotated images. Nothing is written if its accuracy on val is more than 0.3 points lower, or if a
file is larger than 6 MB.
"""

import argparse
import dataclasses
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlib.core.console import run
from ferlib.core.errors import FerlibError
from ferlib.core.images import fit_to_model
from ferlib.data import load_images, split_dataset
from ferlib.export.folding import fold_network
from ferlib.export.formats import N_CALIBRATION
from ferlib.export.onnx import save_network
from ferlib.export.quantize import int8_scale, quantize_onnx
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import ASSETS, KERAS_MODEL, ONNX_MODEL, PRETRAINED, Run
from ferlib.runs.records import RunConfig
from ferlib.training import measure_run

#: Largest file of a pretrained model, in bytes, and the largest loss of accuracy on val.
MAX_FILE_SIZE, MAX_LOSS = 6_000_000, 0.003


def main(argv: Sequence[str] | None = None) -> int:
    """Release the model; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the finished run")
    parser.add_argument("--data", required=True, help="the dataset that it was trained on")
    parser.add_argument(
        "--arithmetic",
        choices=("float32", "int8"),
        default="float32",
        help="of model.onnx; int8 is twice as fast or more",
    )
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="per weight")
    parser.add_argument("--model", choices=PRETRAINED, default="default", help="which pretrained model to replace")
    args = parser.parse_args(argv)
    source = Run(args.run)
    config = source.config
    if config.data is None or config.data.split is None:
        raise FerlibError(f"{args.run} does not record its data and their split.")
    dataset = split_dataset(load_images(args.data), **dataclasses.asdict(config.data.split))
    if dataset.info.sha256 != config.data.sha256:
        raise FerlibError(f"{args.run} was not trained on {args.data}: the checksums differ.")
    with tempfile.TemporaryDirectory() as temporary:
        rounded = Run(Path(temporary) / "run")
        rounded.path.mkdir()
        config = _without_paths(config)
        rounded.write_config(config)
        rounded.write_history(source.history)
        images = dataset.split("train").images
        _write_rounded(source, rounded, images[:64], args.bits)
        if args.arithmetic == "int8":
            rows = np.random.default_rng(0).permutation(len(images))[:N_CALIBRATION]
            images = fit_to_model(images[rows], image_size=config.image_size, channels=config.channels)
            # With all outputs, which `ferlib export` does not write.
            plain = Path(temporary) / ONNX_MODEL
            (rounded.path / ONNX_MODEL).rename(plain)
            quantize_onnx(plain, rounded.path / ONNX_MODEL, images)
        metrics = measure_run(rounded, config, dataset, robustness=True)
        before, after = source.metrics["val"].accuracy, metrics["val"].accuracy
        print(
            f"accuracy on val {before:.2%}, with {args.bits} bits {after:.2%}; on test {metrics['test'].accuracy:.2%}"
        )
        if after < before - MAX_LOSS:
            print("nothing was written")
            return 1
        sizes = {path.name: path.stat().st_size for path in rounded.path.iterdir()}
        too_large = [f"{name} has {size / 1e6:.2f} MB" for name, size in sizes.items() if size > MAX_FILE_SIZE]
        if too_large:
            raise FerlibError(f"A file may have {MAX_FILE_SIZE / 1e6:g} MB, but {', '.join(too_large)}.")
        target = ASSETS / args.model
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(rounded.path, target)
    print(f"wrote {target} ({sum(sizes.values()) / 1e6:.2f} MB)")
    return 0


def _without_paths(config: RunConfig) -> RunConfig:
    """Return a configuration that names other runs without the folders of this machine."""
    training = dict(config.training)
    for role in ("teacher", "init_from"):
        if training.get(role):
            training[role] = f"data/runs/{Path(training[role]).name}"
    return dataclasses.replace(config, training=training)


def _write_rounded(source: Run, target: Run, images: np.ndarray, bits: int) -> None:
    """Write a run's network with weights of 8 or 16 bits as Keras and ONNX models."""
    # Branches that were rounded one by one would be rounded again when export folds them.
    model = fold_network(load_keras_model(source, all_outputs=True))
    # Biases and statistics of normalization are few and need full precision.
    round_weight = _round if bits == 8 else lambda weight: weight.astype(np.float16).astype(np.float32)
    model.set_weights([round_weight(weight) if weight.size > 1000 else weight for weight in model.get_weights()])
    save_network(model, target.path, images, weights="int8" if bits == 8 else "float16")
    compressed = target.path / f"compressed_{KERAS_MODEL}"
    with (
        zipfile.ZipFile(target.path / KERAS_MODEL) as plain,
        zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            packed.writestr(entry, plain.read(name), zipfile.ZIP_DEFLATED, 9)
    compressed.replace(target.path / KERAS_MODEL)


def _round(weight: np.ndarray) -> np.ndarray:
    """Return weights as multiples of a step size per channel of the last axis."""
    fraction, exponent = np.frexp(int8_scale(weight, -1))
    # Step sizes of few binary digits give weights that end in zeros, which compress well.
    scale = np.ldexp(np.ceil(fraction * 16) / 16, exponent)
    return np.round(weight / scale) * scale


if __name__ == "__main__":
    run(main)
