"""The application: routes, the desk behind them, the guard before them."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from tench import __version__
from tench.serve import refusals
from tench.serve.desk import Desk
from tench.serve.guard import Door, Guard
from tench.serve.routes import api, pages

ABOUT = """What networks see on pictures: answers, heat maps, the way through the layers, and trainings while they go on.

Pictures are decided by their content: JPEG, PNG, GIF, WebP, BMP and TIFF. Every error has the same form, with a code and a sentence.
Where the server is open to others than its own machine, every request needs its token, as `Authorization: Bearer`."""


def application(desk: Desk, door: Door | None = None) -> ASGIApp:
    """The whole server as an ASGI application; `door` says who is let in, by default this machine."""
    return Guard(plain(desk), door or Door())


def plain(desk: Desk) -> FastAPI:
    """The same without the guard."""
    # FastAPI's own pages of documentation come from other servers; /api shows openapi.json without them.
    app = FastAPI(title="tench serve", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.desk = desk
    app.include_router(api)
    app.include_router(pages)
    app.add_exception_handler(refusals.Refusal, refusals.refused)
    app.add_exception_handler(HTTPException, refusals.by_http)
    app.add_exception_handler(RequestValidationError, refusals.by_validation)
    app.add_exception_handler(ClientDisconnect, refusals.by_leaving)
    app.add_exception_handler(Exception, refusals.by_fault)
    return app
