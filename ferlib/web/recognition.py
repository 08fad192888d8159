"""From the bytes of an image to its record, with the parameters of a request."""

import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ferlib.core.errors import FerlibError, ImageError, OptionError
from ferlib.core.images import decode_image
from ferlib.inference import EmotionRecognizer, ImageResult, annotate
from ferlib.inference.results import Record, image_record
from ferlib.runs.classifier import load_classifier
from ferlib.runs.prior import parse_prior
from ferlib.web.metrics import Metrics
from ferlib.web.options import ServeOptions
from ferlib.web.problems import ProblemError

#: Detectors that requests may name; plug-ins are not among them, because their names import code.
DetectorName = Literal["mtcnn", "haar", "none"]

#: Formats of annotated images by media type, with Pillow's name and its options.
_FORMATS: dict[str, tuple[str, dict[str, int]]] = {
    "image/png": ("PNG", {"compress_level": 1}),
    "image/jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}

# How many recognizers with different parameters are kept; they share their networks.
_MAX_RECOGNIZERS = 64


class Parameters(BaseModel):
    """Options of one request, in its query string; the defaults are those of ``ferlib predict``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: DetectorName = Field(default="mtcnn", description="none: the whole image is one face")
    min_face_size: int | None = Field(default=None, ge=1, le=10_000, description="smallest face in pixels")
    min_confidence: float | None = Field(default=None, ge=0, le=1, description="smallest confidence of MTCNN")
    prior: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^(photographs|training|[-+.,0-9eE]+)$",
        description="class prior: photographs, training, or a comma-separated share of each emotion",
    )
    min_probability: float = Field(default=0.0, ge=0, le=1, description='below it, the emotion is "uncertain"')

    @field_validator("prior")
    @classmethod
    def _check_prior(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_prior(value)
            except OptionError as error:
                raise ValueError(str(error).rstrip(".")) from None
        return value


#: The type of a route's argument.
ParametersQuery = Annotated[Parameters, Query()]


@dataclass(frozen=True)
class Recognized:
    """A record, and the annotated image if it was wanted."""

    record: Record
    image: bytes | None = None


class Recognition:
    """The loaded model with the limits of the service; several threads may use it."""

    def __init__(self, options: ServeOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        # With a thread per request, more threads per network would only compete for the cores.
        # Each recognizer chooses from it the answers that suit its prior.
        self.classifier = load_classifier(options.run, model=options.model or "default", n_threads=1)
        self._default = EmotionRecognizer(classifier=self.classifier, prior=options.prior, n_threads=1)
        self.recognizer = functools.lru_cache(_MAX_RECOGNIZERS)(self._make)

    def _make(self, parameters: Parameters, min_face_size: int | None = None) -> EmotionRecognizer:
        """Return a recognizer for the parameters of a request; `min_face_size` is used where they state none."""
        given = parameters.model_dump(exclude={"detector"}, exclude_none=True)
        if min_face_size is not None:
            given.setdefault("min_face_size", min_face_size)
        given.setdefault("prior", self._options.prior)
        try:
            return EmotionRecognizer(parameters.detector, self.classifier, n_threads=1, **given)
        except OptionError as error:
            raise ProblemError(422, f"query.{error}") from None

    def recognize(self, data: bytes, name: str, parameters: Parameters, media_type: str | None = None) -> Recognized:
        """Return the record of an encoded image, and an annotated copy if a media type is given.

        Raises
        ------
        ImageError
            The bytes are not an image, or it has more pixels or faces than allowed.
        """
        metrics, recognizer = self._metrics, self.recognizer(parameters)
        with metrics.stage("decode"):
            image = decode_image(data, name=name, max_pixels=self._options.max_pixels)
        with metrics.stage("detect"):
            faces = recognizer.detector.detect(image)
        if len(faces) > self._options.max_faces:
            raise ImageError(f"{name}: the image has {len(faces)} faces; the limit is {self._options.max_faces}.")
        with metrics.stage("classify"):
            rows = recognizer.predict_faces(image, faces)
            found = tuple(recognizer.describe(face, row) for face, row in zip(faces, rows, strict=True))
        self.count([item.emotion for item in found])
        height, width = image.shape[:2]
        result = ImageResult(Path(name), (height, width), found, prior=recognizer.prior.name)
        record = image_record(result, detector=parameters.detector, model=self.classifier.name)
        # A path would change names such as "a//b".
        record["file"] = name
        if media_type is None:
            return Recognized(record)
        with metrics.stage("annotate"):
            file = io.BytesIO()
            kind, settings = _FORMATS[media_type]
            try:
                Image.fromarray(annotate(image, found)).save(file, kind, **settings)
            except (OSError, ValueError) as error:
                raise ImageError(f"{name}: the image cannot be written as {kind} ({error}).") from None
        return Recognized(record, file.getvalue())

    def count(self, emotions: list[str]) -> None:
        """Count an image and its faces."""
        self._metrics.images.inc()
        for emotion in emotions:
            self._metrics.faces.labels(emotion).inc()

    def warm_up(self) -> None:
        """Predict once, so that the networks are loaded and known to work."""
        file = io.BytesIO()
        Image.new("RGB", (64, 64), "gray").save(file, "PNG")
        for parameters in (Parameters(), Parameters(detector="none")):
            self.recognizer(parameters).recognize(file.getvalue())


def to_problem(error: FerlibError) -> ProblemError:
    """Return the problem document of an image that cannot be processed."""
    return ProblemError(422, str(error), reason="image")


def choose_media_type(accept: str) -> str | None:
    """Return the media type of the answer that an ``Accept`` header prefers; None for JSON.

    Raises
    ------
    ProblemError
        It accepts none of JSON, PNG and JPEG (status 406).
    """
    best: tuple[float, int, str] | None = None
    offers = ("application/json", *_FORMATS)
    for item in (accept or "*/*").split(","):
        kind, *details = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for detail in details:
            if detail.startswith("q="):
                try:
                    quality = float(detail[2:])
                except ValueError:
                    quality = 0.0
        for rank, offer in enumerate(offers):
            if quality > 0 and kind in ("*/*", offer, offer.split("/")[0] + "/*"):
                best = max(best or (0.0, 0, ""), (quality, -rank, offer))
    if best is None:
        raise ProblemError(406, f"Accept: expected one of {', '.join(offers)}.", reason="media type")
    return None if best[2] == offers[0] else best[2]
