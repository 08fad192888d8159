"""Write a run's network in another format: ``ferlib export --format tflite model.tflite``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import OptionError
from ferlib.core.files import check_outputs
from ferlib.core.images import fit_to_model
from ferlib.core.options import OptionParser, check_options, option
from ferlib.data import load_images
from ferlib.data.locate import locate_data
from ferlib.export.formats import N_CALIBRATION, Format, export_run
from ferlib.export.quantize import Weights
from ferlib.runs.folder import CONFIG, ONNX_MODEL, PretrainedName, Run, check_one_model, pretrained_run_dir

EXAMPLES = """examples:
  ferlib export --format onnx --weights int8 --run data/runs/my_cnn small.onnx
  ferlib export --format onnx --weights int8 --run data/runs/my_cnn data/runs/my_cnn/model.onnx
  ferlib export --format onnx-int8 --data fer2013.zip fast.onnx
  ferlib export --format tflite --tta flip --calibrated model.tflite
  ferlib evaluate --model-file fast.onnx --data fer2013.zip
  ferlib export --format web public/

The input is float32 of shape (n, height, width, channels), 0 to 255; TensorFlow Lite takes one image at a time, and
tflite-int8 takes and gives int8. The output is the probability of each emotion. --weights int8 makes the file four
times as small and does not change the speed. onnx-int8 and tflite-int8 also compute in 8 bits, which is faster.

The format web is a folder with a page that recognizes emotions in the browser, for any static web server.
"""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of the command."""

    output: tuple[Path, ...] = option((), help="file to write, for web a new folder", metavar="FILE", positional=True)
    format: Literal[Format, "web"] = option(help="format of the file; int8 computes in 8 bits")
    weights: Weights = option("float32", help="for onnx: how the weights are stored")
    tta: Literal["none", "flip"] = option("none", help="test-time augmentation inside the file")
    calibrated: bool = option(False, help="put the run's calibration into the file")
    model: PretrainedName | None = option(None, help="pretrained model", default_text="default")
    run: Path | None = option(None, help="run folder to use instead of a pretrained model", metavar="DIR")
    data: str | None = option(None, help="for int8: the dataset that the run was trained on", metavar="PATH")

    def __post_init__(self) -> None:
        """Check types and combinations."""
        check_options(self)
        check_one_model(self.run, self.model)
        if len(self.output) != 1:
            raise OptionError(f"FILE: expected one file to write, got {len(self.output)}.")
        if self.weights != "float32" and self.format != "onnx":
            raise OptionError(f"--weights is for --format onnx, not {self.format}.")
        output = self.output[0]
        if self.format == "web":
            if self.tta != "none" or self.calibrated:
                raise OptionError("--tta and --calibrated: the page follows the run's configuration without them.")
            return
        suffix = ".tflite" if self.format.startswith("tflite") else ".onnx"
        if output.suffix != suffix:
            raise OptionError(f"FILE: expected a name that ends in {suffix} for {self.format}, got '{output}'.")
        if (self.tta != "none" or self.calibrated) and output.name == ONNX_MODEL and (output.parent / CONFIG).exists():
            raise OptionError(
                f"FILE: prediction with {output.parent} adds test-time augmentation and calibration itself; "
                "write a file with --tta or --calibrated elsewhere."
            )


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
    source = Run(options.run or pretrained_run_dir(options.model or "default"))
    if options.format == "web":
        from ferlib.web.page import write_page

        write_line(f"wrote {output} ({write_page(source, output) / 1e6:.2f} MB)")
        return EXIT_OK
    check_outputs([output], [])
    images = _load_training_images(source, options.data) if options.format.endswith("int8") else None
    export_run(
        source,
        output,
        options.format,
        weights=options.weights,
        tta=options.tta,
        calibrated=options.calibrated,
        images=images,
    )
    write_line(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")
    return EXIT_OK


def _load_training_images(source: Run, data: str | None) -> np.ndarray:
    """Return training images of the run's size and color, uint8 (n, H, W, C)."""
    path = locate_data(data, allow_download=False)
    config = source.config
    dataset = load_images(path, sample_size=4 * N_CALIBRATION, **config.data.reading() if config.data else {})
    train = dataset.split("train") if "train" in dataset.splits else dataset
    rows = np.random.default_rng(0).permutation(len(train))[:N_CALIBRATION]
    return fit_to_model(train.images[rows], image_size=config.image_size, channels=config.channels)


if __name__ == "__main__":
    run(main)
