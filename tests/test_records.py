"""Run folders: written whole or not at all, found, listed, pruned; damaged ones named, foreign ones left alone."""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tench.errors import NotFoundError, RecordError
from tench.records import (
    ClassFacts,
    DataFacts,
    MachineFacts,
    NetworkFacts,
    Predictions,
    Result,
    Run,
    RunRecord,
    append_line,
    create_run,
    delete_run,
    list_runs,
    load_run,
    load_runs,
    prune,
    run_id,
    run_identity,
    write_bytes_atomically,
    write_json_atomically,
    written_atomically,
)

DAY_S = 24 * 3600.0


def record(name: str = "network_84_8153", seed: int = 0, **changes: Any) -> RunRecord:
    identity = run_identity({"network": name, "seed": seed})
    values: dict[str, Any] = {
        "run_id": run_id(name, 64, "modern", seed, identity),
        "identity": identity,
        "kind": "train",
        "created": "2024-05-01T10:00:00+00:00",
        "network": NetworkFacts(
            name=name, origin="published", kind="table", text="ImageInput, 64x64", parameters=7, macs=9, counted="table", input_px=64
        ),
        "data": DataFacts(name="Imagenette", kind="imagenette", sha256="d" * 64, is_demo=False, classes=(), n_test=4),
        "recipe": "modern",
        "rules": {"nesterov": False},
        "options": {"seed": seed, "scale_range": (0.9, 1.1)},
        "engine": {},
        "preprocessing": {},
        "machine": MachineFacts(system="Linux", processor="CPU", cores=2, memory_mib=4096),
        "versions": {"python": "3.11"},
        "code_sha256": "c" * 64,
        "seed": seed,
    }
    return RunRecord(**(values | changes))


def predictions(n: int = 4, **changes: Any) -> Predictions:
    values: dict[str, Any] = {
        "log_probabilities": np.log(np.full((n, 2), 0.5, dtype=np.float32)),
        "labels": np.zeros(n, dtype=np.int64),
        "names": np.array([f"val/żuraw/{index}.JPEG" for index in range(n)]),
        "test": np.ones(n, dtype=bool),
    }
    return Predictions(**(values | changes))


# --- identity and names ----------------------------------------------------------------------------------------------


def test_identity_is_sha256_of_canonical_json() -> None:
    expected = hashlib.sha256(b'{"a":[1,null],"b":{"x":0.5,"y":"\\u017c"}}').hexdigest()
    assert run_identity({"b": {"y": "ż", "x": 0.5}, "a": (1, float("nan"))}) == expected


def test_identity_changes_with_every_part() -> None:
    base = {"network": "Conv, 3x3, 64", "seed": 0}
    identities = {run_identity(base), run_identity(base | {"seed": 1}), run_identity(base | {"network": "Conv, 3x3, 65"})}
    assert len(identities) == 3


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("network_84_8153", "network_84_8153-64px-modern-s3-0123abcd"),
        ("timm:resnet18", "timm-resnet18-64px-modern-s3-0123abcd"),
        ("../nets/my net.net", "my-net.net-64px-modern-s3-0123abcd"),
        ("..", "unnamed-64px-modern-s3-0123abcd"),
        ("żółw", "w-64px-modern-s3-0123abcd"),
    ],
)
def test_run_id_is_a_plain_folder_name(network: str, expected: str) -> None:
    assert run_id(network, 64, "modern", 3, "0123abcdef") == expected


# --- records ---------------------------------------------------------------------------------------------------------


def test_record_survives_the_disk(tmp_path: Path) -> None:
    made = create_run(tmp_path, record(result=Result(correct=3, n=4, top1=0.75, top1_low=0.3, top1_high=0.95)))
    read = load_run(made.id, tmp_path).record
    assert read == made.record
    assert read.result is not None
    assert read.result.top1 == 0.75
    assert read.options["scale_range"] == [0.9, 1.1]


