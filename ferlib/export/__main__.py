"""Write a run's network in another format: ``python -m ferlib.export --format tflite model.tflite``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlib.core.console import EXIT_OK, run
from ferlib.core.errors import FerlibError
from ferlib.core.files import check_outputs
from ferlib.data import load_images
from ferlib.data.locate import locate_data
from ferlib.export.formats import write_float16, write_int8, write_int8_weights, write_tflite
from ferlib.runs.folder import pretrained_run_dir

EXAMPLES = """examples:
  python -m ferlib.export --format tflite model.tflite
  python -m ferlib.export --format float16 --run data/runs/my_cnn small.onnx
  python -m ferlib.export --format int8-weights --run data/runs/my_cnn smaller.onnx
  python -m ferlib.export --format int8 --data fer2013.zip quick.onnx

A file takes float32 images (n, height, width, channels) of 0 to 255 and gives the probabilities of one view;
averaging over mirror images and calibration are done by ferlib.predict. tflite takes one image at a time.
"""

_SUFFIXES = {"tflite": ".tflite", "float16": ".onnx", "int8-weights": ".onnx", "int8": ".onnx"}

# Training images that the scales of 8-bit layers are chosen by.
_N_CALIBRATION = 512


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m ferlib.export",
        description="Write a trained network in another format, and make sure that it says the same.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", metavar="FILE", type=Path, help="what to write")
    parser.add_argument("--format", choices=sorted(_SUFFIXES), required=True, help="in which format")
    parser.add_argument("--run", metavar="DIR", type=Path, help="run folder (default: the delivered model)")
    parser.add_argument("--data", metavar="PATH", help="for int8: the images that it was trained on")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; return the exit status."""
    args = build_parser().parse_args(argv)
    suffix = _SUFFIXES[args.format]
    if args.output.suffix != suffix:
        raise FerlibError(f"{args.output}: {args.format} is written to a file that ends in {suffix}.")
    check_outputs([args.output], [])
    run_dir = args.run or pretrained_run_dir()
    if args.format == "tflite":
        write_tflite(run_dir, args.output)
    elif args.format == "float16":
        write_float16(run_dir, args.output)
    elif args.format == "int8-weights":
        write_int8_weights(run_dir, args.output)
    else:
        dataset = load_images(locate_data(args.data, allow_download=False), sample_size=4 * _N_CALIBRATION)
        train = dataset.split("train") if "train" in dataset.splits else dataset
        chosen = np.random.default_rng(0).permutation(len(train))[:_N_CALIBRATION]
        write_int8(run_dir, args.output, train.images[chosen])
    sys.stdout.write(f"wrote {args.output} ({args.output.stat().st_size / 1e6:.2f} MB)\n")
    return EXIT_OK


if __name__ == "__main__":
    run(main)
