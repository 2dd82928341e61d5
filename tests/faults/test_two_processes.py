"""Two processes at once in one runs folder: neither loses anything."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nursery import Child, Nursery, nursery
from safetensors.torch import load_file

from tench.records import Run, list_runs

KILLED = -9
ROUNDS = 2


@pytest.fixture(scope="module")
def nurseries() -> tuple[Nursery, Nursery]:
    return nursery(0), nursery(1)


class Both:
    """The same runs folder for two command lines at once."""

    def __init__(self, nurseries: tuple[Nursery, Nursery], net: Path, data: Path, folder: Path) -> None:
        self.nurseries, self.folder, self.runs = nurseries, folder, folder / "runs"
        self.train = ["train", str(net), "--data", str(data), "--epochs", "6", "--batch-size", "8", "--learn-rate", "0.05"]
        self.train += ["--device", "cpu", "--threads", "1", "--no-exhibits"]

    def start(self, which: int, words: list[str], runs: Path | None = None) -> Child:
        self.said(which).unlink(missing_ok=True)
        environment = {"TENCH_RUNS": str(runs or self.runs)}
        return self.nurseries[which].start(words=words, environment=environment, output=self.said(which), save_every_s=0.0)

    def said(self, which: int) -> Path:
        return self.folder / f"said-{which}.txt"

    def at_once(self, *commands: list[str]) -> list[tuple[int, str]]:
        children = [self.start(which, words) for which, words in enumerate(commands)]
        codes = [child.wait() for child in children]
        return [(code, self.said(which).read_text()) for which, code in enumerate(codes)]

    def alone(self, words: list[str], name: str) -> Run:
        assert self.start(0, words, self.folder / name).wait() == 0, self.said(0).read_text()
        return list_runs(self.folder / name).runs[0]


@pytest.fixture
def both(nurseries: tuple[Nursery, Nursery], tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> Both:
    return Both(nurseries, tiny_net, tiny_folder, tmp_path)


def same(one: Run, other: Run) -> bool:
    ours, theirs = load_file(one.weights_path), load_file(other.weights_path)
    return all(torch.equal(ours[name], theirs[name]) for name in theirs) and np.array_equal(
        one.predictions().log_probabilities, other.predictions().log_probabilities
    )


def test_two_trainings_at_once_end_as_each_does_alone(both: Both) -> None:
    commands = [[*both.train, "--seed", seed] for seed in ("0", "1")]
    for code, text in both.at_once(*commands):
        assert code == 0, text
    found = {run.record.seed: run for run in list_runs(both.runs).runs}
    assert list_runs(both.runs).damaged == {}
    for seed, words in enumerate(commands):
        assert same(found[seed], both.alone(words, f"alone-{seed}"))


def test_the_same_run_begun_twice_at_once_is_trained_once(both: Both) -> None:
    whole = both.alone(both.train, "alone")
    for number in range(ROUNDS):
        both.runs = both.folder / f"runs-{number}"
        ended = sorted(both.at_once(both.train, both.train))
        assert [code for code, _ in ended] == [0, 1], ended
        assert "is there already: this very run was begun before" in ended[1][1]
        assert "Traceback" not in ended[1][1]
        (run,) = list_runs(both.runs).runs
        assert same(run, whole)


def test_a_run_resumed_twice_at_once_is_gone_on_with_once(both: Both) -> None:
    whole = both.alone(both.train, "alone")
    for number in range(ROUNDS):
        both.runs = both.folder / f"runs-{number}"
        child = both.start(0, both.train)
        assert child.began()
        child.kill()
        (run,) = list_runs(both.runs).runs
        ended = sorted(both.at_once(["resume", run.id, "--no-exhibits"], ["resume", run.id, "--no-exhibits"]))
        assert [code for code, _ in ended] == [0, 1], ended
        assert "is in use by another process" in ended[1][1] or "is finished; there is nothing to go on with" in ended[1][1]
        assert same(list_runs(both.runs).runs[0], whole)


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(both: Both) -> None:
    """As it was read before the other ended: nothing of what that one wrote is touched."""
    from tench.data.sources import open_source
    from tench.errors import ResumeError
    from tench.training.loop import Watcher
    from tench.training.plan import plan_of, prepare
    from tench.training.train import carry_out, refuse_changes

    child = both.start(0, both.train)
    assert child.began()
    child.kill()
    (stale,) = list_runs(both.runs).runs
    plan = plan_of(stale, open_source(stale.local()["data"]))
    assert both.start(1, ["resume", stale.id, "--no-exhibits"]).wait() == 0
    before = {path: path.read_bytes() for path in stale.folder.rglob("*") if path.is_file()}
    with pytest.raises(ResumeError, match="is finished"):
        carry_out(plan, prepare(plan), Run(stale.folder, stale.record.model_copy(update={"status": "running"})), Watcher(), resuming=True)
    with pytest.raises(ResumeError, match="is finished"):
        refuse_changes(Run(stale.folder, stale.record.model_copy(update={"status": "running"})), plan, anyway=True)
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_in_training_is_not_deleted_by_another_process(both: Both) -> None:
    child = both.start(0, [*both.train, "--epochs", "2000", "--patience", "2000"])
    assert child.began()
    (run,) = list_runs(both.runs).runs
    code, text = both.start(1, ["runs", "delete", run.id, "--yes"]).wait(), both.said(1).read_text()
    assert code == 1
    assert "is in use by another process" in text
    assert both.start(1, ["runs", "prune"]).wait() == 0
    assert child.code is None
    assert child.kill() == KILLED
    assert Run.read(run.folder).record.status == "running"
    assert both.start(1, ["runs", "delete", run.id, "--yes"]).wait() == 0
    assert not run.folder.exists()
