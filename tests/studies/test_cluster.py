"""A study on a Ray cluster of this machine: the same runs as here, several at a time; a worker that is killed costs nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from test_study import Told

import tench
from tench.config import Engine, load_study
from tench.data.sources import open_source
from tench.errors import ConfigError
from tench.records import Run, list_runs
from tench.studies.cluster import Cluster, _refuse_too_large, cluster_of
from tench.studies.entries import Choices, entries
from tench.studies.shelf import Shelf

STUDY = """
title = "Two networks"
recipe = "modern"
[options]
batch_size = 8
learn_rate = 0.05
epochs = {epochs}
patience = 1000
[[row]]
name = "first"
network = "{net}"
[[row]]
name = "second"
network = "{net}"
momentum = 0.5
"""
BROKEN = """
from torch import nn
class Broken(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, classes)
    def forward(self, x):
        return self.head(x.flatten(1)) * (float("nan") if len(x) > 2 else 1)
def make(classes):
    return Broken(classes)
"""


def study_file(folder: Path, net: Path, epochs: int) -> Path:
    path = folder / "two.toml"
    path.write_text(STUDY.format(net=net, epochs=epochs), encoding="utf-8")
    return path


def test_a_run_that_another_process_trains_is_left_to_it_and_ray_is_not_started_for_nothing(
    tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tench.studies.run.on_cluster", lambda *_: pytest.fail("a cluster was asked for"))
    study, runs = load_study(str(study_file(tmp_path, tiny_net, epochs=2))), tmp_path / "runs"
    first, second = tench.study(study, tiny_folder, runs=runs, exhibits=False, threads=1).runs
    first.update(status="running", result=None)
    with first.held():
        outcome = tench.study(study, tiny_folder, runs=runs, exhibits=False, threads=1, on="ray")
    assert [run.id for run in outcome.runs] == [second.id]
    assert [f"{first.id} is being trained by another process" in row.reason for row in outcome.not_run] == [True]
    assert Run.read(first.folder).record.status == "running"


def test_where_a_gpu_is_needed_only_machines_that_have_one_count(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study = load_study(str(study_file(tmp_path, tiny_net, epochs=2)))
    wanted, _ = entries(study, open_source(tiny_folder), Engine(device="cuda", threads=4), Choices(), None)
    without = {"Alive": True, "Resources": {"CPU": 64.0}}
    told = Told()
    _refuse_too_large(wanted, [without], told)
    assert told.said == ["No machine of the cluster has a GPU and a core for it; the runs begin when one joins."]
    with pytest.raises(ConfigError, match="has 2 cores for it"):
        _refuse_too_large(wanted, [without, {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}}], told)


@pytest.mark.parametrize(
    ("on", "address"), [("ray", None), ("ray://10.0.0.7:10001", "ray://10.0.0.7:10001"), ("ray:10.0.0.7:6379", "10.0.0.7:6379")]
)
def test_where_to_run_is_read(on: str, address: str | None) -> None:
    assert cluster_of(on) == Cluster(address)


@pytest.mark.parametrize("on", ["slurm", "ray:", "ray:host", "", "Ray"])
def test_anything_else_is_refused(on: str) -> None:
    with pytest.raises(ConfigError, match="ray:HOST:PORT"):
        cluster_of(on)


def test_the_shelf_delivers_what_is_new_once_and_forgets_what_is_gone() -> None:
    shelf = Shelf()
    assert shelf.put("k", "try", {"r/a": b"1", "r/b": b"2"}, ["r/a", "r/b"])
    shelf.say("well")
    first = shelf.fetch()
    assert (first.changed, first.gone, first.said) == ({"k": {"r/a": b"1", "r/b": b"2"}}, {"k": []}, ("well",))
    assert shelf.fetch().changed == {}
    assert shelf.put("k", "try", {"r/a": b"3"}, ["r/a"])
    second = shelf.fetch()
    assert (second.changed, second.gone) == ({"k": {"r/a": b"3"}}, {"k": ["r/b"]})
    assert shelf.begin("k", "try") == {"r/a": b"3"}
    shelf.forget("k")
    assert not shelf.put("k", "try", {"r/a": b"old"}, ["r/a"]), "a machine that comes back when its run has long ended elsewhere"
    assert shelf.fetch().changed == {}
    assert shelf.begin("k", "try") == {}
    folder = Path(shelf.folder.name)
    shelf.close()
    assert not folder.exists()


def test_of_two_tries_of_a_run_the_shelf_listens_to_the_later_one() -> None:
    shelf = Shelf()
    assert shelf.begin("k", "first") == {}
    assert shelf.put("k", "first", {"r/a": b"1"}, ["r/a"])
    assert shelf.begin("k", "second") == {"r/a": b"1"}
    assert not shelf.put("k", "first", {"r/a": b"old"}, ["r/a"]), "its machine was given up, and has come back"
    assert shelf.put("k", "second", {"r/a": b"2"}, ["r/a"])
    assert shelf.fetch().changed == {"k": {"r/a": b"2"}}


def test_what_is_too_much_for_one_delivery_comes_a_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.studies.shelf.MOST_BYTES", 10)
    shelf = Shelf()
    for key in "abc":
        shelf.put(key, "try", {"r/large": bytes(6), "r/small": b"1"}, ["r/large", "r/small"])
    deliveries = [shelf.fetch(), shelf.fetch()]
    assert [sorted(one.changed) for one in deliveries] == [["a", "b"], ["c"]]
    assert [one.whole for one in deliveries] == [False, True]
    assert all(files.keys() == {"r/large", "r/small"} for one in deliveries for files in one.changed.values()), (
        "a run's files come together"
    )


def test_without_ray_it_says_what_to_install(tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"tench\[cluster\]"):
        tench.study(study_file(tmp_path, tiny_net, 1), tiny_folder, on="ray", runs=tmp_path / "runs", threads=1)


def test_where_no_cluster_is_it_says_so(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No Ray cluster can be joined at 127\.0\.0\.1:9 .*RAY_AUTH_TOKEN"):
        tench.study(study_file(tmp_path, tiny_net, 1), tiny_folder, on="ray:127.0.0.1:9", runs=tmp_path / "runs", threads=1)


def weights_of(runs: Path) -> dict[str, dict[str, bytes]]:
    """Of every finished run, all tensors by their names."""
    finished = [run for run in list_runs(runs).runs if run.record.result]
    return {run.id: {name: tensor.numpy().tobytes() for name, tensor in load_file(run.weights_path).items()} for run in finished}


@pytest.mark.slow
def test_on_a_cluster_the_same_runs_come_out_and_one_that_fails_stops_no_other(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    path = study_file(tmp_path, tiny_net, 3)
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    text = f'[[row]]\nname = "hopeless"\nnetwork = "{tmp_path / "broken.py"}:make"\nsize_px = 16\n'
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
    how: dict[str, Any] = {"threads": 1, "device": "cpu"}
    choices = Choices(seeds=(0, 1))
    here = tench.study(load_study(str(path)), tiny_folder, choices=choices, runs=tmp_path / "here", **how)
    there = tench.study(load_study(str(path)), tiny_folder, choices=choices, runs=tmp_path / "there", on="ray", **how)
    assert len(here.runs) == len(there.runs) == 4
    assert weights_of(tmp_path / "here") == weights_of(tmp_path / "there")
    assert [run.record.row for run in there.runs] == ["first", "first", "second", "second"]
    assert all(run.exhibits() for run in there.runs)
    assert [one.name for one in there.not_run] == ["hopeless", "hopeless"]
    again = tench.study(load_study(str(path)), tiny_folder, choices=choices, runs=tmp_path / "there", on="ray", **how)
    assert [run.id for run in again.runs] == [run.id for run in there.runs]


def tasks() -> set[int]:
    """Processes that carry out a run on Ray."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if place.read_bytes().startswith(b"ray::_task"):
                found.add(int(place.parent.name))
        except OSError:
            continue
    return found


