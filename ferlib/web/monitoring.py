"""Routes that describe the service: models, health and metrics."""

from typing import Any, get_args

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ferlib.web.images import SIGNATURE
from ferlib.web.problems import ProblemError
from ferlib.web.recognition import DetectorName
from ferlib.web.schemas import Health, Models, problem_responses

router = APIRouter(tags=["service"])

# Limits that a client can respect.
_LIMITS = (
    "max_image_mb",
    "max_pixels",
    "max_faces",
    "max_images",
    "max_batch_mb",
    "max_video_mb",
    "max_video_seconds",
    "max_video_pixels",
    "max_frame_mb",
    "request_seconds",
)


@router.get("/v1/models", response_model=Models, responses=problem_responses(401, 503))
async def list_models(request: Request) -> Response:
    """List the models in use, and the limits of the service."""
    state = request.app.state
    classifier = state.recognition.classifier
    model: dict[str, Any] = {
        "name": classifier.name,
        "emotions": list(classifier.class_names),
        "image_size": list(classifier.image_size),
        "channels": classifier.channels,
        "calibrated": classifier.config.calibration is not None,
        "detectors": list(get_args(DetectorName)),
    }
    limits = {name: getattr(state.options, name) for name in _LIMITS}
    return JSONResponse({"models": [model], "limits": limits, **SIGNATURE})


@router.get("/health/live", response_model=Health)
async def check_live() -> Response:
    """Tell whether the process answers."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready", response_model=Health, responses=problem_responses(503))
async def check_ready(request: Request) -> Response:
    """Tell whether the networks are loaded and have predicted once."""
    if not request.app.state.ready.is_set():
        raise ProblemError(503, "The networks are being loaded.", reason="starting", headers={"Retry-After": "1"})
    return JSONResponse({"status": "ready"})


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **problem_responses(401)}
)
async def report_metrics(request: Request) -> Response:
    """Report counters and histograms in Prometheus's text format."""
    return Response(request.app.state.metrics.report(), media_type="text/plain; version=0.0.4")
