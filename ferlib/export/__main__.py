"""Write a run's network in another format: ``ferlib export --format tflite model.tflite``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import OptionError
from ferlib.core.files import check_outputs
from ferlib.core.options import OptionParser, check_options, option
from ferlib.data import load_images
from ferlib.data.locate import locate_data
from ferlib.export.quantize import write_float16, write_int8, write_int8_weights
from ferlib.export.tflite import write_tflite
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import Run, pretrained_run_dir

EXAMPLES = """examples:
  ferlib export --format tflite model.tflite
  ferlib export --format float16 --run data/runs/my_cnn small.onnx
  ferlib export --format int8-weights --run data/runs/my_cnn smaller.onnx
  ferlib export --format int8 --data fer2013.zip fast.onnx

The input is float32 of shape (n, height, width, channels), 0 to 255; tflite takes one image at a time. The output is
the probabilities of one view. Test-time augmentation and calibration are not part of the file.
"""

Format = Literal["onnx", "float16", "int8-weights", "int8", "tflite"]

# Training images that calibrate the 8-bit activations.
_N_CALIBRATION = 512


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of the command."""

    output: tuple[Path, ...] = option((), help="file to write", metavar="FILE", positional=True)
    format: Format = option(help="format of the file")
    run: Path | None = option(None, help="run folder (default: the pretrained model)", metavar="DIR")
    data: str | None = option(None, help="for int8: the dataset that the run was trained on", metavar="PATH")

    def __post_init__(self) -> None:
        """Check types and combinations."""
        check_options(self)
        if len(self.output) != 1:
            raise OptionError(f"FILE: expected one file to write, got {len(self.output)}.")
        suffix = ".tflite" if self.format == "tflite" else ".onnx"
        if self.output[0].suffix != suffix:
            raise OptionError(f"FILE: expected a name that ends in {suffix} for {self.format}, got '{self.output[0]}'.")


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "export",
        (ExportOptions,),
        description="Write a run's network in another format, and check that it gives the same probabilities.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; return the exit status."""
    options = build_parser().parse(argv).build(ExportOptions)
    output = options.output[0]
    check_outputs([output], [])
    source = Run(options.run or pretrained_run_dir())
    if options.format == "tflite":
        write_tflite(source, output)
    elif options.format == "onnx":
        _write_onnx(source, output)
    elif options.format == "float16":
        write_float16(source, output)
    elif options.format == "int8-weights":
        write_int8_weights(source, output)
    else:
        path = locate_data(options.data, allow_download=False)
        dataset = load_images(path, sample_size=4 * _N_CALIBRATION)
        train = dataset.split("train") if "train" in dataset.splits else dataset
        rows = np.random.default_rng(0).permutation(len(train))[:_N_CALIBRATION]
        write_int8(source, output, train.images[rows])
    write_line(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")
    return EXIT_OK


def _write_onnx(source: Run, output: Path) -> None:
    """Export a run's Keras network to ONNX."""
    model = load_keras_model(source)
    from ferlib.export.agreement import random_images
    from ferlib.export.onnx import write_onnx

    images = random_images(8, model.input_shape[1:])
    write_onnx(model, output, images, np.asarray(model.predict_on_batch(images.astype(np.float32))))


if __name__ == "__main__":
    run(main)
