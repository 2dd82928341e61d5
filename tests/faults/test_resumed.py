"""What a run finds when it is to go on: damaged checkpoints, changed surroundings, a signal, a rate too high, memory too small."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nursery import Child, Nursery
from nursery import nursery as shared
from safetensors.torch import load_file

from conftest import TINY_TABLE, draw_tiny_folder
from tench.records import Run, list_runs

KILLED = -9


@pytest.fixture(scope="module")
def nursery() -> Nursery:
    return shared()


class Trainer:
    """The command line in processes of its own, on a table and pictures that a test may change."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.nursery, self.said = nursery, folder / "said.txt"
        self.net, self.data, self.runs = folder / "tiny.net", folder / "discs", folder / "runs"
        self.net.write_text(TINY_TABLE, encoding="utf-8")
        draw_tiny_folder(self.data, {"train": 20, "val": 10})

    def start(self, *words: object, **request: Any) -> Child:
        self.said.unlink(missing_ok=True)
        environment = {"TENCH_RUNS": str(self.runs)} | request.pop("environment", {})
        return self.nursery.start(words=[str(word) for word in words], environment=environment, output=self.said, **request)

    def __call__(self, *words: object, **request: Any) -> tuple[int, str]:
        """Exit code, and all it said."""
        code = self.start(*words, **request).wait()
        return code, self.said.read_text(encoding="utf-8")

    def words(self, **options: object) -> list[object]:
        given = {"epochs": 4, "batch-size": 8, "learn-rate": 0.05, "device": "cpu", "threads": 1} | options
        return [
            "train",
            self.net,
            "--data",
            self.data,
            "--no-exhibits",
            *(w for name, value in given.items() for w in (f"--{name}", value)),
        ]

    def train(self, **options: object) -> tuple[int, str]:
        return self(*self.words(**options))

    def killed(self) -> Run:
        """A run with two checkpoints, killed in the middle of its third epoch or so."""
        code, text = self(*self.words(), save_every_s=0.0, kill_at_sync=71)
        assert code == KILLED, text
        (run,) = list_runs(self.runs).runs
        assert len(list(run.checkpoints.glob("step-*.json"))) == len(list(run.checkpoints.glob("step-*.safetensors"))) == 2
        return run

    def resume(self, run: Run, *words: object, **request: Any) -> tuple[int, str]:
        return self("resume", run.id, "--no-exhibits", *words, **request)


