"""One training in several processes: the same as in one, to rounding; and when one dies, all end, and the run goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharing
import torch
from safetensors.torch import load_file

import tench
from conftest import TINY_TABLE
from tench.config import Engine, Options, identifying
from tench.errors import ConfigError, UsageError
from tench.records import Run, load_run
from tench.runtime import Launch, launched, own_threads
from tench.training.facts import differences, record_of
from tench.training.group import Group
from tench.training.loop import Training, Watcher
from tench.training.plan import prepare
from tench.training.train import carry_out, train

ONE, TWO = Engine(threads=1), Engine(threads=1, processes=2)
TOLERANCE = 1e-5
"""Of weights and running statistics as vectors, relative; rounding alone is 1e-7, and now and then turns the sign of an activation."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """The folder with what two processes made of all that `sharing` has for them."""
    folder = tmp_path_factory.mktemp("two")
    processes = sharing.start_two(TINY_TABLE, tiny_folder, folder)
    assert [process.wait(300) for process in processes] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> dict[str, Run]:
    """The same trainings in one process."""
    folder = tmp_path_factory.mktemp("one")
    return {way: train(sharing.plan_of(TINY_TABLE, tiny_folder, way, ONE), folder / way) for way in sharing.WAYS if way != "with dropout"}


def only_run(folder: Path) -> Run:
    (found,) = (path for path in folder.iterdir() if not path.name.startswith("."))
    return load_run(found)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.weights_path)


# --- the same as in one process --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1])
def test_a_synchronised_norm_is_torchs_on_the_whole_batch_forward_and_backward(two: Path, rank: int) -> None:
    found = json.loads((two / f"norms-{rank}.json").read_text())
    far = found.pop("far")  # a mean of a thousand spreads: what float32 has left of the spread is 1e-4
    assert max(far.values()) < 5e-4, far
    assert max(found.pop("float64").values()) < 1e-14
    assert found.pop("one value")["of x"] < 1e-3  # two values a channel: what is left of their gradient is the difference of nearly equals
    for case, values in found.items():
        assert max(values.values()) < 1e-6, (case, values)


@pytest.mark.parametrize("way", ["one step", "unequal shares", "more epochs", "of r2018b"])
def test_weights_metrics_and_answers_are_those_of_one_process(two: Path, one: dict[str, Run], way: str) -> None:
    ours, theirs = only_run(two / way), one[way]
    found = sharing.distance(weights(ours), weights(theirs))
    print(way, found)
    assert max(found.values()) < TOLERANCE
    assert ours.id == theirs.id, "the number of processes does not make another run of it"
    assert ours.record.engine["processes"] == 2
    assert np.allclose(ours.predictions().log_probabilities, theirs.predictions().log_probabilities, atol=1e-3)
    assert len(ours.history()) == len(theirs.history()) == ours.record.options["epochs"], "one line an epoch"
    for mine, its in zip(ours.history(), theirs.history(), strict=True):
        assert mine["top1"] == its["top1"]
        assert mine["select_top1"] == its["select_top1"]
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-4)
        assert mine["select_loss"] == pytest.approx(its["select_loss"], rel=1e-3, abs=1e-6)
    ours_result, its_result = ours.record.result, theirs.record.result
    assert ours_result and its_result
    assert (ours_result.correct, ours_result.pictures_shown) == (its_result.correct, its_result.pictures_shown)


@pytest.mark.parametrize("way", ["one step", "more epochs"])
def test_norms_of_each_process_by_itself_are_another_training_and_another_run(two: Path, one: dict[str, Run], way: str) -> None:
    ours = only_run(two / f"{way}, each its own")
    found = sharing.distance(weights(ours), weights(one[way]))
    print(way, "each its own", found)
    assert found["weights"] > 10 * TOLERANCE
    assert found["running statistics"] > 100 * TOLERANCE
    assert ours.id != one[way].id
    assert ours.record.options["norm_parts"] == 2


# --- one dies --------------------------------------------------------------------------------------------------------


def command(*arguments: str | Path, processes: int = 2) -> list[str]:
    run = ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(sharing.free_port())]
    return [sys.executable, "-m", *run, "-m", "tench", *map(str, arguments)]


def training(pictures: Path, folder: Path, epochs: int = 20) -> list[str | Path]:
    """The arguments of the training called "with dropout", its table written into `folder`."""
    table = folder / "tiny.net"
    table.write_text(TINY_TABLE)
    options = {"--epochs": epochs, "--batch-size": 8, "--learn-rate": 0.05, "--patience": 40, "--seed": 1, "--threads": 1}
    words = [str(word) for option in options.items() for word in option]
    return ["train", table, "--data", pictures, "--precision", "float32", "--no-exhibits", *words]


def start(arguments: list[str | Path], folder: Path, processes: int = 2, **environment: str) -> tuple[subprocess.Popen[str], Path]:
    """A training by torchrun, after its third epoch; and the folder of its run."""
    runs = folder / "runs"
    own = {"TENCH_RUNS": str(runs), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "3", **environment}
    started = subprocess.Popen(
        command(*arguments, processes=processes), env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 120
    while not any(len(path.read_text().splitlines()) >= 3 for path in runs.glob("*/history.jsonl")):
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return started, next(runs.glob("*/history.jsonl")).parent


def process_of(rank: int, runs: Path) -> int:
    """The process of that rank of the training that writes to `runs`."""
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in variables and f"TENCH_RUNS={runs}".encode() in variables:
            return int(place.parent.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.fixture
def _linux() -> Iterator[None]:
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are found by /proc")
    yield


@pytest.mark.usefixtures("_linux")
def test_a_killed_process_ends_all_with_one_error_and_the_run_goes_on_bit_for_bit(two: Path, tiny_folder: Path, tmp_path: Path) -> None:
    started, folder = start(training(tiny_folder, tmp_path), tmp_path)
    os.kill(process_of(1, tmp_path / "runs"), signal.SIGKILL)
    said = started.communicate(timeout=60)[0]
    assert started.returncode != 0
    (error,) = (line for line in said.splitlines() if line.startswith("tench:"))
    assert "Of the 2 processes of this training number 1 seems gone" in error
    assert f"torchrun ... -m tench resume {folder.name}" in error
    assert said.count("1/20") == 1, "only the first process speaks"
    killed = load_run(folder)
    assert killed.record.status == "interrupted"
    shutil.copytree(folder, tmp_path / "alone" / folder.name)

    environment = os.environ | {"TENCH_RUNS": str(tmp_path / "runs")}
    done = subprocess.run(command("resume", folder, "--no-exhibits"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"Kept as {folder.name}") == 1
    whole, resumed = only_run(two / "with dropout"), load_run(folder)
    assert whole.id == resumed.id
    assert all(torch.equal(weights(resumed)[name], tensor) for name, tensor in weights(whole).items())
    assert [line["epoch"] for line in resumed.history()] == list(range(1, 21))
    assert [line["loss"] for line in resumed.history()] == [line["loss"] for line in whole.history()]
    assert np.array_equal(resumed.predictions().log_probabilities, whole.predictions().log_probabilities)

    alone = tench.resume(tmp_path / "alone" / folder.name, exhibits=False)
    assert alone.record.result
    assert alone.record.result.epochs == 20
    assert alone.record.engine["processes"] == 1
    assert "gone on with in 1 processes after 2" in alone.record.notes


@pytest.mark.slow
@pytest.mark.usefixtures("_linux")
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_of_three_the_one_that_was_killed_is_named_whichever_it_is(tiny_folder: Path, tmp_path: Path, rank: int) -> None:
    started, _ = start(training(tiny_folder, tmp_path, 3000), tmp_path, processes=3)
    os.kill(process_of(rank, tmp_path / "runs"), signal.SIGKILL)
    said = started.communicate(timeout=60)[0]
    (error,) = (line for line in said.splitlines() if line.startswith("tench:"))
    assert f"Of the 3 processes of this training number {rank} seems gone" in error


@pytest.mark.slow
@pytest.mark.usefixtures("_linux")
def test_a_process_that_hangs_is_given_up_after_the_timeout(tiny_folder: Path, tmp_path: Path) -> None:
    started, _ = start(training(tiny_folder, tmp_path, 3000), tmp_path, TENCH_TIMEOUT_S="5")
    os.kill(process_of(1, tmp_path / "runs"), signal.SIGSTOP)
    said = started.communicate(timeout=90)[0]
    (error,) = (line for line in said.splitlines() if line.startswith("tench:"))
    assert "number 1 seems gone" in error


@pytest.mark.slow
@pytest.mark.usefixtures("_linux")
def test_a_signal_to_one_process_stops_all_between_the_same_two_steps(two: Path, tiny_folder: Path, tmp_path: Path) -> None:
    started, folder = start(training(tiny_folder, tmp_path), tmp_path)
    os.kill(process_of(1, tmp_path / "runs"), signal.SIGTERM)
    said = started.communicate(timeout=60)[0]
    (error,) = (line for line in said.splitlines() if line.startswith("tench:"))
    assert f"everything is saved. To go on: torchrun ... -m tench resume {folder.name}" in error
    assert load_run(folder).record.status == "interrupted"
    environment = os.environ | {"TENCH_RUNS": str(tmp_path / "runs")}
    subprocess.run(command("resume", folder, "--no-exhibits"), env=environment, check=True)
    whole = weights(only_run(two / "with dropout"))
    assert all(torch.equal(weights(load_run(folder))[name], tensor) for name, tensor in whole.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs"], "tench: Several processes share `tench train` or `tench resume` only; start this one without torchrun."),
        (["train", "nowhere.net"], "tench: There is no network file nowhere.net; check the path."),
    ],
)
def test_what_is_wrong_in_all_processes_is_said_once(arguments: list[str | Path], message: str) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("tench:")] == [message]


def test_a_process_of_several_ends_although_a_thread_is_still_within_torch() -> None:
    """Without `_own_end` Python's end aborts here, every time, with "terminate called without an active exception"."""
    script = """
import sys, threading, torch.distributed as dist, tench.cli
store = dist.TCPStore("127.0.0.1", 0, 1, True)
def speak(store):
    while True:
        store.add("beat", 1)
for _ in range(4):
    threading.Thread(target=speak, args=(store.clone(),), daemon=True).start()
sys.argv = ["tench", *sys.argv[1:]]
tench.cli.main()
"""
    for words, code, said in ((["--version"], 0, "tench "), (["export", "nothing.tench"], 2, "")):
        of_one = os.environ | {"WORLD_SIZE": "1"}
        done = subprocess.run([sys.executable, "-c", script, *words], env=of_one, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith(said)
        assert "terminate called" not in done.stderr


# --- one process's view ----------------------------------------------------------------------------------------------


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Any:
    def pretend(rank: int, size: int, local_size: int, **more: str) -> None:
        given = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank % local_size, "LOCAL_WORLD_SIZE": local_size}
        for name, value in {**given, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", **more}.items():
            monkeypatch.setenv(name, str(value))

    return pretend


def test_a_process_shares_the_cores_of_its_machine_unless_the_user_says_how_many_threads(
    launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tench.runtime.core_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launched() == Launch()
    assert own_threads() == 8, "alone, OMP_NUM_THREADS is not looked at"
    launch(5, 8, 4)
    assert launched() == Launch(5, 8, 1, 4)
    assert own_threads() == 2, "torchrun's 1 is set back"
    launch(5, 8, 4, OMP_NUM_THREADS="3")
    assert own_threads() == 3
    launch(0, 16, 16, OMP_NUM_THREADS="1")
    assert own_threads() == 1


def test_a_run_from_before_there_were_several_processes_is_the_same_run(tiny_folder: Path) -> None:
    plan = sharing.plan_of(TINY_TABLE, tiny_folder, "one step", ONE)
    record = record_of(plan, prepare(plan), "train")
    engine = {name: value for name, value in record.engine.items() if name != "processes"}
    options = {name: value for name, value in record.options.items() if name != "norm_parts"}
    earlier = record.model_copy(update={"engine": engine, "options": options})
    assert differences(earlier, plan) == []
    assert (
        identifying(plan.options.model_dump()).keys()
        == identifying(Options().model_dump()).keys()
        == options.keys()
        - {
            "leave_unseen_out",
            "class_weights",
        }
    )


def test_what_several_processes_cannot_do_is_refused(tiny_folder: Path, tmp_path: Path, launch: Any) -> None:
    with pytest.raises(ConfigError, match=r"norm_parts is 2.*There are 1; start 2"):
        sharing.plan_of(TINY_TABLE, tiny_folder, "one step", ONE, norm_parts=2)
    with pytest.raises(ConfigError, match=r"without torch\.compile"):
        sharing.plan_of(TINY_TABLE, tiny_folder, "one step", TWO.model_copy(update={"compiled": True}))
    plan = sharing.plan_of(TINY_TABLE, tiny_folder, "one step", ONE, batch_size=1)
    run = Run(tmp_path, record_of(plan, prepare(plan), "train"))
    pair = Group()
    pair.size = 2
    with pytest.raises(ConfigError, match="2 processes share every batch, and a batch has 1 pictures"):
        Training(plan, prepare(plan), run, Watcher(), group=pair)
    launch(0, 2, 2)
    with pytest.raises(UsageError, match="Only trainings from scratch are shared"):
        carry_out(plan, prepare(plan), run, Watcher())
