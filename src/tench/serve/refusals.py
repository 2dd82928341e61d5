"""What a server says when it cannot do what was asked: one form for every error, with a code for programs and a sentence for people."""

from typing import Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

Code = Literal[
    "foreign_host",
    "foreign_page",
    "no_token",
    "not_found",
    "not_allowed",
    "no_such_model",
    "no_such_class",
    "no_such_picture",
    "no_filters",
    "no_layers",
    "bad_form",
    "bad_request",
    "invalid",
    "not_a_picture",
    "too_large",
    "too_many_pixels",
    "too_many_photos",
    "upload_too_slow",
    "busy",
    "took_too_long",
    "internal",
]


class Problem(BaseModel):
    """What failed: a code that stays the same, and a whole sentence."""

    code: Code
    message: str


class Problems(BaseModel):
    """The body of every error."""

    error: Problem


class Refusal(Exception):  # noqa: N818 (a refusal is no fault of the server)
    """Something that is not done, with its HTTP status."""

    def __init__(self, status: int, code: Code, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}

    def response(self) -> JSONResponse:
        """As HTTP says it."""
        body = Problems(error=Problem(code=self.code, message=self.message)).model_dump()
        return JSONResponse(body, self.status, self.headers)


def busy() -> Refusal:
    """Too much waits already."""
    return Refusal(503, "busy", "The server has as much to do as it takes on at once; try again in a moment.", {"Retry-After": "2"})


async def refused(request: Request, error: Exception) -> Response:
    """The response to a Refusal."""
    assert isinstance(error, Refusal)
    return error.response()


async def by_http(request: Request, error: Exception) -> Response:
    """The response to what the router refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        found = Refusal(404, "not_found", f"There is nothing at {path}; the page is at /, the API is described at /api.")
    elif error.status_code == 405:
        found = Refusal(405, "not_allowed", f"{path} does not answer {request.method}; /api says what it answers.")
    else:
        found = Refusal(error.status_code, "bad_request", f"{path} cannot answer this request: {error.detail}.")
    found.headers = dict(error.headers or {})
    return found.response()


async def by_validation(request: Request, error: Exception) -> Response:
    """The response to parameters that are not what they must be."""
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{entry['loc'][-1]}: {entry['msg']}" for entry in error.errors())
    return Refusal(422, "invalid", f"The request cannot be understood: {wrong}. /api says what is allowed.").response()


async def by_fault(request: Request, error: Exception) -> Response:
    """The response to a fault of ours; what it was stands in the server's output and not in the response."""
    return Refusal(500, "internal", "The server failed at this request; what happened stands in its output.").response()


async def by_leaving(request: Request, error: Exception) -> Response:
    """To a client that has gone, which nobody reads."""
    return Response(status_code=400)
