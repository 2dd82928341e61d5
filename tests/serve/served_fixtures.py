"""What the server's tests share: a small run, a network that computes without torch, and a server of both."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from served import BASE, Colours

import tench
from tench.records import Run
from tench.serve.app import application
from tench.serve.desk import Desk
from tench.serve.guard import Door
from tench.serve.limits import Limits
from tench.serve.models import Models


@pytest.fixture(scope="session")
def served_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder of its own."""
    return tmp_path_factory.mktemp("served") / "runs"


@pytest.fixture(scope="session")
def served_run(tiny_net: Path, tiny_folder: Path, served_runs: Path) -> Run:
    """A finished run that has learnt the three colours, with exhibits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tench.confidence.fit.ENOUGH", 6)  # as many as its `select` has
        return tench.train(tiny_net, tiny_folder, epochs=6, batch_size=8, learn_rate=0.05, device="cpu", threads=1, runs=served_runs)


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk(served_run: Run, served_runs: Path) -> Iterator[MakeDesk]:
    """Makes a desk of the run (m0) and of colours (m1), with limits."""
    made: list[Desk] = []

    def make(**limits: float) -> Desk:
        openings = [lambda: tench.load(served_run, threads=1), Colours]
        made.append(Desk(Models(openings), Limits(**limits), served_runs))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


@pytest.fixture
def make_client(make_desk: MakeDesk) -> Callable[..., TestClient]:
    """Makes a client of such a server, with limits; `token`: one that asks for it."""

    def make(door: Door | None = None, **limits: float) -> TestClient:
        return TestClient(application(make_desk(**limits), door), base_url=BASE, raise_server_exceptions=False)

    return make


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    """The same with the usual limits."""
    return make_client()
