"""A disk that is really full, a few MiB of memory mounted as one: what was saved stays, the error is clear, and with room it goes on."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from nursery import Nursery
from nursery import nursery as shared
from safetensors.torch import load_file

from tench.data.sources import open_source
from tench.errors import TenchError
from tench.records import Run, list_runs
from tench.studies.publish import publish_runs

pytestmark = pytest.mark.root
SIZE_KIB = 2048


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of SIZE_KIB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("ROOT IS NEEDED to mount a small disk: run this test as root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tench-test", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"A SMALL DISK CANNOT BE MOUNTED here, root or not: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def nursery() -> Nursery:
    return shared()


def fill(disk: Path, but_kib: int) -> Path:
    """Fill the disk up to `but_kib`; the file that does so."""
    path = disk / "filler"
    with path.open("wb") as file:
        file.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - but_kib * 1024))
    return path


def words(net: Path, data: Path) -> list[str]:
    return [
        *("train", str(net), "--data", str(data), "--epochs", "3", "--batch-size", "8", "--learn-rate", "0.05"),
        *("--device", "cpu", "--threads", "1", "--no-exhibits"),
    ]


def assert_nothing_half(runs: Path) -> None:
    assert list_runs(runs).damaged == {}
    for path in runs.rglob("*.safetensors"):
        load_file(path)
    for run in list_runs(runs).runs:
        run.history()
    assert list(runs.rglob(".*.tmp")) == []


def test_a_training_on_a_full_disk_loses_nothing_and_goes_on_with_room(
    nursery: Nursery, small_disk: Path, tiny_net: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """With ever more room it comes ever further: to its record, its first checkpoint, its last, its weights, its predictions."""
    command, runs = words(tiny_net, tiny_folder), small_disk / "runs"
    assert nursery.run(words=command, environment={"TENCH_RUNS": str(tmp_path / "whole")}, output=tmp_path / "whole.txt") == 0
    (whole,) = list_runs(tmp_path / "whole").runs
    stages: set[str] = set()
    for number, room_kib in enumerate([0, 8, 12, 20, 36, 52, 80, 112, 160, 256, 512]):
        shutil.rmtree(runs, ignore_errors=True)
        filler, said = fill(small_disk, room_kib), tmp_path / f"said-{number}.txt"
        code = nursery.run(words=command, environment={"TENCH_RUNS": str(runs)}, output=said)
        text = said.read_text()
        assert "Traceback" not in text
        assert_nothing_half(runs)
        begun = list_runs(runs).runs
        if code == 0:
            stages.add("finished")
            break
        assert code == 1, text
        error = text[text.index("tench: ") :]
        assert "No space left on device" in error, text
        assert "ake room" in error or "end the folder" in error, text
        filler.unlink()
        if not begun:
            stages.add("before its record")
            continue
        (run,) = begun
        assert run.record.status != "failed", "the training is not at fault"
        stages.add("with checkpoints" if list(run.folder.glob("checkpoints/*.json")) else "without checkpoints")
        assert f"tench resume {run.id}" in error, text
        assert nursery.run(words=["resume", run.id, "--no-exhibits"], environment={"TENCH_RUNS": str(runs)}, output=said) == 0, (
            said.read_text()
        )
        (run,) = list_runs(runs).runs
        assert run.record.status == "finished"
        assert run.record.failure is None
        ours, theirs = load_file(run.weights_path), load_file(whole.weights_path)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert np.array_equal(run.predictions().log_probabilities, whole.predictions().log_probabilities)
    assert stages == {"before its record", "without checkpoints", "with checkpoints", "finished"}


def test_a_full_disk_is_foreseen_with_numbers(
    nursery: Nursery, small_disk: Path, tiny_net: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    fill(small_disk, 40)
    elsewhere = {"TENCH_RUNS": str(small_disk / "runs")}
    nursery.run(words=words(tiny_net, tiny_folder), environment=elsewhere, output=tmp_path / "said")
    assert f"MiB are free in {small_disk / 'runs'}" in (tmp_path / "said").read_text()


@pytest.mark.parametrize("room_kib", [0, 4])
def test_every_other_writer_says_so_too(
    nursery: Nursery, small_disk: Path, tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_kib: int
) -> None:
    """The cache, a bundle, a report, the exhibits, published results: one message, exit code 1, and nothing half written."""
    assert nursery.run(words=words(tiny_net, tiny_folder), environment={"TENCH_RUNS": str(tmp_path / "runs")}) == 0
    (run,) = list_runs(tmp_path / "runs").runs
    elsewhere = {"TENCH_RUNS": str(tmp_path / "runs")}
    fill(small_disk, room_kib)
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "cache": (words(tiny_net, tiny_folder), {"TENCH_CACHE": str(small_disk / "cache"), "TENCH_RUNS": str(tmp_path / "others")}),
        "bundle": (["export", run.id, "--output", str(small_disk / "bundle"), "--threads", "1"], elsewhere),
        "report": (["report", run.id, "-o", str(small_disk / "page" / "report.html")], elsewhere),
    }
    for what, (command, environment) in commands.items():
        said = tmp_path / f"{what}.txt"
        assert nursery.run(words=command, environment=environment, output=said) == 1, said.read_text()
        assert "No space left on device" in said.read_text(), what
        assert "Traceback" not in said.read_text(), what
    with pytest.raises(TenchError, match="No space left on device"):
        publish_runs([run], small_disk / "results")
    monkeypatch.setenv("TENCH_CACHE", str(small_disk / "cache"))
    with pytest.raises(TenchError, match="No space left on device"):
        open_source(tiny_folder)
    assert list(small_disk.rglob(".*.tmp")) == []


def test_exhibits_that_find_no_room_leave_the_run_finished(
    nursery: Nursery, small_disk: Path, tiny_net: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    assert nursery.run(words=words(tiny_net, tiny_folder), environment={"TENCH_RUNS": str(small_disk / "runs")}) == 0
    (run,) = list_runs(small_disk / "runs").runs
    fill(small_disk, 8)
    said = tmp_path / "said"
    assert nursery.run(words=["explain", run.id], environment={"TENCH_RUNS": str(small_disk / "runs")}, output=said) == 1
    assert "No space left on device" in said.read_text()
    assert Run.read(run.folder).record.status == "finished"
    assert Run.read(run.folder).exhibits() is None
