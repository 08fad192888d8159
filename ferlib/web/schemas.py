"""What the API returns, as OpenAPI describes it.

The records are those of ``--output-json``, which `ferlib.inference.results.image_record` makes;
``tests/web/test_schema.py`` compares the two.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Comes with each result.
NOTICE = (
    "The emotion is what the face appears to express to an observer, not what the person feels. "
    "Not for judging people; see the limits and intended use in the README."
)


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FaceRecord(_Schema):
    """A face."""

    track_id: int | None = Field(default=None, description="track in a video or stream, from 1; absent for an image")
    box: tuple[int, int, int, int] = Field(description="x, y, width, height in pixels, origin top left")
    confidence: float = Field(description="the detector's score", ge=0, le=1)
    landmarks: dict[str, tuple[float, float]] | None = Field(description="x, y in pixels by name; left as seen")
    emotion: str
    probability: float = Field(description="probability of the emotion", ge=0, le=1)
    probabilities: dict[str, float] = Field(description="probability of each emotion; they sum to 1")


class ImageRecord(_Schema):
    """The faces of an image, from left to right."""

    file: str = Field(description="the name that came with the image")
    width: int
    height: int
    prior: str | None = Field(description="class prior of the probabilities")
    faces: list[FaceRecord]
    detector: str
    model: str


class Faces(ImageRecord):
    """The answer of ``POST /v1/faces``."""

    version: str = Field(description="version of ferlib")
    notice: str


class FailureRecord(_Schema):
    """An image that could not be processed."""

    file: str
    error: str


class Batch(_Schema):
    """The answer of ``POST /v1/batches``."""

    results: list[ImageRecord | FailureRecord] = Field(description="in the order of the images")
    version: str
    notice: str


class TrackRecord(_Schema):
    """A person in a video."""

    track_id: int
    first: float = Field(description="seconds")
    last: float = Field(description="seconds")
    frames: int
    probabilities: dict[str, float] = Field(description="mean probability of each emotion")


class Job(_Schema):
    """A video job."""

    id: str
    state: str = Field(description="queued, running, done, failed or cancelled")
    created: str = Field(description="date and time")
    frames_done: int
    frames_total: int | None = Field(description="as the file states it")
    seconds: float | None = Field(default=None, description="duration of the video, when done")
    tracks: list[TrackRecord] | None = Field(default=None, description="when done")
    error: str | None = None
    links: dict[str, str]
    version: str
    notice: str


class Model(_Schema):
    """A model that is in use."""

    name: str
    emotions: list[str]
    image_size: tuple[int, int] = Field(description="height, width in pixels")
    channels: int
    calibrated: bool
    detectors: list[str]


class Models(_Schema):
    """The answer of ``GET /v1/models``."""

    models: list[Model]
    limits: dict[str, float]
    version: str
    notice: str


class Health(_Schema):
    """The answer of the health checks."""

    status: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route for OpenAPI: problem documents for some statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": "A problem document.", "content": content} for status in statuses}
