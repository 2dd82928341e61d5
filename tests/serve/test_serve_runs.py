"""The runs folder over HTTP: what it says, that it is live, and that asking again costs nothing."""

import json
import os
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tench.records import Run
from tench.serve import watching
from tench.serve.watching import Watch

pytest_plugins = ["served_fixtures"]


@pytest.fixture
def folder(served_run: Run, tmp_path: Path) -> Path:
    """A runs folder with a copy of the run, which tests may change."""
    shutil.copytree(served_run.folder, tmp_path / "runs" / served_run.id)
    return tmp_path / "runs"


def runs(watch: Watch) -> list[dict]:  # type: ignore[type-arg]
    return json.loads(watch.listing().body)["runs"]  # type: ignore[no-any-return]


def changed(run: Run, **values: object) -> None:
    """Write a record as another process would, a moment later."""
    path = run.folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    later = path.stat().st_mtime_ns + 10**7
    os.utime(path, ns=(later, later))


def test_a_finished_run_has_its_score_and_its_curve(client: TestClient, served_run: Run) -> None:
    found = client.get("/api/runs").json()
    assert found["title"] == "runs"
    (run,) = found["runs"]
    record = served_run.record
    assert record.result
    assert (run["id"], run["name"], run["status"], run["data"], run["is_demo"]) == (served_run.id, "tiny", "finished", "discs", False)
    assert (run["top1"], run["low"], run["high"], run["n"]) == (
        record.result.top1,
        record.result.top1_low,
        record.result.top1_high,
        record.result.n,
    )
    assert (run["parameters"], run["macs"], run["epochs"]) == (record.network.parameters, record.network.macs, 6)
    assert run["options"]["epochs"] == 6
    assert run["reported_top1"] is None
    assert [set(entry) for entry in run["history"]] == [{"epoch", "loss", "top1", "select_loss", "select_top1", "learn_rate"}] * 6
    assert [entry["epoch"] for entry in run["history"]] == [1, 2, 3, 4, 5, 6]


def test_what_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/api/runs")
    second = client.get("/api/runs", headers={"If-None-Match": first.headers["etag"]})
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["etag"] == first.headers["etag"]
    assert client.get("/api/runs", headers={"If-None-Match": '"other"'}).status_code == 200


def test_nothing_is_read_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(folder)
    first = watch.listing()
    monkeypatch.setattr(watching.Run, "read", lambda path: pytest.fail("it was read again"))
    assert watch.listing() is first


def test_a_training_is_seen_while_it_goes_on(folder: Path, served_run: Run) -> None:
    run = Run.read(folder / served_run.id)
    watch = Watch(folder)
    changed(run, status="running", result=None, finished=None)
    (found,) = runs(watch)
    assert (found["status"], found["top1"], found["n"]) == ("killed", None, None)
    with run.held():
        before = watch.listing()
        (found,) = json.loads(before.body)["runs"]
        assert found["status"] == "running"
        run.append_history({"epoch": 7, "loss": float("nan"), "top1": 0.5})
        after = watch.listing()
        assert after.etag != before.etag
        (found,) = json.loads(after.body)["runs"]
        assert found["history"][-1] == {
            "epoch": 7,
            "loss": None,
            "top1": 0.5,
            "select_loss": None,
            "select_top1": None,
            "learn_rate": None,
        }
    assert runs(watch)[0]["status"] == "killed", "the training has gone"


def test_a_failure_says_why(folder: Path, served_run: Run) -> None:
    changed(Run.read(folder / served_run.id), status="failed", failure="The loss is not finite.", notes=["a note"])
    (found,) = runs(Watch(folder))
    assert (found["status"], found["notes"]) == ("failed", ["The loss is not finite.", "a note"])


def test_damaged_and_deleted_runs_are_left_out_and_come_back(folder: Path, served_run: Run) -> None:
    watch = Watch(folder)
    other = Path(shutil.copytree(folder / served_run.id, folder / "other"))
    assert len(runs(watch)) == 2
    kept = (other / "record.json").read_bytes()
    (other / "record.json").write_bytes(b"{")
    assert len(runs(watch)) == 1
    (other / "record.json").write_bytes(kept)
    assert len(runs(watch)) == 2
    (other / "history.jsonl").write_bytes(b"rubbish\n")
    assert len(runs(watch)) == 1
    shutil.rmtree(other)
    assert len(runs(watch)) == 1
    shutil.rmtree(folder)
    assert runs(watch) == []


def test_the_newest_stands_first(folder: Path, served_run: Run) -> None:
    newer = Path(shutil.copytree(folder / served_run.id, folder / "a"))
    changed(Run.read(newer), created="2999-01-01T00:00:00+00:00", run_id="a")
    assert [run["id"] for run in runs(Watch(folder))] == ["a", served_run.id]
