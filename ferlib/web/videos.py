"""Routes for video jobs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field

from ferlib.inference.stream import DEFAULT_SMOOTHING
from ferlib.web.images import SIGNATURE, describe_body
from ferlib.web.jobs import FINAL_STATES, Jobs, VideoJob
from ferlib.web.problems import ProblemError
from ferlib.web.recognition import Parameters
from ferlib.web.schemas import Job, problem_responses
from ferlib.web.uploads import save_video

router = APIRouter(tags=["videos"])

_MEDIA_TYPES = {"result.jsonl": "application/jsonl", "result.csv": "text/csv"}

_EVENT_SECONDS = 0.25


class VideoParameters(Parameters):
    """Options for a video or stream."""

    smoothing: float = Field(
        default=DEFAULT_SMOOTHING, ge=0, le=3600, description="time constant in seconds, 0 for none"
    )

    def to_arguments(self) -> tuple[str, ...]:
        """Return the options of ``ferlib predict``."""
        given = self.model_dump(exclude_none=True)
        return tuple(f"--{name.replace('_', '-')}={value}" for name, value in given.items())


async def find_job(job_id: str, request: Request) -> VideoJob:
    """Return the job in a route's path; not in a thread, because the jobs belong to the event loop."""
    jobs: Jobs = request.app.state.jobs
    return jobs.find(job_id)


JobInPath = Annotated[VideoJob, Depends(find_job)]


def describe_job(job: VideoJob) -> dict[str, Any]:
    """Return the document of a job."""
    return {**job.describe(), **SIGNATURE}


@router.post(
    "/v1/videos",
    status_code=202,
    response_model=Job,
    responses=problem_responses(400, 401, 408, 413, 422, 503, 507),
    openapi_extra=describe_body(
        {"file": {"type": "string", "format": "binary"}}, "video/*", "application/octet-stream"
    ),
)
async def start_job(request: Request, parameters: Annotated[VideoParameters, Query()]) -> Response:
    """Start a job that processes a video, a multipart field with a file or the body itself.

    The answer has the address of the job. The video is removed when the job ends, and the result is kept for ten
    minutes.
    """
    state = request.app.state
    arguments = (f"--prior={state.options.prior}", *parameters.to_arguments())
    if state.options.model is not None:
        arguments += (f"--model={state.options.model}",)
    if state.options.run is not None:
        arguments += (f"--run={state.options.run.resolve()}",)
    async with state.jobs.create(arguments) as job:
        await save_video(request, job.video)
    return JSONResponse(describe_job(job), 202, headers={"Location": f"/v1/jobs/{job.id}"})


@router.get("/v1/jobs/{job_id}", response_model=Job, responses=problem_responses(401, 404, 422))
async def get_job(job: JobInPath) -> Response:
    """Get the state of a job."""
    return JSONResponse(describe_job(job))


@router.delete(
    "/v1/jobs/{job_id}", status_code=204, response_class=Response, responses=problem_responses(401, 403, 404, 422)
)
async def delete_job(job: JobInPath, request: Request) -> Response:
    """Cancel a job, or forget a finished one; its files are removed."""
    await request.app.state.jobs.delete(job)
    return Response(status_code=204)


async def count_listener(request: Request) -> AsyncIterator[None]:
    """Count the open connection."""
    with request.app.state.access.socket(request.client.host if request.client else ""):
        yield


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    dependencies=[Depends(count_listener)],
    responses=problem_responses(401, 404, 422, 503),
)
async def follow_job(job: JobInPath) -> AsyncIterator[ServerSentEvent]:
    """Follow a job: events named by its state, whose data is the job; the last one has a final state."""
    shown = None
    while True:
        now = (job.state, job.frames_done)
        if now != shown:
            shown = now
            yield ServerSentEvent(event=job.state, data=describe_job(job))
        if job.state in FINAL_STATES:
            return
        await asyncio.sleep(_EVENT_SECONDS)


def _send_result(job: VideoJob, name: str) -> Response:
    path = job.folder / name
    if job.state not in FINAL_STATES:
        raise ProblemError(409, "The job has not finished.", reason="job", headers={"Retry-After": "1"})
    if not path.exists():
        raise ProblemError(404, "The job has no result.", reason="job")
    return FileResponse(path, media_type=_MEDIA_TYPES[name], headers={"Cache-Control": "no-store"})


_RESULT_RESPONSES = problem_responses(401, 404, 409, 422)


@router.get(
    "/v1/jobs/{job_id}/result.jsonl",
    response_class=Response,
    responses={200: {"content": {"application/jsonl": {}}}, **_RESULT_RESPONSES},
)
async def get_records(job: JobInPath) -> Response:
    """Get the result as JSON Lines, as ``ferlib predict --output-json`` writes them."""
    return _send_result(job, "result.jsonl")


@router.get(
    "/v1/jobs/{job_id}/result.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}, **_RESULT_RESPONSES},
)
async def get_table(job: JobInPath) -> Response:
    """Get the result as CSV, one row per face and frame."""
    return _send_result(job, "result.csv")
