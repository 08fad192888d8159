"""Read the body of a request: one image, several, or a video; images stay in memory."""

import asyncio
import errno
import shutil
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ferlib.web.problems import ProblemError

# Names of files are repeated in records only; the rest of a longer one is dropped.
_MAX_NAME = 255

# Other fields than files are ignored, and need little.
_MAX_FIELDS, _MAX_FIELD_BYTES = 16, 4096


@dataclass(frozen=True)
class Upload:
    """A file of a request: its content and the name that came with it."""

    name: str
    data: bytes


class _MemoryParser(MultiPartParser):
    """Keeps files in memory, whatever their size: the size of the whole request is limited."""

    spool_max_size = 2**62


async def read_images(request: Request, *, max_files: int) -> list[Upload]:
    """Return the images of a request: multipart fields with a file, or the body itself, which is one image.

    Raises
    ------
    ProblemError
        The body is empty or not multipart, or has too many files.
    """
    if _is_multipart(request):
        files = await _parse(_MemoryParser, request, max_files)
        uploads = [Upload((item.filename or "image")[:_MAX_NAME], item.file.read()) for item in files]
    else:
        uploads = [Upload("image", await request.body())]
    if not any(upload.data for upload in uploads):
        raise ProblemError(
            400, "The request has no image: send a multipart field with a file, or the image itself.", reason="body"
        )
    return uploads


async def save_video(request: Request, path: Path) -> None:
    """Write the video of a request to a path: one multipart field with a file, or the body itself.

    Raises
    ------
    ProblemError
        As `read_images`, or the disk is full (status 507).
    """
    try:
        if _is_multipart(request):
            for video in await _parse(MultiPartParser, request, 1):
                with video.file as source:
                    await asyncio.to_thread(_copy, source, path)
        else:
            await _write(request.stream(), path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ProblemError(507, "There is no space left for the video; try again later.", reason="disk") from None
        raise
    if not path.exists() or not path.stat().st_size:
        raise ProblemError(400, "The request has no video: send a multipart field with a file, or the video itself.")


def _is_multipart(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _parse(parser: type[MultiPartParser], request: Request, max_files: int) -> list[UploadFile]:
    """Return the files of a multipart body."""
    try:
        form = await parser(
            request.headers,
            request.stream(),
            max_files=max_files,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_FIELD_BYTES,
        ).parse()
    except MultiPartException as error:
        raise ProblemError(400, error.message, reason="body") from None
    return [item for _, item in form.multi_items() if isinstance(item, UploadFile)]


def _copy(source: Any, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)


async def _write(chunks: AsyncGenerator[bytes, None], path: Path) -> None:
    """Write chunks to a file, in a thread for each because a disk may be slow."""
    with path.open("wb") as target:
        async for chunk in chunks:
            if chunk:
                await asyncio.to_thread(target.write, chunk)
