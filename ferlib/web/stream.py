"""The stream of frames: images in, one record per processed frame out; the newest frame wins."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ferlib.core.errors import ImageError
from ferlib.core.images import decode_image, to_rgb
from ferlib.faces import MIN_FACE_SIZE
from ferlib.inference import ImageResult, predict_video
from ferlib.inference.results import Record, image_record
from ferlib.inference.stream import VIDEO_FACE
from ferlib.video import Frame
from ferlib.web.access import Access
from ferlib.web.problems import ProblemError
from ferlib.web.recognition import Parameters, Recognition
from ferlib.web.videos import VideoParameters
from ferlib.web.workers import Workers

router = APIRouter()

#: Codes with which the service closes a stream.
CLOSE_NORMAL, CLOSE_POLICY, CLOSE_TRY_LATER = 1000, 1008, 1013

# Without a frame for this long, the stream is closed.
_IDLE_SECONDS = 60.0

# The name of a frame's file in its record.
_NAME = "stream"


@router.websocket("/v1/stream")
async def stream_frames(socket: WebSocket) -> None:
    """Answer each frame that is processed with its record as JSON.

    Parameters are those of a video, in the query. A frame is a binary message with an encoded image; ``frame`` counts
    the frames received, from 0, and those that arrive while one is processed are skipped, except the newest. Where the
    service has an API key, the first message is ``{"api_key": "..."}``, unless the handshake had the key.
    """
    await socket.accept()
    access: Access = socket.app.state.access
    try:
        parameters = VideoParameters.model_validate(dict(socket.query_params), strict=False)
        with access.socket(socket.client.host if socket.client else ""):
            await _check_key(socket, access)
            await _Stream(socket, parameters).run()
        code, reason = CLOSE_NORMAL, ""
    except WebSocketDisconnect:
        return
    except ValidationError as error:
        items = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        code, reason = CLOSE_POLICY, "; ".join(items)
    except ProblemError as problem:
        socket.app.state.metrics.rejected.labels(problem.reason).inc()
        code, reason = CLOSE_TRY_LATER if problem.status == 503 else CLOSE_POLICY, problem.detail
    except TimeoutError:
        code, reason = CLOSE_NORMAL, f"No frame arrived for {_IDLE_SECONDS:g} seconds."
    if socket.client_state != WebSocketState.DISCONNECTED:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            # The protocol allows 123 bytes.
            await socket.close(code, reason.encode()[:123].decode(errors="ignore"))


async def _check_key(socket: WebSocket, access: Access) -> None:
    """Take the key from the first message, because browsers cannot set headers of a handshake."""
    with contextlib.suppress(ProblemError):
        access.check_key("/v1/stream", socket.headers)
        return
    async with asyncio.timeout(_IDLE_SECONDS):
        message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    try:
        given = json.loads(message.get("text") or "null")
    except ValueError:
        given = None
    if not (isinstance(given, dict) and access.is_key(given.get("api_key"))):
        raise ProblemError(401, "The first message must have the API key.", reason="key")


class _Stream:
    """One client's stream."""

    def __init__(self, socket: WebSocket, parameters: VideoParameters) -> None:
        state = socket.app.state
        self._socket = socket
        self._recognition: Recognition = state.recognition
        self._workers: Workers = state.workers
        self._options = state.options
        self._parameters = parameters
        self._waiting: tuple[int, float, bytes] | None = None
        self._arrived = asyncio.Event()
        self._frame: Frame | None = None
        self._results: Iterator[tuple[Frame, ImageResult]] | None = None

    async def run(self) -> None:
        """Receive and process until the client closes the stream."""
        tasks = asyncio.create_task(self._receive()), asyncio.create_task(self._process())
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _receive(self) -> None:
        """Keep the newest frame."""
        number, start = 0, 0.0
        while True:
            async with asyncio.timeout(_IDLE_SECONDS):
                message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is None:
                raise ProblemError(400, "A frame is a binary message with an image.", reason="stream")
            now = time.monotonic()
            start = start if number else now
            self._waiting = number, now - start, data
            self._arrived.set()
            number += 1

    async def _process(self) -> None:
        """Answer the newest frame again and again."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            assert self._waiting is not None
            number, seconds, data = self._waiting
            try:
                record = await self._workers.run(lambda: self._recognize(number, seconds, data), always=True)  # noqa: B023
            except ImageError as error:
                record = {"file": _NAME, "frame": number, "error": str(error)}
            async with asyncio.timeout(self._options.request_seconds):
                await self._socket.send_text(json.dumps(record, allow_nan=False))

    def _recognize(self, number: int, seconds: float, data: bytes) -> Record:
        """Return the record of a frame."""
        if len(data) > self._options.max_frame_mb * 1e6:
            raise ImageError(f"The frame has more than {self._options.max_frame_mb:g} MB.")
        image = to_rgb(decode_image(data, name="The frame", max_pixels=self._options.max_video_pixels))
        if self._results is None:
            smallest = max(MIN_FACE_SIZE, round(min(image.shape[:2]) * VIDEO_FACE))
            general = Parameters(**self._parameters.model_dump(exclude={"smoothing"}))
            recognizer = self._recognition.recognizer(general, smallest)
            smoothing = self._parameters.smoothing
            self._results = predict_video(self._frames(), recognizer, path=_NAME, smoothing=smoothing)
        self._frame = Frame(number, seconds, image)
        try:
            _, result = next(self._results)
        except Exception:
            # A generator that has raised an error yields nothing more.
            self._results = None
            raise
        if len(result.faces) > self._options.max_faces:
            raise ImageError(f"The frame has {len(result.faces)} faces; the limit is {self._options.max_faces}.")
        self._recognition.count([found.emotion for found in result.faces])
        origin = {"detector": self._parameters.detector, "model": self._recognition.classifier.name}
        return image_record(result, **origin)

    def _frames(self) -> Iterator[Frame]:
        """Yield the frame that is to be processed, each time that the results are asked for one more."""
        while self._frame is not None:
            frame, self._frame = self._frame, None
            yield frame
