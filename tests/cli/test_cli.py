"""The command line as people use it: in this process for speed, and a few times in one of its own."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tench.cli
from tench.records import list_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli") / "runs"


@pytest.fixture
def tench_(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line here; gives (exit code, standard output, standard error)."""
    monkeypatch.setenv("TENCH_RUNS", str(runs))
    monkeypatch.setenv("TENCH_NO_TUNING", "1")  # this process runs other tests too
    monkeypatch.delenv("TENCH_WEIGHTS", raising=False)

    def call(*words: object) -> tuple[int, str, str]:
        before = signal.getsignal(signal.SIGINT)
        monkeypatch.setattr("sys.argv", ["tench", *map(str, words)])
        try:
            tench.cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGINT, before)
        out, err = capsys.readouterr()
        return code, out, err

    return call


NOTHING_TO_RESUME = "{id} is finished; there is nothing to go on with. See it by `tench runs show {id}`."
TRAIN = ("--epochs", "8", "--batch-size", "8", "--learn-rate", "0.05", "--device", "cpu", "--threads", "1")


def test_from_training_to_deleting(
    tench_: Any, tiny_net: Path, tiny_folder: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = tench_("train", tiny_net, "--data", tiny_folder, *TRAIN)
    assert code == 0, err
    assert err.startswith("Data: discs: 60 training and 30 validation pictures in 3 classes, sha256 ")
    assert "epoch" in err
    assert "8/8" in err
    assert "95 % interval" in out
    (first,) = list_runs(runs).runs
    code, out, err = tench_("train", tiny_net, "--data", tiny_folder, *TRAIN, "--seed", "1", "--no-mirror", "--quiet", "--format", "json")
    assert (code, err) == (0, "")
    second = json.loads(out)
    assert (first.record.options["mirror"], second["options"]["mirror"]) == (True, False)
    assert second["seed"] == 1
    assert second["options"]["learn_rate"] == 0.05

    code, out, _ = tench_("runs")
    assert first.id in out
    assert second["run_id"] in out
    assert [row["run_id"] for row in json.loads(tench_("runs", "list", "--format", "json")[1])] == [second["run_id"], first.id]
    code, out, _ = tench_("runs", "show", first.id)
    assert "in r2018b" in out
    assert "recall, %" in out
    assert "expected calibration error" in out
    bins = json.loads(tench_("runs", "show", first.id, "--format", "json")[1])["reliability"]
    assert sum(line["pictures"] for line in bins) == 30
    assert sum(line["pictures"] * line["top1"] for line in bins) == pytest.approx(first.record.result.correct)
    assert len(json.loads(tench_("runs", "show", first.id, "--format", "json")[1])["history"]) == 8

    code, out, _ = tench_("compare", first.id, second["run_id"])
    assert code == 0
    assert "exact McNemar" in out
    assert json.loads(tench_("compare", first.id, second["run_id"], "--format", "json")[1])["pairs"][0]["n"] == 30

    good, bad = tiny_folder / "val" / "red" / "000.png", tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    code, out, err = tench_("predict", first.id, bad, good, "--top", "2", "--language", "pl")
    assert code == 1
    assert "bad.jpg" in err
    assert "red" in out, "the picture after the bad one was still looked at"
    code, out, _ = tench_("predict", first.id, good, "--format", "json", "--top", "1")
    assert json.loads(out)[0]["guesses"][0]["english"] == "red"
    heads = "photo,rank,id,english,polish,probability,familiarity,not_one_of_these"
    assert tench_("predict", first.id, good, "--format", "csv")[1].splitlines()[0] == heads

    named = tiny_folder / "val" / "green", tiny_folder / "val" / "b*" / "*.png"
    code, out, err = tench_("predict", first.id, *named, "--format", "csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1 + 20 * 3
    with good.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        assert json.loads(tench_("predict", first.id, "-", "--format", "json")[1])[0]["guesses"][0]["id"] == "red"
    assert tench_("predict", first.id, "-", good)[::2] == (2, "tench: - is one picture from standard input; name no others beside it.\n")

    code, out, err = tench_("export", first.id, "--output", tmp_path / "discs", "--threads", "1")
    assert code == 0, err
    assert "answers are the same" in out
    assert "red" in tench_("predict", tmp_path / "discs.zip", good, "--top", "1")[1]

    assert tench_("resume", first.id)[::2] == (1, f"tench: {NOTHING_TO_RESUME.format(id=first.id)}\n")
    code, _, err = tench_("compare", first.id, first.id)
    assert (code, err) == (2, "tench: A comparison needs at least two different runs; `tench runs` lists them.\n")

    mixed = Path(shutil.copytree(tiny_folder / "val", tmp_path / "mixed"))
    shutil.copy(tiny_folder / "train" / "red" / "003.png", mixed / "red" / "again.png")
    assert "1 of the 31 pictures were also in the run's training" in tench_("evaluate", first.id, "--data", mixed)[1]
    shared = json.loads(tench_("evaluate", first.id, "--data", mixed, "--format", "json")[1])["shared_with_training"]
    assert shared == ["red/again.png"]
    (mixed / "red").rename(mixed / "violet")
    code, out, err = tench_("evaluate", first.id, "--data", mixed)
    assert (code, out) == (2, "")
    assert "does not know the classes violet of mixed; it knows blue, green, red. Rename the folders" in err

    code, out, err = tench_("evaluate", first.id, "--data", tiny_folder)
    assert code == 0
    assert "of 30 right" in out
    assert json.loads(tench_("evaluate", first.id, "--data", tiny_folder, "--format", "json")[1])["n"] == 30

    code, out, _ = tench_("runs", "delete", second["run_id"], "--yes")
    assert code == 0
    assert [run.id for run in list_runs(runs).runs] == [first.id]
    first.checkpoints.mkdir()
    (first.checkpoints / "left.safetensors").write_bytes(bytes(3 * 2**20))
    code, out, _ = tench_("runs", "prune", "--dry-run")
    assert out.splitlines() == [str(first.checkpoints), "1 files and folders, 3 MiB would be freed."]
    assert first.checkpoints.exists()
    assert tench_("runs", "prune")[1].endswith("3 MiB freed.\n")
    assert not first.checkpoints.exists()
    assert first.weights_path.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "network_84_8154", "--data", "pictograms"), "network_84_8153"),
        (("train", "network_84_8153", "--data", "no-such-folder"), "no-such-folder"),
        (("train", "network_84_8153", "--data", "DATA", "--learn-rate", "-1"), "learn_rate is -1.0: input should be greater than 0"),
        (("train", "network_84_8153", "--data", "DATA", "--patience", "0"), "patience is 0"),
        (("train", "network_84_8153", "--data", "DATA", "--device", "tpu"), "take auto, cpu, cuda"),
        (("train", "network_84_8153", "--data", "DATA", "--recipe", "quick", "--drop-period", "3"), "has no effect under the one_cycle"),
        (("train", "network_84_8153", "--data", "DATA", "--recipe", "modern", "--semantics", "r2018b"), "name two recipes"),
        (("train", "network_84_8153", "--data", "DATA", "--size", "16"), "does not fit into the 1x1 pixels"),
        (("transfer", "googlenet", "--data", "DATA"), "tench weights get googlenet"),
        (("transfer", "googlenet", "--data", "DATA", "--learn-rate", "0.1"), "--fine-tune"),
        (("transfer", "googlenet", "--data", "DATA", "--freeze-until", "x"), "add --fine-tune"),
        (("study", "nothing.toml", "--data", "DATA"), "nothing.toml is not there"),
        (("study", "--rows", "network_1", "--data", "DATA"), "its rows are 'network_64_0764'"),
        (("study", "--seeds", "a-b", "--data", "DATA"), "The seeds 'a-b' cannot be read"),
        (("study", "--seeds", "5-2", "--data", "DATA"), "The seeds '5-2' cannot be read"),
        (("study", "--epochs", "0", "--data", "DATA"), "row network_64_0764: epochs is 0"),
        (("study", "--data", "DATA"), "Take a batch size of 60 or less"),
        (("train", "network_84_8153", "--data", "DATA", "--seed", "-1"), "seed is -1"),
        (("resume", "nothing"), "tench"),
        (("compare", "nothing", "else"), "nothing"),
        (("networks", "network_84_8154"), "network_84_8153"),
        (("networks", "network_84_8153", "--audit"), "googlenet"),
        (("networks", "network_84_8153", "--size", "3"), "Take larger pictures"),
        (("predict", "googlenet", "photo.jpg", "--format", "markdown"), "take one of these for --format"),
        (("predict", "googlenet", "photo.jpg", "--classes", "some"), "take 'imagenette' or 'all'"),
        (("evaluate", "googlenet", "--data", "DATA", "--format", "csv"), "take one of these for --format"),
        (("predict", "nothing", "photo.jpg"), "googlenet"),
    ],
)
def test_what_cannot_be_meant_ends_with_one_message_and_exit_code_2(
    tench_: Any, tiny_folder: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = tench_(*[str(tiny_folder) if word == "DATA" else word for word in words])
    assert code == 2, (out, err)
    assert message in err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("tench: ")


def test_networks(tench_: Any) -> None:
    rows = json.loads(tench_("networks", "--format", "json")[1])
    best = next(row for row in rows if row["name"] == "network_84_8153")
    assert len(rows) == 18
    assert (best["parameters"], best["macs"], best["input_px"], best["published"]) == (24_629_962, 4_962_000_384, 224, True)
    assert sum(not row["published"] for row in rows) == 5
    small = json.loads(tench_("networks", "network_84_8153", "--size", "64", "--format", "json")[1])
    assert small["input_px"] == 64
    assert small["rows"][1]["output"] == "64x64x64"
    assert "24,629,962" in tench_("networks", "network_84_8153")[1]
    assert "138,176,522" in tench_("networks")[1]
    audit = tench_("networks", "googlenet", "--audit")[1]
    assert "inception (5a)" in audit
    assert "1018.0K" in audit
    assert tench_("networks", "googlenet", "--classes", "10", "--format", "csv")[0] == 0
    assert json.loads(tench_("networks", "torchvision:resnet18", "--format", "json")[1])["counted"] == "module"


def test_data_info_and_check(tench_: Any, tiny_folder: Path, tmp_path: Path) -> None:
    rows = json.loads(tench_("data", "info", "--data", tiny_folder, "--format", "json")[1])["classes"]
    assert [(row["class"], row["train"], row["val"]) for row in rows] == [("blue", 20, 10), ("green", 20, 10), ("red", 20, 10)]
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    shutil.copy(folder / "train" / "red" / "000.png", folder / "val" / "red" / "twice.png")
    (folder / "train" / "red" / "empty.png").touch()
    code, out, _ = tench_("data", "check", "--data", folder)
    assert code == 1
    assert "train/red/000.png = val/red/twice.png" in out
    assert "1 unusable, 1 both in training and validation" in out
    assert "with --skip-bad it leaves them out" in out
    assert "Nearly identical pairs: 0 in training and validation, 0 within one of them." in out
    assert tench_("data", "check", "--data", tiny_folder)[0] == 0
    torn = Path(shutil.copytree(tiny_folder, tmp_path / "torn"))
    shutil.copy(torn / "train" / "red" / "000.png", torn / "train" / "blue" / "again.png")
    code, out, _ = tench_("data", "check", "--data", torn)
    assert code == 1
    assert "identical, in two classes: train/blue/again.png = train/red/000.png" in out
    code, out, _ = tench_("data", "check", "--data", torn, "--format", "json")
    assert (code, json.loads(out)["in_two_classes"]) == (1, [["train/blue/again.png", "train/red/000.png"]])


def test_data_check_finds_nearly_identical_pictures(tench_: Any, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    picture = Image.open(folder / "train" / "red" / "000.png")
    picture.save(folder / "train" / "red" / "again.bmp")
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "val" / "red" / "turned.png")
    code, out, _ = tench_("data", "check", "--data", folder)
    assert code == 0
    assert "nearly identical in training and validation: train/red/000.png ~ val/red/turned.png (likeness 1.00, mirrored)" in out
    assert "nearly identical within one of them: train/red/000.png ~ train/red/again.bmp (likeness 1.00)" in out
    assert "Nearly identical pairs: 2 in training and validation, 1 within one of them." in out
    found = json.loads(tench_("data", "check", "--data", folder, "--format", "json")[1])
    across, within = found["alike_in_training_and_validation"], found["alike_within_one"]
    assert [(pair["train"], pair["val"], pair["mirrored"]) for pair in across] == [
        ("train/red/000.png", "val/red/turned.png", True),
        ("train/red/again.bmp", "val/red/turned.png", True),
    ]
    assert [(pair["first"], pair["second"], pair["mirrored"]) for pair in within] == [("train/red/000.png", "train/red/again.bmp", False)]
    assert all(0.99 < pair["likeness"] <= 1 for pair in across + within)
    assert found["identical"] == []
    assert found["never_seen_in_pretraining"] is None
    assert "--seen-hashes FILE says it" in out
    listed = tmp_path / "seen.txt"
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}" for path in (tiny_folder / "train").rglob("*.png")]
    listed.write_text("\n".join(lines), encoding="utf-8")
    out = tench_("data", "check", "--data", folder, "--seen-hashes", listed)[1]
    assert "Never seen in pretraining: 1 training, 31 validation pictures." in out


