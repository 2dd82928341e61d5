"""Which models are served, and what the command says where it cannot begin."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import Colours
from typer.testing import CliRunner

import tench
import tench.cli.serving
from tench.cli.app import app
from tench.errors import NotFoundError
from tench.records import Run
from tench.serve import start
from tench.serve.desk import Desk
from tench.serve.guard import Door
from tench.serve.models import Models, chosen

pytest_plugins = ["served_fixtures"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty runs folder, and no weights anywhere."""
    monkeypatch.setenv("TENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TENCH_WEIGHTS", raising=False)
    return tmp_path / "runs"


def kept(run: Run, folder: Path, name: str, top1: float, is_demo: bool = False, **changes: Any) -> None:
    """A copy of `run` with another score."""
    shutil.copytree(run.folder, folder / name)
    path = folder / name / "record.json"
    record = json.loads(path.read_text())
    record |= {"run_id": name, "result": record["result"] | {"top1": top1}, "data": record["data"] | {"is_demo": is_demo}} | changes
    path.write_text(json.dumps(record))


def test_what_is_named_is_served_in_order() -> None:
    assert chosen(["googlenet", "a run"]) == ["googlenet", "a run"]


def test_else_the_best_finished_run_is(served_run: Run, folder: Path) -> None:
    kept(served_run, folder, "worse", 0.5)
    kept(served_run, folder, "best", 0.7)
    kept(served_run, folder, "on drawings", 0.99, is_demo=True)
    kept(served_run, folder, "not finished", 0.9, status="interrupted")
    kept(served_run, folder, "without weights", 0.95)
    (folder / "without weights" / "weights.safetensors").unlink()
    (best,) = chosen([])
    assert isinstance(best, Run)
    assert best.id == "best"
    shutil.rmtree(folder / "best")
    shutil.rmtree(folder / "worse")
    (best,) = chosen([])
    assert isinstance(best, Run)
    assert best.id == "on drawings"


def test_else_googlenet_is_where_its_weights_are(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bvlc_googlenet.safetensors").touch()
    monkeypatch.setenv("TENCH_WEIGHTS", str(tmp_path))
    assert chosen([]) == ["googlenet"]


def test_else_it_is_said_what_to_do(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing to serve: no finished run in .*runs, and no weights of GoogLeNet\. Train"):
        chosen([])


def test_a_model_that_cannot_be_opened_is_an_error_before_anything_is_served() -> None:
    def fails() -> Any:
        raise NotFoundError("There is no run 'x'.")

    with pytest.raises(NotFoundError, match="no run 'x'"):
        Models([Colours, fails])


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Desk, Any, bool]]:
    """What the command would serve; nothing is."""
    found: list[tuple[Desk, Any, bool]] = []

    def run(desk: Desk, place: Any, browser: bool, say: Callable[[str], None]) -> None:
        found.append((desk, place, browser))
        desk.close()
        place.listening.close()

    monkeypatch.setattr(start, "run", run)
    return found


def test_the_command_passes_on_what_it_is_told(served_run: Run, served: list[tuple[Desk, Any, bool]]) -> None:
    words = ["serve", str(served_run.folder), str(served_run.folder), "--port", "0", "--max-mib", "2.5", "--open", "--threads", "1"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    ((desk, place, browser),) = served
    assert [(model.id, model.answering.name) for model in desk.models.all] == [("m0", served_run.id), ("m1", served_run.id)]
    assert (desk.limits.max_bytes, browser, place.door.host, place.door.token) == (2_621_440, True, "127.0.0.1", None)


def test_answers_do_not_wait_for_receipts_of_their_first_part() -> None:
    """Nagle's algorithm and delayed receipts together cost 40 ms a request on a connection that is kept; measured, before this was set."""
    place = start.bind("127.0.0.1", 0)
    try:
        client = socket.create_connection(place.listening.getsockname())
        accepted, _ = place.listening.accept()
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        place.listening.close()


def test_memory_settings_are_left_as_they_are(
    served_run: Run, served: list[tuple[Desk, Any, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They make a process keep all its memory: right for a training, wrong for a server."""
    monkeypatch.setattr("tench.runtime.tune_process", lambda: pytest.fail("the process was tuned"))
    CliRunner().invoke(app, ["serve", str(served_run.folder), "--port", "0"], catch_exceptions=False)
    assert served


def test_a_bundle_is_served_beside_its_run(served_run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    archive = tench.export(served_run, tmp_path / "bundle", tiny_folder, threads=1)
    models = Models([lambda: tench.load(archive, threads=1), lambda: tench.load(served_run, threads=1)])
    bundle, run = (model.facts for model in models.all)
    models.close()
    assert (bundle.kind, bundle.heat, run.kind, run.heat) == ("bundle", "occlusion", "run", "grad-cam")
    assert bundle.score == run.score
    assert bundle.classes == run.classes
    assert bundle.trust == run.trust


def test_the_page_is_opened_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    opened: list[str] = []
    began = threading.Event()

    def open_page(address: str) -> None:
        opened.append(address)
        began.set()

    monkeypatch.setattr(start.webbrowser, "open", open_page)
    monkeypatch.setattr(start.uvicorn.Server, "run", lambda self, sockets: None)
    said: list[str] = []
    place = start.bind("127.0.0.1", 0)
    start.run(Desk(Models([Colours])), place, browser=True, say=said.append)
    assert began.wait(5)
    assert opened == [f"http://127.0.0.1:{place.door.port}/"]
    assert said == ["Serving colours", f"{opened[0]}  Ctrl-C ends it."]
    assert Door(port=place.door.port) == place.door
    place.listening.close()
