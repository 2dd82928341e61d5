"""The addresses of the API, what each takes and gives; openapi.json is made from here."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from tench.serve import answers as said
from tench.serve import demo
from tench.serve.desk import Desk
from tench.serve.files import content
from tench.serve.forms import PART
from tench.serve.refusals import Problems, Refusal

REASONS = {
    400: "A form that cannot be read, or with too many parts.",
    403: "Not asked by this server's own page or name, or without its token.",
    404: "There is no such thing.",
    408: "The request took too long to arrive.",
    409: "This model cannot do that.",
    413: "Too many bytes, or too many pixels.",
    415: "Not a picture, by its content.",
    422: "Parameters that are not what they must be.",
    500: "A fault of the server's.",
    503: "Too much to do just now, or it took too long; Retry-After says when to try again.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an endpoint may answer beside what was asked."""
    return {status: {"model": Problems, "description": REASONS[status]} for status in sorted({*statuses, 403, 422, 500})}


BINARY = {"type": "string", "format": "binary"}
PICTURE_TYPES = ("image/*", "application/octet-stream")
RAW = {kind: {"schema": BINARY} for kind in PICTURE_TYPES}


def form(most: str) -> dict[str, Any]:
    """A form of files as OpenAPI says it; `most` says in words how many there may be."""
    photos = {"type": "array", "items": BINARY, "minItems": 1, "description": f"{most}, each a file part called {PART}."}
    schema = {"type": "object", "properties": {PART: photos}, "required": [PART], "additionalProperties": False}
    return {"multipart/form-data": {"schema": schema, "encoding": {PART: {"contentType": "image/*"}}}}


def body(forms: dict[str, Any]) -> dict[str, Any]:
    """The body of an endpoint that takes a picture; its kind is decided by its content, whatever type it is said to be."""
    return {"requestBody": {"required": True, "content": RAW | forms}}


ONE = body({})
SEVERAL = body(form("1 to max_photos pictures (/api/models says how many)"))
PICTURE_ERRORS = errors(400, 404, 408, 413, 415, 503)


def desk_of(request: Request) -> Desk:
    """The desk of the application."""
    found = request.app.state.desk
    assert isinstance(found, Desk)
    return found


DeskOf = Annotated[Desk, Depends(desk_of)]
ModelId = Annotated[str, Query(description="A model's id: m0, m1, ...", max_length=100)]

api = APIRouter(prefix="/api")
pages = APIRouter(include_in_schema=False)


@api.get("/models", responses=errors())
async def models(desk: DeskOf) -> said.Models:
    """The models that are served, and the limits."""
    limits = desk.limits
    bounds = said.Bounds(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, max_photos=limits.max_photos)
    return said.Models(models=[model.facts for model in desk.models.all], limits=bounds)


@api.post("/predict", responses=PICTURE_ERRORS, openapi_extra=SEVERAL)
async def predict(
    request: Request,
    desk: DeskOf,
    models: Annotated[str | None, Query(description="Ids with commas between them; default: all.", max_length=1000)] = None,
    top: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 10,
) -> said.Answers:
    """What is on one picture (the body as it is), or on several (a form)."""
    return await desk.predict(request, models, top)


@api.post("/explain", responses=PICTURE_ERRORS, openapi_extra=ONE)
async def explain(
    request: Request,
    desk: DeskOf,
    model: ModelId,
    class_: Annotated[str | None, Query(alias="class", description="A class's id; default: the class answered.", max_length=200)] = None,
) -> said.HeatMap:
    """Where in a picture the evidence for a class is."""
    return await desk.explain(request, model, class_)


@api.post("/way", responses=PICTURE_ERRORS | errors(409), openapi_extra=ONE)
async def way(request: Request, desk: DeskOf, model: ModelId) -> said.Way:
    """What each row of a network makes of a picture."""
    return await desk.way(request, model)


@api.get("/filters", responses=errors(404, 503))
async def filters(desk: DeskOf, model: ModelId) -> said.Filters:
    """The first convolution's kernels."""
    return await desk.filters(model)


@api.get("/runs", response_model=said.Runs, responses=errors(503) | {304: {"description": "Nothing has changed since this ETag."}})
async def runs(request: Request, desk: DeskOf) -> Response:
    """The runs folder with its curves, trainings that are going on among them; made to be asked again and again, with If-None-Match."""
    found = await run_in_threadpool(desk.watch.listing)
    return _unless_known(request, found.body, "application/json", found.etag)


@api.get("/demo", responses=errors())
async def demo_pictures() -> said.Demo:
    """Pictures that tench drew, to try the models with."""
    return demo.listed()


PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {"schema": BINARY}}, "description": "A PNG."}}


@api.get("/demo/{number}.png", response_class=Response, responses=errors(404) | PNG)
async def demo_picture(number: int) -> Response:
    """One of them."""
    drawn = await run_in_threadpool(demo.pictures)
    if not 0 <= number < len(drawn):
        raise Refusal(404, "no_such_picture", f"There is no demo picture {number}; there are 0 to {len(drawn) - 1}.")
    return Response(drawn[number], media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@pages.get("/")
async def page(request: Request) -> Response:
    """The page."""
    return _file(request, "index.html")


@pages.get("/api")
async def api_page(request: Request) -> Response:
    """The page that shows the API."""
    return _file(request, "api.html")


@pages.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """A file of the page's."""
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    return _unless_known(request, *content(name))


def _unless_known(request: Request, data: bytes, media_type: str, etag: str) -> Response:
    """The content, or the word that it is what the asker has already."""
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
