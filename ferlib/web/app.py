"""The application: routes, their order, and what starts and stops with the service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ferlib import __version__
from ferlib.core.console import logger
from ferlib.core.errors import ArtifactError
from ferlib.core.threads import available_cores
from ferlib.web import images, monitoring, stream, videos
from ferlib.web.access import Access
from ferlib.web.files import PAGE_HEADERS, add_files
from ferlib.web.guard import Guard
from ferlib.web.jobs import Jobs
from ferlib.web.metrics import Metrics
from ferlib.web.options import ServeOptions
from ferlib.web.page import page_files
from ferlib.web.problems import install_handlers
from ferlib.web.recognition import Recognition
from ferlib.web.schemas import NOTICE, ProblemDocument
from ferlib.web.workers import Workers

_DESCRIPTION = f"""Facial emotion recognition in images and videos.

{NOTICE}

Images are processed in memory and not stored. Errors are problem documents (RFC 9457).
A stream of frames is at the WebSocket `/v1/stream`.
"""

# Requests that wait for a worker, per worker.
_WAITING_PER_WORKER = 8

# Swagger UI writes styles and has its icons as data.
_REFERENCE_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_app(options: ServeOptions) -> ASGIApp:
    """Return the ASGI application.

    Raises
    ------
    ArtifactError
        The run folder has no model that can be loaded.
    OptionError
        The API key cannot be used.
    """
    app = FastAPI(
        title="ferlib",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    state = app.state
    state.options = options
    state.metrics = metrics = Metrics()
    state.access = access = Access(options)
    state.recognition = Recognition(options, metrics)
    state.ready = asyncio.Event()
    n_workers = options.workers or available_cores()
    n_waiting = _WAITING_PER_WORKER * n_workers if options.max_waiting is None else options.max_waiting
    state.workers = workers = Workers(n_workers, n_waiting)
    install_handlers(app)
    for module in (images, videos, stream, monitoring):
        app.include_router(module.router)
    guard = Guard(app, options=options, access=access, metrics=metrics)
    metrics.observe("requests_in_progress", "Requests in progress.", lambda: guard.n_requests)
    metrics.observe("images_waiting", "Images that wait for a worker.", lambda: workers.n_waiting)
    metrics.observe("sockets", "Open streams and event listeners.", lambda: access.n_sockets)
    metrics.observe("jobs_running", "Video jobs that run.", lambda: state.jobs.count("running"))
    metrics.observe("jobs_waiting", "Video jobs that wait.", lambda: state.jobs.count("queued"))
    _describe(app, has_key=access.key is not None)
    _add_files(app)
    if options.allowed_origins:
        return CORSMiddleware(
            guard,
            allow_origins=options.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Location", "Retry-After"],
        )
    return guard


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the networks while the service already answers, and leave nothing behind."""
    state = app.state
    state.jobs = Jobs(state.options, state.metrics)

    async def warm_up() -> None:
        await state.workers.run(state.recognition.warm_up, always=True)
        state.ready.set()
        logger.info("ready: model %s, %d workers", state.recognition.classifier.name, state.workers.n_workers)

    task = asyncio.create_task(warm_up())
    try:
        yield
    finally:
        task.cancel()
        await state.jobs.close()
        state.workers.close()


def _describe(app: FastAPI, *, has_key: bool) -> None:
    """Complete the OpenAPI document: the schema of problems, and the key where there is one."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["ProblemDocument"] = ProblemDocument.model_json_schema()
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            for item in document["paths"].values():
                for operation in item.values():
                    # The first line of the function's description; the default is the function's name.
                    operation["summary"] = operation["description"].splitlines()[0].rstrip(".")
            if has_key:
                components["securitySchemes"] = {
                    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                }
                document["security"] = [{"key": []}, {"bearer": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _add_files(app: FastAPI) -> None:
    """Serve the API's description at ``/docs`` and the page at ``/``: one route per file."""
    folder = Path(str(resources.files("ferlib.web") / "reference"))
    reference = {f"docs/{path.name}": path for path in folder.iterdir() if path.is_file()}
    reference["docs"] = reference.pop("docs/index.html")
    add_files(app, reference, {"Content-Security-Policy": _REFERENCE_POLICY})
    try:
        page = page_files(app.state.options.run_dir, service="v1/faces")
    except ArtifactError as error:
        logger.info("no page: %s", error)
        return
    page[""] = page["index.html"]
    add_files(app, page, PAGE_HEADERS)
