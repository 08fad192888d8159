"""Errors as problem documents (RFC 9457, ``application/problem+json``)."""

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

#: The media type of every error.
PROBLEM_TYPE = "application/problem+json"

#: The status of a request whose client has gone; it is logged and counted, and nobody receives it.
CLIENT_CLOSED = 499


class ProblemError(Exception):
    """An answer other than success: an HTTP status and one sentence.

    `reason` is the word under which ``/metrics`` counts it, `fields` are members of the document besides those of the
    standard.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        reason: str = "invalid",
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason
        self.headers = dict(headers or {})
        self.fields = dict(fields or {})


def problem_response(problem: ProblemError) -> JSONResponse:
    """Return the document of a problem."""
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.fields,
    }
    return JSONResponse(document, problem.status, headers=problem.headers, media_type=PROBLEM_TYPE)


def fault() -> ProblemError:
    """Return the problem of an error that nobody expected."""
    return ProblemError(500, "The service has a fault; it was logged.", reason="fault")


def install_handlers(app: FastAPI) -> None:
    """Answer every error of an application with a problem document; `app.state.metrics` counts them by reason."""

    @app.exception_handler(ProblemError)
    async def handle_problem(request: Request, problem: ProblemError) -> Response:
        request.app.state.metrics.rejected.labels(problem.reason).inc()
        return problem_response(problem)

    @app.exception_handler(HTTPException)
    async def handle_http_exception(request: Request, error: HTTPException) -> Response:
        texts = {404: "There is nothing at this address.", 405: "This address does not have this method."}
        detail = texts.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        route = request.scope.get("route")
        if error.status_code == 405 and route is not None:
            # The framework names the methods of one function only.
            described = request.app.openapi()["paths"].get(route.path, {})
            headers["Allow"] = ", ".join(sorted(method.upper() for method in described))
        return await handle_problem(request, ProblemError(error.status_code, detail, headers=headers))

    @app.exception_handler(RequestValidationError)
    async def handle_invalid_parameters(request: Request, error: RequestValidationError) -> Response:
        # The values are left out, because they may be long.
        errors = [
            {"parameter": ".".join(map(str, item["loc"])), "message": item["msg"].removeprefix("Value error, ")}
            for item in error.errors()
        ]
        detail = "; ".join(f"{item['parameter']}: {item['message']}" for item in errors)
        return await handle_problem(request, ProblemError(422, f"{detail}.", fields={"errors": errors}))

    @app.exception_handler(Exception)
    async def handle_fault(_request: Request, _error: Exception) -> Response:
        # It is raised again, and the guard logs it.
        return problem_response(fault())

    @app.exception_handler(ClientDisconnect)
    async def handle_disconnect(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED)
