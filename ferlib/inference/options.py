"""The options of ``ferlib predict``."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferlib.core.crops import DEFAULT_CROP
from ferlib.core.errors import FerlibError, OptionError
from ferlib.core.images import MAX_PIXELS
from ferlib.core.options import check_options, option
from ferlib.faces import MIN_CONFIDENCE, MIN_FACE_SIZE, check_detector
from ferlib.inference.inputs import STANDARD_INPUT
from ferlib.inference.recognizer import DEFAULT_PRIOR, Rotation
from ferlib.inference.stream import DEFAULT_SMOOTHING, VIDEO_FACE
from ferlib.runs.folder import PretrainedName, check_one_model
from ferlib.runs.prior import parse_prior
from ferlib.runs.records import TestTimeAugmentation
from ferlib.video import VIDEO_CODECS, hide_credentials


@dataclass(frozen=True, kw_only=True)
class RecognitionOptions:
    """Which model and which detector recognize emotions, and how: the options that several commands share."""

    model: PretrainedName | None = option(
        None, help="pretrained model; fast classifies more faces per second", default_text="default"
    )
    run: Path | None = option(None, help="run folder to use instead of a pretrained model", metavar="DIR")

    prior: str = option(
        DEFAULT_PRIOR,
        help="how frequent each emotion is: photographs, training (as in the training data), or a share per class",
        metavar="PRIOR",
    )

    detector: str = option(
        "mtcnn",
        help="face detector: mtcnn, haar, yunet (with --detector-model), none (the whole image is one face), "
        "or a class, package.module:Class",
        metavar="NAME",
        group="faces",
    )
    detector_model: Path | None = option(None, help="model file of the detector", group="faces")
    min_face_size: int | None = option(
        None,
        help="size of the smallest face in pixels",
        minimum=1,
        default_text=f"{MIN_FACE_SIZE}; in videos 1/{1 / VIDEO_FACE:.0f} of the shorter side",
        group="faces",
    )
    min_confidence: float = option(
        MIN_CONFIDENCE, help="smallest confidence of MTCNN", minimum=0, maximum=1, group="faces"
    )
    crop_margin: float | None = option(
        None,
        help="fraction of the square around a face that is added on each side",
        minimum=0,
        maximum=2,
        default_text=f"the model's own: {DEFAULT_CROP.margin:g} unless its faces were cut out otherwise",
        group="faces",
    )
    test_time_augmentation: TestTimeAugmentation | None = option(
        None,
        flag="--tta",
        help="views of a face that are averaged; flip: also its mirror image, at twice the time",
        default_text="the model's own",
        group="faces",
    )
    min_probability: float = option(
        0.0, help='below this probability the emotion is "uncertain"', minimum=0, maximum=1, group="faces"
    )

    rotate: Rotation = option(
        "none", help="auto: look for faces in images that are turned by 90, 180 or 270 degrees", group="faces"
    )

    def __post_init__(self) -> None:
        """Check values and combinations."""
        check_options(self)
        parse_prior(self.prior, "--prior")
        try:
            check_detector(self.detector, self.detector_model)
        except ValueError as error:
            raise OptionError(f"--detector: {error}.") from None
        check_one_model(self.run, self.model)

    def recognizer_arguments(self) -> dict[str, Any]:
        """Return the arguments of an `EmotionRecognizer` that loads the model itself."""
        return {
            "detector": self.detector,
            "detector_model": self.detector_model,
            "classifier": self.run,
            "model": self.model or "default",
            "prior": self.prior,
            "test_time_augmentation": self.test_time_augmentation,
            "crop_margin": self.crop_margin,
            "min_probability": self.min_probability,
            "rotate": self.rotate,
            "min_face_size": self.min_face_size,
            "min_confidence": self.min_confidence,
        }


@dataclass(frozen=True, kw_only=True)
class PredictOptions(RecognitionOptions):
    """Options of ``ferlib predict``."""

    inputs: tuple[Path, ...] = option(
        (), help="image, video, folder, pattern, or - for an image on standard input", metavar="INPUT", positional=True
    )
    webcam: str | None = option(None, help="camera: its number (0 is the first), device or address", metavar="N")

    smoothing: float = option(
        DEFAULT_SMOOTHING,
        help="time constant of smoothing in seconds, 0 for none",
        minimum=0,
        maximum=3600,
        group="videos and cameras",
    )
    start: float = option(
        0.0,
        help="begin so many seconds after the first frame",
        minimum=0,
        metavar="SECONDS",
        group="videos and cameras",
    )
    end: float | None = option(
        None, help="end so many seconds after the first frame", above=0, metavar="SECONDS", group="videos and cameras"
    )
    every: float = option(
        0.0,
        help="read one frame every so many seconds, 0 for all",
        minimum=0,
        metavar="SECONDS",
        group="videos and cameras",
    )
    reconnect: float = option(
        0.0,
        help="for so many seconds try again when the camera's stream breaks off",
        minimum=0,
        metavar="SECONDS",
        group="videos and cameras",
    )
    reid: bool = option(
        False, help="people keep their track ID when they return; compares faces in memory", group="videos and cameras"
    )
    show: bool | None = option(
        None, help="show the frames in a window", default_text="for a camera", group="videos and cameras"
    )

    output_image: Path | None = option(None, help="annotated image, or folder for several", group="outputs")
    output_dir: Path | None = option(
        None, help="folder for annotated images and videos", metavar="DIR", group="outputs"
    )
    output_video: Path | None = option(None, help="annotated copy of one video or the camera", group="outputs")
    output_csv: Path | None = option(None, help="CSV with one row per face, in a video per frame", group="outputs")
    output_json: Path | None = option(
        None, help="one record per image or frame; .json: a JSON list, .jsonl: JSON Lines", group="outputs"
    )
    output_counts: Path | None = option(None, help="CSV with the number of faces of each emotion", group="outputs")
    output_timeline: Path | None = option(None, help="PNG figure of a video's emotions over time", group="outputs")
    empty_rows: bool = option(
        False, help="--output-csv: also a row for each image or frame without a face", group="outputs"
    )
    spreadsheet: bool = option(
        False, help="CSV files for spreadsheets: UTF-8 with a byte-order mark, no text is a formula", group="outputs"
    )
    resume: bool = option(False, help="skip files that --output-json already has", group="outputs")

    max_pixels: int = option(MAX_PIXELS, help="refuse images and videos with more pixels", minimum=1, group="limits")
    batch_size: int = option(64, help="number of small images processed together", minimum=1, group="limits")
    threads: int | None = option(None, help="number of threads", default_text="all cores", minimum=1, group="limits")
    workers: int = option(
        1, help="number of processes for many images; they share the threads", minimum=1, maximum=1024, group="limits"
    )

    def __post_init__(self) -> None:
        """Check values and combinations."""
        super().__post_init__()
        if not self.inputs and self.webcam is None:
            raise OptionError("No input given; name an image, a video or a folder, or a camera with --webcam.")
        for path in self.inputs:
            if re.match(r"\w\w+:/", str(path)) and not path.exists():
                raise OptionError(
                    f"{hide_credentials(path)} is an address; read streams with --webcam, download files."
                )
        if self.end is not None and self.end <= self.start:
            raise OptionError(f"--end: expected more than --start ({self.start:g}), got {self.end:g}.")
        if self.resume and self.output_json is None:
            raise OptionError("--resume needs --output-json, which holds the results so far.")
        if self.workers > 1 and STANDARD_INPUT in self.inputs:
            raise OptionError("--workers reads files; it cannot be combined with - for standard input.")
        if self.output_image and self.output_dir:
            raise OptionError("--output-image and --output-dir cannot be combined.")
        if self.output_video and self.output_video.suffix.lower() not in VIDEO_CODECS:
            formats = ", ".join(sorted(VIDEO_CODECS))
            raise OptionError(f"--output-video: expected a file that ends in {formats}, got '{self.output_video}'.")
        if self.output_timeline and self.output_timeline.suffix.lower() != ".png":
            raise OptionError(f"--output-timeline: expected a file that ends in .png, got '{self.output_timeline}'.")
        if self.output_timeline and importlib.util.find_spec("matplotlib") is None:
            raise FerlibError('--output-timeline needs Matplotlib: pip install "ferlib[train]".')