def test_no_nan_or_infinity_in_json(tmp_path: Path) -> None:
    facts = Result(correct=0, n=1, top1=0.0, top1_low=0.0, top1_high=0.9, nll=float("inf"), select_loss=float("nan"))
    run = create_run(tmp_path, record(result=facts, options={"learn_rate": float("nan"), "numpy": np.float32(0.5)}))
    run.append_history({"epoch": 1, "loss": np.float32("nan"), "top1": np.float64(0.5)})
    text = (run.folder / "record.json").read_text() + (run.folder / "history.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert run.record.result is not None
    assert run.record.result.nll is None
    assert run.record.options == {"learn_rate": None, "numpy": 0.5}
    assert run.history() == [{"epoch": 1, "loss": None, "top1": 0.5}]


def test_class_facts_come_from_a_dataclass() -> None:
    @dataclass(frozen=True)
    class ClassName:
        id: str
        english: str
        polish: str
        imagenet_index: int | None

    facts = DataFacts(name="x", kind="folder", sha256="0", is_demo=False, classes=(ClassName("n0", "fish", "ryba", 0),))
    assert facts.classes == (ClassFacts(id="n0", english="fish", polish="ryba", imagenet_index=0),)


@pytest.mark.parametrize(("rule", "epoch"), [("last", 9), ("best", 6)])
def test_weights_are_of_the_epoch_that_the_rules_say(rule: str, epoch: int) -> None:
    ended = Result(correct=3, n=4, top1=0.75, top1_low=0.3, top1_high=0.95, epochs=9, best_epoch=6)
    assert record(rules={"result": rule}, result=ended).weights_epoch == epoch
    assert record(rules={"result": rule}).weights_epoch is None


def test_update_changes_the_file_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    run.update(status="failed", failure="the loss became NaN")
    assert load_run(run.id, tmp_path).record.failure == "the loss became NaN"
    before = (run.folder / "record.json").read_bytes()
    with pytest.raises(RecordError, match="status"):
        run.update(status="done")
    with pytest.raises(RecordError, match="colour"):
        run.update(colour="red")
    assert (run.folder / "record.json").read_bytes() == before
    assert run.record.status == "failed"


@pytest.mark.parametrize("content", ["", '{"schema_version": 1', "[]", "{}", '{"schema_version": 1, "run_id": 7}', "\udcff"])
def test_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    run = create_run(tmp_path, record())
    path = run.folder / "record.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RecordError, match="Restore it from a copy") as caught:
        load_run(run.id, tmp_path)
    assert str(path) in str(caught.value)


def test_newer_schema_is_said(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    values = json.loads((run.folder / "record.json").read_text())
    (run.folder / "record.json").write_text(json.dumps(values | {"schema_version": 2, "new_field": 1}))
    with pytest.raises(RecordError, match=r"newer tench.*2.*up to 1.*Update tench"):
        load_run(run.id, tmp_path)


def test_local_paths_stay_out_of_the_record(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    assert run.local() == {}
    run.update_local(data=tmp_path / "pictures")
    run.update_local(weights="w.safetensors")
    assert run.local() == {"data": str(tmp_path / "pictures"), "weights": "w.safetensors"}
    assert "pictures" not in (run.folder / "record.json").read_text()


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_is_cut_for_a_resume(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    for epoch in (1, 2, 3):
        run.append_history({"epoch": epoch, "loss": 1 / epoch})
    run.truncate_history(2)
    run.append_history({"epoch": 3, "loss": 9.0})
    assert [line["loss"] for line in run.history()] == [1.0, 0.5, 9.0]
    run.truncate_history(0)
    assert run.history() == []


def test_unfinished_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    run.append_history({"epoch": 1})
    with (run.folder / "history.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert run.history() == [{"epoch": 1}]
    run.append_history({"epoch": 2})
    assert run.history() == [{"epoch": 1}, {"epoch": 2}]


def test_damaged_line_is_named(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    (run.folder / "history.jsonl").write_text('{"epoch": 1}\nrubbish\n{"epoch": 3}\n')
    with pytest.raises(RecordError, match=r"history\.jsonl, line 2"):
        run.history()


# --- predictions -----------------------------------------------------------------------------------------------------


def test_predictions_survive_the_disk(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    saved = predictions(unseen=np.array([True, False, False, True]), test=np.array([True, True, True, False]))
    run.save_predictions(saved)
    read = run.predictions()
    assert read.arrays().keys() == saved.arrays().keys()
    for name, array in read.arrays().items():
        assert np.array_equal(array, saved.arrays()[name])
        assert array.dtype == saved.arrays()[name].dtype
    assert read.only(read.test).names.tolist() == ["val/żuraw/0.JPEG", "val/żuraw/1.JPEG", "val/żuraw/2.JPEG"]


def test_unseen_may_be_absent(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    run.save_predictions(predictions())
    assert run.predictions().unseen is None
    assert run.predictions().only(np.array([True, False, False, False])).unseen is None


def test_missing_and_damaged_predictions(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    with pytest.raises(RecordError, match="not there"):
        run.predictions()
    run.save_predictions(predictions())
    path = run.folder / "predictions.npz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"rubbish"):
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match="is damaged") as caught:
            run.predictions()
        assert str(path) in str(caught.value)


def test_pickles_in_predictions_are_not_loaded(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    objects = np.array([{"not": "a string"}], dtype=object)
    with (run.folder / "predictions.npz").open("wb") as file:
        np.savez(file, names=objects, labels=np.zeros(1, np.int64))
    with pytest.raises(RecordError, match="is damaged"):
        run.predictions()


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.array([0, 1, 2, 0])},
        {"labels": np.array([0, -1, 0, 0])},
        {"labels": np.zeros(3, np.int64)},
        {"test": np.ones(4)},
        {"names": np.array([b"a"] * 4)},
        {"log_probabilities": np.full((4, 2), np.nan, np.float32)},
        {"log_probabilities": np.zeros(4, np.float32)},
    ],
)
def test_predictions_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        predictions(**changes)


# --- atomic writing --------------------------------------------------------------------------------------------------

WRITE_AND_DIE = """
import os, sys
from pathlib import Path
import tench.records.files as files
real_sync = files._sync
def die_before_the_rename(path):
    real_sync(path)
    os.kill(os.getpid(), 9)
files._sync = die_before_the_rename
files.write_json_atomically(Path(sys.argv[1]), {"new": True})
"""


def test_killed_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    path = run.folder / "record.json"
    before = path.read_bytes()
    ended = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert len(list(run.folder.glob(".*.tmp"))) == 1, "the killed process had written its temporary file"
    assert load_run(run.id, tmp_path).record == run.record
    prune(tmp_path, older_than_s=-DAY_S)
    assert not list(run.folder.glob(".*.tmp"))


def test_failed_block_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes_atomically(path, b"old")

    def write_half_of_it() -> None:
        with written_atomically(path) as temporary:
            temporary.write_bytes(b"ne")
            raise ValueError("something went wrong")

    with pytest.raises(ValueError, match="went wrong"):
        write_half_of_it()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


WRITE_TOO_MUCH = """
import resource, sys
from pathlib import Path
from tench.errors import RecordError
from tench.records import append_line, write_bytes_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
for write in (lambda: write_bytes_atomically(folder / "weights", bytes(2000)), lambda: append_line(folder / "history", {"x": "y" * 2000})):
    try:
        write()
        sys.exit("written although there was no room")
    except RecordError as error:
        assert "could not be written" in str(error) and "make room" in str(error), error
append_line(folder / "history", {"epoch": 2})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as only POSIX can")
def test_no_room_is_a_clear_error_and_the_old_files_stay(tmp_path: Path) -> None:
    write_bytes_atomically(tmp_path / "weights", b"old")
    append_line(tmp_path / "history", {"epoch": 1})
    assert subprocess.run([sys.executable, "-c", WRITE_TOO_MUCH, str(tmp_path)], check=False).returncode == 0
    assert (tmp_path / "weights").read_bytes() == b"old"
    assert (tmp_path / "history").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["history", "weights"]


def test_unwritable_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"could not be written.*try again"):
        write_json_atomically(tmp_path / "absent" / "x.json", {})


APPEND = """
import sys
from pathlib import Path
from tench.records import append_line
for number in range(200):
    append_line(Path(sys.argv[1]), {"writer": int(sys.argv[2]), "number": number, "filler": "x" * 500})
"""


def test_two_processes_append_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), str(number)]) for number in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for writer in range(2):
        assert [line["number"] for line in lines if line["writer"] == writer] == list(range(200))


CREATE = """
import sys, time
from pathlib import Path
from tench.errors import RecordError
from tench.records import RunRecord, create_run
base = RunRecord.model_validate_json(Path(sys.argv[2]).read_bytes())
while time.time() < float(sys.argv[3]):
    pass
for number in range(50):
    try:
        create_run(Path(sys.argv[1]), RunRecord(**(dict(base) | {"run_id": f"run-{number}", "notes": (sys.argv[4],)})))
        print(number)
    except RecordError as error:
        assert "is there already" in str(error)
"""


def test_two_processes_never_make_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(record().model_dump_json())
    arguments = [sys.executable, "-c", CREATE, str(tmp_path / "runs"), str(tmp_path / "base.json"), str(time.time() + 1.5)]
    makers = [subprocess.Popen([*arguments, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    made = [maker.communicate(timeout=60)[0].split() for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert sorted(made[0] + made[1], key=int) == [str(number) for number in range(50)]
    for name, numbers in zip("ab", made, strict=True):
        for number in numbers:
            assert load_run(f"run-{number}", tmp_path / "runs").record.notes == (name,)
    assert len(list((tmp_path / "runs").iterdir())) == 50, "no temporary folder is left"


# --- holding a run ---------------------------------------------------------------------------------------------------


def test_a_held_run_is_neither_taken_nor_deleted(tmp_path: Path) -> None:
    run = create_run(tmp_path, record(status="finished"))
    run.checkpoints.mkdir()
    assert not run.in_use
    with run.held():
        assert run.in_use
        other = Run.read(run.folder)
        with pytest.raises(RecordError, match="in use by another process"), other.held():
            pass
        with pytest.raises(RecordError, match="in use by another process"):
            delete_run(run.id, tmp_path)
        assert prune(tmp_path).paths == ()
    assert not run.in_use
    assert prune(tmp_path).paths == (run.checkpoints,)


def test_a_moments_question_keeps_nobody_from_holding_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks whether a run is in use has a lock on it too, for that moment."""
    monkeypatch.setattr("tench.records.files.TRIES", 1000)  # a busy machine lets a timer wait
    run = create_run(tmp_path, record())
    lock = run.folder / "lock"
    lock.touch()
    with lock.open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.03, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        with run.held():
            assert run.in_use
    lock.unlink()
    assert not run.in_use, "no lock, nobody who holds it"


HOLD = """
import sys, time
from pathlib import Path
from tench.records import Run
with Run.read(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    run = create_run(tmp_path, record())
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert run.in_use
        holder.kill()
    assert not run.in_use


# --- finding, listing, deleting ----------------------------------------------------------------------------------------


def test_load_run_by_id_path_and_prefix(tmp_path: Path) -> None:
    first, second = create_run(tmp_path, record("network_84_8153")), create_run(tmp_path, record("network_74_1656"))
    for reference in (first.id, first.folder, str(first.folder), "network_84"):
        assert load_run(reference, tmp_path).record == first.record
    with pytest.raises(NotFoundError, match="There is no run 'aaa"):
        load_runs("a" * 300, tmp_path)
    with pytest.raises(NotFoundError, match="More than one run begins with 'network'") as caught:
        load_run("network", tmp_path)
    assert first.id in str(caught.value)
    assert second.id in str(caught.value)


def test_load_run_suggests(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no runs are there at all"):
        load_run("x", tmp_path / "absent")
    run = create_run(tmp_path, record("network_84_8153"))
    with pytest.raises(NotFoundError, match=f"near it are {run.id}"):
        load_run(run.id.replace("8153", "8135"), tmp_path)
    with pytest.raises(NotFoundError, match=f"there are {run.id}"):
        load_run("zzz", tmp_path)


def test_runs_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_RUNS", str(tmp_path))
    run = create_run(tmp_path, record())
    assert [found.id for found in list_runs().runs] == [run.id]
    assert load_run(run.id).record == run.record


def test_list_runs_is_newest_first_skips_foreign_and_reports_damaged(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "absent").runs == ()
    old = create_run(tmp_path, record("old", created="2024-01-01T00:00:00+00:00"))
    new = create_run(tmp_path, record("new", created="2024-02-01T00:00:00+00:00"))
    bad = create_run(tmp_path, record("bad"))
    (bad.folder / "record.json").write_text("{")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("not a run")
    (tmp_path / "file").write_text("")
    listing = list_runs(tmp_path)
    assert [run.id for run in listing.runs] == [new.id, old.id]
    assert len(listing.damaged) == 1
    assert str(bad.folder / "record.json") in listing.damaged[bad.folder.name]


def test_delete_run(tmp_path: Path) -> None:
    run, other = create_run(tmp_path, record("a")), create_run(tmp_path, record("b"))
    (run.checkpoints / "deep").mkdir(parents=True)
    (run.checkpoints / "deep" / "x").write_text("x")
    assert delete_run(run.id, tmp_path) == run.folder
    assert not run.folder.exists()
    (other.folder / "record.json").write_text("damaged")
    delete_run(other.id, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_deleted_elsewhere(tmp_path: Path) -> None:
    runs, foreign = tmp_path / "runs", tmp_path / "elsewhere"
    run = create_run(runs, record("a"))
    outside = create_run(foreign, record("b"))
    (runs / "linked").symlink_to(outside.folder)
    (runs / "photographs").mkdir()
    for reference in (outside.folder, "linked", f"../elsewhere/{outside.id}"):
        with pytest.raises(RecordError, match="deletes nothing elsewhere"):
            delete_run(reference, runs)
    with pytest.raises(NotFoundError):
        delete_run("photographs", runs)
    assert load_run(outside.folder).record == outside.record
    assert sorted(entry.name for entry in runs.iterdir()) == sorted([run.id, "linked", "photographs"])


def test_deleting_does_not_follow_links(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "a.jpg").write_text("mine")
    run = create_run(tmp_path / "runs", record())
    (run.folder / "data").symlink_to(photographs)
    delete_run(run.id, tmp_path / "runs")
    assert (photographs / "a.jpg").read_text() == "mine"


def test_prune_removes_only_what_is_superfluous(tmp_path: Path) -> None:
    runs = {
        status: create_run(tmp_path, record(status.replace(" ", "-"), status=status.split()[0]))
        for status in ("finished", "interrupted", "failed long ago", "failed now")
    }
    for run in runs.values():
        run.checkpoints.mkdir()
        (run.checkpoints / "weights").write_bytes(bytes(2**20))
    ten_days_ago = time.time() - 10 * DAY_S
    os.utime(runs["failed long ago"].folder / "record.json", (ten_days_ago, ten_days_ago))
    leftover = tmp_path / ".run.0123.tmp"
    leftover.mkdir()
    (leftover / "record.json").write_text("{")
    os.utime(leftover, (ten_days_ago, ten_days_ago))
    expected = {runs["finished"].checkpoints, runs["failed long ago"].folder, leftover}

    trial = prune(tmp_path, dry_run=True)
    assert set(trial.paths) == expected
    assert all(path.exists() for path in expected)
    done = prune(tmp_path)
    assert done.paths == trial.paths
    assert 2.0 < done.freed_mib < 2.1
    assert not any(path.exists() for path in expected)
    assert runs["interrupted"].checkpoints.is_dir()
    assert runs["failed now"].checkpoints.is_dir()
    assert (runs["finished"].folder / "record.json").is_file()
    assert prune(tmp_path).paths == ()


def test_needs_no_torch() -> None:
    code = "import sys, tench.records, tench.comparison, tench.evaluation; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
