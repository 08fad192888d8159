"""Make a run folder from a network of another program: ``ferlib import emotion.onnx --run-dir data/runs/theirs``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.options import OptionParser, check_options, option
from ferlib.evaluation.card import write_model_card
from ferlib.export.importing import Color, InputFormat, import_model, order_classes
from ferlib.runs.folder import Run

EXAMPLES = """examples:
  ferlib import emotion-ferplus-8.onnx --run-dir data/runs/ferplus --color gray --range 0,255
      --class-names neutral,happiness,surprise,sadness,anger,disgust,fear,contempt
  ferlib import emotion_model.h5 --run-dir data/runs/theirs --color gray --range=-1,1
      --class-names angry,disgust,fear,happy,sad,surprise,neutral
  ferlib import mobilenet.onnx --run-dir data/runs/mobile --color rgb --range 0,1 --image-size 224,224
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --class-names positive,negative

Class names are in the order of the network's output. Ask who trained the network for the range: a wrong one gives
wrong answers without an error. `ferlib evaluate --run DIR` shows whether the import is right.
"""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of the command."""

    model: tuple[Path, ...] = option(
        (), help="ONNX or Keras file (.onnx, .keras, .h5)", metavar="MODEL", positional=True
    )
    run_dir: Path = option(help="run folder to write", metavar="DIR")
    class_names: tuple[str, ...] = option(help="classes in the order of the output", metavar="A,B,...")
    color: Color = option(help="color of the input")
    range: tuple[float, ...] = option(
        help="values that black and white have in the input, such as 0,1",
        metavar="LOW,HIGH",
        minimum=-65536,
        maximum=65536,
    )
    image_size: tuple[int, ...] | None = option(
        None,
        help="size of the input in pixels",
        metavar="HEIGHT,WIDTH",
        minimum=8,
        maximum=2048,
        default_text="the file's",
    )
    mean: tuple[float, ...] = option(
        (0.0,),
        help="subtracted from the input after scaling to --range",
        metavar="X,...",
        minimum=-65536,
        maximum=65536,
    )
    std: tuple[float, ...] = option((1.0,), help="what the input is divided by after that", metavar="X,...", above=0)
    overwrite: bool = option(False, help="replace the run in --run-dir")

    def __post_init__(self) -> None:
        """Check the options."""
        check_options(self)
        if len(self.model) != 1:
            raise OptionError(f"MODEL: expected one file, got {len(self.model)}.")
        for flag, values, wanted in (("--range", self.range, (2,)), ("--image-size", self.image_size or (1, 1), (2,))):
            if len(values) not in wanted:
                raise OptionError(f"{flag}: expected two numbers, got {len(values)}.")
        if self.range[0] == self.range[1]:
            raise OptionError(f"--range: expected two different numbers, got {self.range[0]:g} twice.")
        channels = 1 if self.color == "gray" else 3
        for flag, values in (("--mean", self.mean), ("--std", self.std)):
            if len(values) not in (1, channels):
                raise OptionError(f"{flag}: expected one number or {channels}, got {len(values)}.")
        order_classes(self.class_names)


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "import",
        (ImportOptions,),
        description="Make a run folder from a network that another program trained.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the run folder; return the exit status."""
    options = build_parser().parse(argv).build(ImportOptions)
    target = Run(options.run_dir)
    if target.has_artifacts() and not options.overwrite:
        raise ArtifactError(f"{target.path} already contains a run; use --overwrite or another --run-dir.")
    height, width = options.image_size or (0, 0)
    expected = InputFormat(
        image_size=(height, width) if options.image_size else None,
        color=options.color,
        low=options.range[0],
        high=options.range[1],
        mean=options.mean,
        std=options.std,
    )
    target.remove()
    config = import_model(options.model[0], target, options.class_names, expected)
    target.write_card(write_model_card(config, {}, []))
    height, width = config.image_size
    color = "gray" if config.channels == 1 else "RGB"
    write_line(f"wrote {target.path}: {', '.join(config.class_names)}; {height} x {width} pixels, {color}")
    return EXIT_OK


if __name__ == "__main__":
    run(main)
