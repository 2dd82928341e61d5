"""The API against its own description: requests made from openapi.json, right and wrong ones, and every response as it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from served import Colours, picture

import tench
from tench.records import Run
from tench.serve.app import application
from tench.serve.desk import Desk
from tench.serve.guard import Door
from tench.serve.models import Models

pytest_plugins = ["served_fixtures"]

PICTURES = st.sampled_from([picture(form=form) for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")])
for media_type in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, PICTURES)

OPERATIONS = [
    ("GET", "/api/models"),
    ("POST", "/api/predict"),
    ("POST", "/api/explain"),
    ("POST", "/api/way"),
    ("GET", "/api/filters"),
    ("GET", "/api/runs"),
    ("GET", "/api/demo"),
    ("GET", "/api/demo/{number}.png"),
]


@pytest.fixture(scope="module")
def described(served_run: Run, served_runs: Path) -> Iterator[Any]:
    """The schema as the server gives it; schemathesis calls the server "testserver"."""
    desk = Desk(Models([lambda: tench.load(served_run, threads=1), Colours]), runs=served_runs)
    yield schemathesis.openapi.from_asgi("/openapi.json", application(desk, Door("testserver")))
    desk.close()


def test_every_operation_is_tried(described: Any) -> None:
    found = [(one.ok().method.upper(), one.ok().path) for one in described.get_all_operations()]
    assert sorted(found) == sorted(OPERATIONS)


RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
WITHOUT_PARAMETERS = ("/api/models", "/api/runs", "/api/demo")
TRIALS = [(RIGHT, *one) for one in OPERATIONS] + [(WRONG, *one) for one in OPERATIONS if one[1] not in WITHOUT_PARAMETERS]


@pytest.mark.parametrize(("mode", "method", "path"), TRIALS, ids=lambda value: getattr(value, "value", value))
def test_every_response_is_as_the_description_says(described: Any, mode: GenerationMode, method: str, path: str) -> None:
    """No fault of the server's; statuses, types, headers and bodies as described; what is right is taken, what is wrong refused."""

    @given(case=described[path][method].as_strategy(generation_mode=mode), model=st.sampled_from(["m0", "m1", None]))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def every(case: Any, model: str | None) -> None:
        if mode is RIGHT and model:  # which ids there are the description cannot say
            case.query |= {name: model for name in ("model", "models") if name in case.query}
        response = case.call()
        print(response.status_code, case.media_type, response.content[:90])
        case.validate_response(response)

    every()