LOOPBACK = "0100007F"
"""127.0.0.1 as /proc/net has it, in tcp6 behind zeros."""


def listened_on(*names: str) -> list[str]:
    """Local addresses, as /proc/net has them, on which processes of these names listen."""
    sockets = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if any(name.encode() in (place / "cmdline").read_bytes()[:200] for name in names):
                sockets |= {link.readlink().name[8:-1] for link in (place / "fd").iterdir() if link.readlink().name.startswith("socket:[")}
        except OSError:
            continue
    lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    listening = [(words[1].split(":")[0], words[9]) for words in lines if words[3] == "0A"]
    return [address for address, inode in listening if inode in sockets]


EPOCHS = 250


class Going:
    """A study of one run on a cluster of this machine, which has got some way."""

    def __init__(self, folder: Path, net: Path, data: Path) -> None:
        words = ["study", str(study_file(folder, net, EPOCHS)), "--data", str(data), "--rows", "first", "--threads", "1", "--no-exhibits"]
        self.command = [sys.executable, "-m", "tench", *words]
        self.runs, self.whole = folder / "there", folder / "here"
        self.process = self.start()
        ended = time.monotonic() + 120
        while self.epochs() < 10:
            assert time.monotonic() < ended
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            time.sleep(0.2)

    def start(self) -> "subprocess.Popen[str]":
        environment = os.environ | {"TENCH_NO_TUNING": "1", "TENCH_RUNS": str(self.runs)}
        return subprocess.Popen([*self.command, "--on", "ray"], env=environment, stderr=subprocess.PIPE, text=True)

    def epochs(self) -> int:
        """That the driver knows of."""
        return max((len(path.read_text().splitlines()) for path in self.runs.glob("*/history.jsonl")), default=0)

    def is_as_undisturbed(self) -> None:
        """It has ended as one does that nobody disturbed, not on a cluster either."""
        environment = os.environ | {"TENCH_NO_TUNING": "1", "TENCH_RUNS": str(self.whole)}
        subprocess.run(self.command, env=environment, check=True, capture_output=True)
        assert weights_of(self.whole) == weights_of(self.runs)
        (run,) = list_runs(self.runs).runs
        assert [line["epoch"] for line in run.history()] == list(range(1, EPOCHS + 1))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_a_killed_worker_costs_nothing(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """kill -9 in mid-training: the run goes on from its checkpoint, and ends with the weights of one that was left alone."""
    before = tasks()
    going = Going(tmp_path, tiny_net, tiny_folder)
    victims = tasks() - before
    assert victims
    addresses = listened_on("ray::", "raylet", "gcs_server")
    assert len(addresses) >= 3, "Ray's processes were found, and what they listen on"
    assert [one for one in addresses if not one.endswith(LOOPBACK)] == [], "without an address it listens on loopback alone"
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    _, said = going.process.communicate(timeout=240)
    assert going.process.returncode == 0, said
    going.is_as_undisturbed()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_saves_what_every_run_has_done(tiny_net: Path, tiny_folder: Path, tmp_path: Path, number: int, code: int) -> None:
    going = Going(tmp_path, tiny_net, tiny_folder)
    known = going.epochs()
    going.process.send_signal(number)
    _, said = going.process.communicate(timeout=120)
    assert (going.process.returncode, said.splitlines()[-1]) == (
        code,
        "tench: Stopped; what every run had done is saved. The same command goes on.",
    )
    (run,) = list_runs(going.runs).runs
    assert run.record.status == "interrupted", "it was not killed: it ended its step"
    assert known <= going.epochs() < EPOCHS
    _, said = going.start().communicate(timeout=240)
    going.is_as_undisturbed()


@pytest.mark.slow
def test_a_run_that_fits_on_no_machine_is_refused(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """Ray itself would wait for ever."""
    with pytest.raises(ConfigError, match=r"is to take 999 threads, and the largest machine of the cluster has \d+ cores"):
        tench.study(study_file(tmp_path, tiny_net, 1), tiny_folder, on="ray", runs=tmp_path / "runs", threads=999)
