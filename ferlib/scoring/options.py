"""The options of ``ferlib score``."""

from dataclasses import dataclass
from typing import Any, Literal

from ferlib.core.errors import OptionError
from ferlib.core.images import MAX_PIXELS
from ferlib.core.options import option
from ferlib.inference.options import RecognitionOptions
from ferlib.inference.stream import DEFAULT_SMOOTHING
from ferlib.scoring.storage import split_options

#: What distributes the work.
Engine = Literal["local", "ray"]

# Files in a part unless an option says otherwise.
_IMAGES_PER_PART, _VIDEOS_PER_PART = 1000, 20


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(RecognitionOptions):
    """Options of ``ferlib score``."""

    inputs: tuple[str, ...] = option(
        (),
        help="folder, pattern, image, list (.txt, .csv, .tsv, .parquet), or an address of one of them such as s3://bucket/photos",
        metavar="INPUT",
        positional=True,
    )
    output: str = option(help="folder or address for the Parquet files", metavar="FOLDER")
    videos: bool = option(False, help="score videos, one row per video, instead of images")
    path_column: str | None = option(
        None, help="column of paths in a CSV or Parquet list", metavar="NAME", default_text="path, or file"
    )

    engine: Engine = option("local", help="local: processes on this machine; ray: a cluster", group="engine")
    workers: int | None = option(
        None,
        help="number of processes",
        default_text="one per core; with ray one per CPU of the cluster except one",
        minimum=1,
        maximum=100_000,
        group="engine",
    )
    address: str | None = option(
        None,
        help="address of a Ray cluster, or auto",
        default_text="RAY_ADDRESS, or a cluster of this machine alone",
        group="engine",
    )

    part_size: int | None = option(
        None,
        help="number of rows in each file, which is the unit of resuming and of the work of ray",
        default_text=f"{_IMAGES_PER_PART}; {_VIDEOS_PER_PART} videos",
        minimum=1,
        maximum=10_000_000,
        group="resuming",
    )
    update: bool = option(False, help="also score files that were added since the first call", group="resuming")
    retry_errors: bool = option(False, help="score the files again whose rows have an error", group="resuming")

    smoothing: float = option(
        DEFAULT_SMOOTHING,
        help="time constant of smoothing in seconds, 0 for none",
        minimum=0,
        maximum=3600,
        group="videos",
    )
    every: float = option(
        0.0, help="read one frame every so many seconds, 0 for all", minimum=0, metavar="SECONDS", group="videos"
    )
    reid: bool = option(
        False, help="people keep their track ID when they return; compares faces in memory", group="videos"
    )

    max_pixels: int = option(MAX_PIXELS, help="refuse images and videos with more pixels", minimum=1, group="limits")
    batch_size: int = option(64, help="number of small images processed together", minimum=1, group="limits")

    def __post_init__(self) -> None:
        """Check values and combinations."""
        super().__post_init__()
        if not self.inputs:
            raise OptionError("No input given; name a folder, a list or an address such as s3://bucket/photos.")
        # An empty path, as an unset variable of a shell gives, would be the current folder.
        if not all(self.inputs):
            raise OptionError("INPUT: expected a path or an address, got ''.")
        if not self.output:
            raise OptionError("--output: expected a folder or an address, got ''.")
        if self.address is not None and self.engine != "ray":
            raise OptionError("--address is that of a Ray cluster; it needs --engine ray.")
        given = {"--every": self.every, "--reid": self.reid}
        for flag, value in given.items():
            if value and not self.videos:
                raise OptionError(f"{flag} is for videos; it needs --videos.")
        split_options([*self.inputs, self.output])

    @property
    def rows_per_part(self) -> int:
        """Number of files in a part."""
        return self.part_size or (_VIDEOS_PER_PART if self.videos else _IMAGES_PER_PART)

    def scorer_arguments(self) -> dict[str, Any]:
        """Return the arguments of a `BatchScorer` or a `VideoScorer`."""
        arguments = {**self.recognizer_arguments(), "max_pixels": self.max_pixels}
        if self.videos:
            return {**arguments, "every": self.every, "smoothing": self.smoothing, "reid": self.reid}
        return {**arguments, "batch_size": self.batch_size}