def test_no_answer_is_shown_as_certain_and_what_learnt_from_drawings_says_so(
    tench_: Any, tiny_net: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tench.cli.using import _certainty

    assert [_certainty(p) for p in (0.0, 0.00004, 0.0001, 0.5, 0.9999, 0.99996, 1.0)] == [
        *("< 0.01", "< 0.01", "0.01", "50.00", "99.99", "> 99.99", "> 99.99")
    ]
    how = ("--data", "pictograms", "--share", "0.02", "--batch-size", "8", "--epochs", "1", "--no-exhibits", "--format", "json", "--quiet")
    run = json.loads(tench_("train", tiny_net, *how)[1])["run_id"]
    photo = tiny_folder / "val" / "red" / "000.png"
    assert "learnt from tench's own drawings: of photographs its answers say nothing" in tench_("predict", run, photo)[1]
    assert "uczyła się na rysunkach" in tench_("predict", run, photo, "--lang", "pl")[1]
    _, out, err = tench_("predict", run, photo, "--format", "json")
    assert json.loads(out) and "drawings" in err


def test_rows_of_a_study_may_have_commas_in_their_names() -> None:
    from tench.cli.training import _rows

    known = {"shallow, wide end, SGDM", "deep", "deep, narrow"}
    assert _rows("deep", known) == ("deep",)
    assert _rows("shallow, wide end, SGDM,deep, narrow , deep", known) == ("shallow, wide end, SGDM", "deep, narrow", "deep")
    assert _rows("unknown, deep", known) == ("unknown", "deep"), "what is not known is said by the study"


def test_doctor(tench_: Any, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.cli.looking.MEASURED_S", 0.05)
    monkeypatch.setenv("TENCH_DATA", str(tiny_folder))
    found = json.loads(tench_("doctor", "--format", "json")[1])
    assert "discs" in found["pictures"]
    assert "tench weights get googlenet" in found["GoogLeNet weights"]
    assert "GFLOP/s" in found["matrix product"]


def test_a_study_of_ones_own(tench_: Any, tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "mine.toml"
    head = 'title = "Mine"\ndescription = "What it is worth."\n[options]\nepochs = 1\nbatch_size = 8\n'
    study.write_text(f'{head}[[row]]\nname = "a"\nnetwork = "{tiny_net}"\n')
    code, out, err = tench_("study", study, "--data", tiny_folder, "--seeds", "0,1", "--threads", "1", "--save", tmp_path / "results")
    assert code == 0, err
    assert "Runs to be made: 2 of 2" in err
    assert "What it is worth." in out
    assert "mean of 2 seeds" in out
    assert (tmp_path / "results" / "table.md").exists()
    assert not list((tmp_path / "results").rglob("*.safetensors"))
    code, out, err = tench_("study", study, "--data", tiny_folder, "--seeds", "0,1", "--threads", "1", "--format", "csv")
    assert "All 2 runs of the study are finished" in err
    assert len(out.strip().splitlines()) == 4
    code, compared, err = tench_("compare", tmp_path / "results")
    assert code == 0, err
    assert "mean of 2 seeds" in compared, "a folder stands for the runs in it"
    _, of_another_recipe, _ = tench_("study", study, "--data", tiny_folder, "--recipe", "small", "--epochs", "2", "--threads", "1")
    assert "seed 0" in of_another_recipe
    assert "What it is worth." not in of_another_recipe, "what a study says of its rows holds by its own recipe"


def command(*words: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", "from tench.cli import main; main()", *map(str, words)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_how_to_go_on_and_does(
    tench_: Any, tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "stopped"
    process = command("train", tiny_net, "--data", tiny_folder, *TRAIN[2:], "--epochs", "2000", TENCH_RUNS=str(folder))
    deadline = time.monotonic() + 120
    while not list(folder.glob("*/checkpoints/step-*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    (run,) = list_runs(folder).runs
    assert err.strip().splitlines()[-1].endswith(f"tench resume {run.id}")
    epochs_done = len(run.history())
    run.update(options=run.record.options | {"epochs": epochs_done + 1})  # so that the test need not wait for 2,000
    monkeypatch.setenv("TENCH_RUNS", str(folder))
    exit_code, _, err = tench_("resume", run.id)
    assert exit_code == 0, err
    assert f"going on in epoch {epochs_done + 1}" in err
    assert len(list_runs(folder).runs[0].history()) == epochs_done + 1


SCRIPT = Path(sys.executable).with_name("tench")


def test_the_installed_command() -> None:
    assert subprocess.check_output([SCRIPT, "--version"], text=True) == f"tench {tench.__version__}\n"
    words = subprocess.check_output([SCRIPT, "--help"], text=True).split()
    verbs = {"train", "transfer", "study", "resume", "predict", "evaluate", "compare", "runs", "networks", "data", "weights", "doctor"}
    assert verbs <= set(words)
    for mistake in (["trane"], ["train"], ["train", "x", "--epoch", "3"], ["train", "x", "--threads", "0"]):
        done = subprocess.run([SCRIPT, *mistake], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, ""), mistake
        assert "Error: " in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in `tench networks | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([SCRIPT, "networks"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == ""


def test_debugging_shows_where_an_error_comes_from() -> None:
    for debug, expected in (("", "tench: There is no run"), ("1", "Traceback")):
        done = subprocess.run([SCRIPT, "runs", "show", "none"], env=os.environ | {"TENCH_DEBUG": debug}, capture_output=True, text=True)
        assert expected in done.stderr
        assert ("Traceback" in done.stderr) == bool(debug)


def test_help_is_instant_enough_to_explore() -> None:
    """No torch, no scipy, no rich tables: what --help imports is small."""
    script = "import sys; from tench.cli import main; sys.argv = ['tench', 'train', '--help']\ntry:\n main()\nexcept SystemExit:\n pass\n"
    script += "print([name for name in ('torch', 'scipy', 'torchvision', 'numpy') if name in sys.modules])"
    out = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert "--drop-rate-factor" in out
    assert out.splitlines()[-1] == "[]"


def test_the_first_line_says_that_pictures_are_only_a_demo(tench_: Any) -> None:
    code, _, err = tench_("data", "info", "--data", "pictograms")
    assert code == 0
    assert err.startswith("Data: demo pictures (pictograms): 1,200 training and 400 validation pictures")
