"""The application: routes, their order, and what starts and stops with the service."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException

from ferlib import __version__
from ferlib.web.files import PAGE_HEADERS, StaticFiles
from ferlib.web.options import ServeOptions
from ferlib.web.page import page_files


def create_app(options: ServeOptions) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(title="ferlib", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.options = options
    add_page(app)
    return app


def add_page(app: FastAPI) -> None:
    """Serve the page at ``/``; it comes last, because its route matches every path."""
    page = StaticFiles(page_files(app.state.options.run, service="v1/faces"), PAGE_HEADERS)

    @app.api_route("/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_file(path: str, request: Request) -> Response:
        response = await page.respond(path, request)
        if response is None:
            raise HTTPException(404)
        return response
