"""Routes for images."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ferlib import __version__
from ferlib.core.errors import ImageError
from ferlib.inference.results import Record
from ferlib.web.recognition import Parameters, ParametersQuery, Recognition, choose_media_type, to_problem
from ferlib.web.schemas import NOTICE, Batch, Faces, problem_responses
from ferlib.web.uploads import Upload, read_images
from ferlib.web.workers import Workers

router = APIRouter(tags=["images"])

_BINARY = {"type": "string", "format": "binary"}

#: What every answer has besides the record.
SIGNATURE = {"version": __version__, "notice": NOTICE}


def describe_body(fields: dict[str, Any], *media_types: str) -> dict[str, Any]:
    """Return a route's body for OpenAPI: a multipart form with required fields, or the file itself."""
    form = {"type": "object", "properties": fields, "required": list(fields)}
    content = {"multipart/form-data": {"schema": form}, **{kind: {"schema": _BINARY} for kind in media_types}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/v1/faces",
    response_model=Faces,
    responses={
        200: {"content": {"image/png": {"schema": _BINARY}, "image/jpeg": {"schema": _BINARY}}},
        **problem_responses(400, 401, 406, 408, 413, 422, 503),
    },
    openapi_extra=describe_body({"file": _BINARY}, "image/*", "application/octet-stream"),
)
async def find_faces(request: Request, parameters: ParametersQuery) -> Response:
    """Find the faces of one image and classify their expressions.

    The image is a multipart field with a file, or the body itself. The answer is the record that
    ``ferlib predict --output-json`` writes. With ``Accept: image/png`` or ``image/jpeg``, it is an annotated copy of
    the image.
    """
    media_type = choose_media_type(request.headers.get("accept", ""))
    (upload, *_) = await read_images(request, max_files=1)
    recognition: Recognition = request.app.state.recognition
    workers: Workers = request.app.state.workers
    try:
        found = await workers.run(lambda: recognition.recognize(upload.data, upload.name, parameters, media_type))
    except ImageError as error:
        raise to_problem(error) from None
    if found.image is not None:
        return Response(found.image, media_type=media_type)
    return JSONResponse({**found.record, **SIGNATURE})


@router.post(
    "/v1/batches",
    response_model=Batch,
    responses=problem_responses(400, 401, 408, 413, 422, 503),
    openapi_extra=describe_body({"file": {"type": "array", "items": _BINARY, "minItems": 1}}),
)
async def find_faces_of_batch(request: Request, parameters: ParametersQuery) -> Response:
    """Do the same for several images, each a file of a multipart form.

    The results are in the order of the images. An image that cannot be processed is a result with ``error``.
    """
    uploads = await read_images(request, max_files=request.app.state.options.max_images)
    recognition: Recognition = request.app.state.recognition
    workers: Workers = request.app.state.workers
    results = []
    for number, upload in enumerate(uploads):
        task = _Task(recognition, upload, parameters)
        # A batch that was begun has its place in the queue.
        results.append(await workers.run(task, always=number > 0))
    return JSONResponse({"results": results, **SIGNATURE})


class _Task:
    """The recognition of one image of a batch; a failure is a record too."""

    def __init__(self, recognition: Recognition, upload: Upload, parameters: Parameters) -> None:
        self._recognition, self._upload, self._parameters = recognition, upload, parameters

    def __call__(self) -> Record:
        name = self._upload.name
        try:
            return self._recognition.recognize(self._upload.data, name, self._parameters).record
        except ImageError as error:
            return {"file": name, "error": str(error)}
