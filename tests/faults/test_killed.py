"""kill -9 at any moment, over and over: what comes out in the end is, bit for bit, what comes out undisturbed."""

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nursery import Nursery
from nursery import nursery as shared
from safetensors.torch import load_file

from tench.records import Run, list_runs, prune

KILLED = -9


@pytest.fixture(scope="module")
def nursery() -> Nursery:
    return shared()


@pytest.fixture
def request_of(tiny_net: Path, tiny_folder: Path) -> Any:
    def make(recipe: str, optimizer: str, **more: Any) -> dict[str, Any]:
        rate = {"sgdm": 0.05, "adam": 0.01}[optimizer]
        options = {"optimizer": optimizer, "learn_rate": rate, "drop_period": 3, "batch_size": 8, "epochs": 24}
        options |= {"patience": 1000, "mirror": True}
        return {"net": tiny_net, "data": tiny_folder, "recipe": recipe, "options": options | more.pop("options", {}), **more}

    return make


def only_run(runs: Path) -> Run:
    (run,) = list_runs(runs).runs
    return run


def assert_the_same(run: Run, whole: Run) -> None:
    assert run.record.status == whole.record.status == "finished"
    ours, theirs = load_file(run.weights_path), load_file(whole.weights_path)
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    timeless = [[{k: v for k, v in line.items() if not k.endswith("_s")} for line in one.history()] for one in (run, whole)]
    assert timeless[0] == timeless[1]
    assert np.array_equal(run.predictions().log_probabilities, whole.predictions().log_probabilities)
    results = [one.record.result for one in (run, whole)]
    assert results[0] is not None and results[1] is not None
    assert results[0].pictures_shown == results[1].pictures_shown
    assert results[0].best_epoch == results[1].best_epoch


def whole_files_only(run: Run) -> None:
    """Every file under its own name is whole, whatever the moment of the blow."""
    for path in run.folder.rglob("*"):
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        if path.suffix == ".safetensors":
            load_file(path)
    run.history()


def killed_again_and_again(nursery: Nursery, request: dict[str, Any], runs: Path, blows: int, seed: int) -> int:
    """Begin or go on, and kill: after a random time from before its first step on, or before a random fsync. Returns the kills."""
    draw, kills, said = random.Random(seed), 0, runs.with_suffix(".txt")
    for _ in range(blows):
        save_every_s = draw.choice([0.0, 0.0, 0.01])
        if draw.random() < 0.5:
            code = nursery.run(**request, runs=runs, save_every_s=save_every_s, kill_at_sync=draw.randint(1, 40), output=said)
        else:
            child = nursery.start(**request, runs=runs, save_every_s=save_every_s, output=said)
            if draw.random() < 0.8 and child.began():
                time.sleep(draw.uniform(0, 0.1))
            else:
                time.sleep(draw.uniform(0, 0.1))
            code = child.kill()
        assert code in (0, KILLED), said.read_text()
        kills += code == KILLED
        for run in list_runs(runs).runs:
            whole_files_only(run)
        assert list_runs(runs).damaged == {}
        if code == 0:
            break
    return kills


CASES = [("modern", "sgdm"), ("modern", "adam"), ("r2018b", "sgdm"), ("r2018b", "adam")]


@pytest.mark.parametrize(("recipe", "optimizer"), CASES)
def test_killed_at_random_moments_it_ends_with_the_same_bits(
    nursery: Nursery, request_of: Any, tmp_path: Path, recipe: str, optimizer: str
) -> None:
    """With dropout, augmentation, drops of the rate, and checkpoints after every step or every few."""
    request = request_of(recipe, optimizer)
    assert nursery.run(**request, runs=tmp_path / "whole") == 0
    kills = killed_again_and_again(nursery, request, tmp_path / "killed", blows=9, seed=CASES.index((recipe, optimizer)))
    assert kills >= 5
    if only_run(tmp_path / "killed").record.status != "finished":
        assert nursery.run(**request, runs=tmp_path / "killed") == 0
    assert_the_same(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "optimizer"), CASES)
def test_killed_forty_times(nursery: Nursery, request_of: Any, tmp_path: Path, recipe: str, optimizer: str) -> None:
    request = request_of(recipe, optimizer, options={"epochs": 200, "drop_period": 25})
    assert nursery.run(**request, runs=tmp_path / "whole") == 0
    kills = killed_again_and_again(nursery, request, tmp_path / "killed", blows=40, seed=10 + CASES.index((recipe, optimizer)))
    assert kills >= 20
    if only_run(tmp_path / "killed").record.status != "finished":
        assert nursery.run(**request, runs=tmp_path / "killed") == 0
    assert_the_same(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))


def test_killed_before_every_single_write_of_a_training(nursery: Nursery, request_of: Any, tmp_path: Path) -> None:
    """One process after the other on the same run, each killed one fsync later than the one before: begin, saves, best weights,
    history, record, final weights, predictions and result."""
    request = request_of("modern", "sgdm", options={"epochs": 3})
    assert nursery.run(**request, runs=tmp_path / "whole") == 0
    for number in range(1, 60):
        code = nursery.run(**request, runs=tmp_path / "killed", kill_at_sync=number, output=tmp_path / "said")
        for run in list_runs(tmp_path / "killed").runs:
            whole_files_only(run)
        if code == 0:
            break
    assert code == 0, (tmp_path / "said").read_text()
    assert number > 8
    assert_the_same(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))


def test_what_killed_processes_left_half_written_is_removed_by_the_next(nursery: Nursery, request_of: Any, tmp_path: Path) -> None:
    request, runs = request_of("modern", "sgdm", save_every_s=0.0), tmp_path / "runs"
    assert nursery.run(**request, runs=runs, kill_at_sync=30) == KILLED
    run = only_run(runs)
    left = list(run.folder.rglob(".*.tmp"))
    (run.checkpoints / ".step-000000001.json.1-abc.tmp").write_bytes(b"half")
    assert nursery.run(**request, runs=runs, kill_at_sync=5) == KILLED
    assert not (run.checkpoints / ".step-000000001.json.1-abc.tmp").exists()
    assert not [path for path in left if path.parent == run.checkpoints and path.exists()]
    assert nursery.run(**request, runs=runs) == 0
    prune(runs, older_than_s=-1)
    assert list(runs.rglob(".*.tmp")) == []
    assert not run.checkpoints.exists()
    assert Run.read(run.folder).record.status == "finished"


@pytest.mark.slow
def test_a_compiled_training_killed_at_random_moments(nursery: Nursery, request_of: Any, tmp_path: Path) -> None:
    request = request_of("modern", "sgdm", compiled=True)
    assert nursery.run(**request, runs=tmp_path / "whole") == 0
    assert only_run(tmp_path / "whole").record.engine["compiled"]
    kills = killed_again_and_again(nursery, request, tmp_path / "killed", blows=6, seed=30)
    assert kills >= 2
    if only_run(tmp_path / "killed").record.status != "finished":
        assert nursery.run(**request, runs=tmp_path / "killed") == 0
    assert_the_same(only_run(tmp_path / "killed"), only_run(tmp_path / "whole"))