@pytest.fixture
def tench_(nursery: Nursery, tmp_path: Path) -> Trainer:
    return Trainer(nursery, tmp_path)


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of the undisturbed training."""
    trainer = Trainer(nursery, tmp_path_factory.mktemp("whole"))
    code, text = trainer.train()
    assert code == 0, text
    return load_file(list_runs(trainer.runs).runs[0].weights_path)


def same(run: Run, whole: dict[str, torch.Tensor]) -> bool:
    ours = load_file(run.weights_path)
    return list(ours) == list(whole) and all(torch.equal(ours[name], whole[name]) for name in whole)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flipped,
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR."),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "null": lambda path: path.write_bytes(b'{"progress": null, "sha256": null}'),
    "too deep": lambda path: path.write_bytes(b"[" * 100_000),
}


@pytest.mark.parametrize("part", ["json", "safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_falls_back_and_says_so(
    tench_: Trainer, whole: dict[str, torch.Tensor], part: str, damage: str
) -> None:
    run = tench_.killed()
    newest = max(run.checkpoints.glob(f"step-*.{part}"))
    DAMAGES[damage](newest)
    code, text = tench_.resume(run)
    assert code == 0, text
    assert text.count("going back to the one before it") == 1, text
    assert str(newest.with_suffix(".json")) in text
    assert same(run, whole)


@pytest.mark.parametrize("damage", ["flipped", "missing", "empty"])
def test_damaged_best_weights_never_come_back(tench_: Trainer, whole: dict[str, torch.Tensor], damage: str) -> None:
    run = tench_.killed()
    for path in run.checkpoints.glob("best-*.safetensors"):
        DAMAGES[damage](path)
    code, text = tench_.resume(run)
    assert code == 0, text
    assert "are missing or damaged" in text
    assert same(run, whole), "trained anew, for the best weights cannot be had otherwise"


def test_with_both_checkpoints_damaged_it_begins_again_and_loses_no_later_one(tench_: Trainer, whole: dict[str, torch.Tensor]) -> None:
    """Those that are written now have lower numbers than the damaged ones, and must not be forgotten for them."""
    run = tench_.killed()
    for path in run.checkpoints.glob("step-*.safetensors"):
        flipped(path)
    code, text = tench_.resume(run, save_every_s=0.0, kill_at_sync=30)
    assert code == KILLED, text
    assert text.count("going back") == 2
    assert list(run.checkpoints.glob("step-*.json")), "the new ones are kept"
    code, text = tench_.resume(run)
    assert code == 0, text
    assert "going on in epoch" in text
    assert same(run, whole)


def other_picture(tench_: Trainer) -> None:
    path = tench_.data / "train" / "red" / "000.png"
    path.write_bytes((tench_.data / "train" / "blue" / "000.png").read_bytes())


def edited(tench_: Trainer, **changes: Any) -> None:
    (run,) = list_runs(tench_.runs).runs
    values = json.loads((run.folder / "record.json").read_text())
    for key, value in changes.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    (run.folder / "record.json").write_text(json.dumps(values))


CHANGES: dict[str, tuple[Callable[[Trainer], object], str]] = {
    "data": (other_picture, "the pictures: was "),
    "code": (lambda tench_: edited(tench_, code_sha256="0" * 64), "tench's code: was 000000000000..., is "),
    "versions": (lambda tench_: edited(tench_, versions={"torch": "2.0.0"}), "version of torch: was 2.0.0, is "),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_has_changed_is_refused_listed_and_with_anyway_recorded(tench_: Trainer, what: str) -> None:
    change, message = CHANGES[what]
    run = tench_.killed()
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != "record.json"}
    change(tench_)
    record = (run.folder / "record.json").read_bytes()
    code, text = tench_.resume(run)
    assert code == 1, text
    assert f"{run.id} cannot go on exactly as it began: {message}" in text
    assert "--anyway (recorded)" in text
    assert (run.folder / "record.json").read_bytes() == record
    assert {path: path.read_bytes() for path in before} == before, "a refused resume changes nothing"
    code, text = tench_.resume(run, "--anyway")
    assert code == 0, text
    assert any(note.startswith(f"resumed although {message}") for note in Run.read(run.folder).record.notes)


def test_an_other_network_or_other_options_is_another_run_and_the_study_says_so(tench_: Trainer) -> None:
    """By the command line a run goes on with the table and options of its record; a study has its own, and compares."""
    study, head = tench_.net.with_name("mine.toml"), 'title = "Mine"\n[options]\nepochs = 4\nbatch_size = 8\nlearn_rate = 0.05\n'
    row = f'[[row]]\nname = "a"\nnetwork = "{tench_.net}"\n'
    study.write_text(head + row)
    words = ["study", study, "--data", tench_.data, "--threads", "1", "--device", "cpu", "--no-exhibits"]
    code, text = tench_(*words, kill_at_sync=40, save_every_s=0.0)
    assert code == KILLED, text
    (begun,) = list_runs(tench_.runs).runs
    tench_.net.write_text(TINY_TABLE.replace("FullyConnected, 16", "FullyConnected, 17"))
    code, text = tench_(*words)
    assert code == 0, text
    runs = {run.id: run.record for run in list_runs(tench_.runs).runs}
    assert len(runs) == 2
    assert runs[begun.id].status == "running", "the other one is left as it was"
    study.write_text(head.replace("0.05", "0.04") + row)
    code, text = tench_(*words)
    assert code == 0, text
    assert len(list_runs(tench_.runs).runs) == 3


def test_a_run_that_is_not_there_names_those_that_can_go_on(tench_: Trainer) -> None:
    assert tench_("resume", "nothing")[0] == 2
    run = tench_.killed()
    code, text = tench_("resume", tench_.runs / "nothing")
    assert code == 2
    assert f"These can be resumed: {run.id}." in text
    assert tench_.resume(run)[0] == 0
    code, text = tench_("resume", "nothing")
    assert code == 2
    assert "No run there waits to be resumed." in text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_rest_gives_the_same_bits(tench_: Trainer, whole: dict[str, torch.Tensor], number: int, code: int) -> None:
    child = tench_.start(*tench_.words())
    assert child.began()
    ended = child.kill(number)
    text = tench_.said.read_text()
    if ended == 0:  # it came too late: on a fast machine the rest takes no longer than the signal
        pytest.skip("the training had ended before the signal came")
    assert ended == code, text
    (run,) = list_runs(tench_.runs).runs
    assert run.record.status == "interrupted"
    assert text.strip().endswith(f"everything is saved. To go on: tench resume {run.id}")
    assert tench_.resume(run)[0] == 0
    assert same(run, whole)


@pytest.mark.parametrize("semantics", ["modern", "r2018b"])
def test_a_rate_too_high_stops_and_nothing_of_it_is_ever_best(tench_: Trainer, semantics: str) -> None:
    tench_.net.write_text(TINY_TABLE.replace("3x3, 8", "3x3, 8, norm=none").replace("Dropout, 0.2\n", ""))
    code, text = tench_.train(**{"semantics": semantics, "learn-rate": 100, "epochs": 200, "patience": 1000})
    assert code == 1, text
    error = text[text.index("tench: ") :]
    assert "became" in error and "at step" in error and "--learn-rate" in error
    assert "Traceback" not in text
    (run,) = list_runs(tench_.runs).runs
    assert run.record.status == "failed"
    assert run.record.failure is not None and "is too high for this network" in run.record.failure
    for line in run.history():
        assert line["loss"] is not None
        assert not line["best"] or line["select_loss"] is not None
    for path in run.folder.rglob("*.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(path).values()), path


def test_weights_that_the_last_finite_loss_spoilt_are_not_saved(tench_: Trainer) -> None:
    """One step an epoch: the loss is looked at before the step that makes the weights infinite."""
    tench_.net.write_text(TINY_TABLE.replace("3x3, 8", "3x3, 8, norm=none").replace("Dropout, 0.2\n", ""))
    code, text = tench_.train(**{"batch-size": 54, "learn-rate": 100, "l2": 1e38})
    assert code == 1, text
    assert "A weight became infinite or nan in epoch 1, at step 1" in text
    (run,) = list_runs(tench_.runs).runs
    for path in run.folder.rglob("*.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(path).values()), path


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as only Linux does")
def test_memory_that_runs_out_all_the_same_names_a_smaller_batch_and_goes_on(tench_: Trainer) -> None:
    """A real limit on the memory of the process, below what the maps of 40,000 channels take, and --anyway past the estimate."""
    tench_.net.write_text(TINY_TABLE.replace("Conv, 3x3, 8\nMaxPool", "Conv, 3x3, 40000\nMaxPool"))
    used = int(Path(f"/proc/{tench_.nursery.process.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    code, text = tench_(*tench_.words(), "--anyway", memory_bytes=used + 600 * 2**20)
    assert code == 1, text
    assert "Traceback" not in text
    (run,) = list_runs(tench_.runs).runs
    assert f"Memory ran out in {run.id} with batches of 8" in text
    assert f"tench resume {run.id}" in text
    assert "--batch-size 4" in text
    assert run.record.status == "interrupted"
    child = tench_.start("resume", run.id, "--no-exhibits")
    assert child.began(), tench_.said.read_text()
    child.kill()


def test_without_a_gpu_it_runs_on_the_cpu_and_says_so_once(tench_: Trainer) -> None:
    study = tench_.net.with_name("mine.toml")
    study.write_text(f'title = "Mine"\n[options]\nepochs = 1\nbatch_size = 8\n[[row]]\nname = "a"\nnetwork = "{tench_.net}"\n')
    code, text = tench_("study", study, "--data", tench_.data, "--seeds", "0-2", "--threads", "1", "--no-exhibits", "--device", "cpu")
    assert code == 0, text
    assert text.count("No GPU is in use: everything runs on the CPU.") == 1
    code, text = tench_(*tench_.words(seed=9), "--quiet")
    assert "No GPU" not in text
