"""Own pictures: what is found in a folder, what is refused, what is proposed and done, with a stand-in for the pretrained network."""

import dataclasses
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import tench.cli
from conftest import draw_tiny_folder
from stopping import StopAfter
from tench import inference
from tench.config import Engine, Preprocessing
from tench.errors import DataError, InterruptedTraining, UsageError
from tench.networks.build import TableNetwork, build
from tench.networks.table import load_table
from tench.records import Run, list_runs
from tench.training import curve, transfer
from tench.wizard import propose as proposing
from tench.wizard.carry_out import carry_out
from tench.wizard.expected import expectations, nearest
from tench.wizard.look import Look, look
from tench.wizard.propose import Proposal, propose
from tench.wizard.words import of_look, of_outcome, of_proposal

ENGINE = Engine(threads=1)
PREPROCESSING = Preprocessing(height_px=16, width_px=16, mean=(100.0, 100.0, 100.0), std=(60.0, 60.0, 60.0))


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TENCH_NO_TUNING", "1")
    monkeypatch.delenv("TENCH_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pretrained(tiny_net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with 1,000 outputs from a fixed seed stands for GoogLeNet."""

    def load(reference: str, weights: Path | None) -> TableNetwork:
        return build(load_table(tiny_net).with_classes(1000), PREPROCESSING, "he", seed=11).eval()

    monkeypatch.setattr(transfer, "load_pretrained", load)
    monkeypatch.setattr(proposing, "load_pretrained", load)
    monkeypatch.setattr(proposing, "PRETRAINED", str(tiny_net))
    monkeypatch.setattr(proposing, "find_googlenet_weights", lambda weights: weights or Path("stand-in"))
    monkeypatch.setattr(proposing, "MOST_EPOCHS", 4)
    monkeypatch.setattr(inference, "_onnxruntime", lambda *_: None)


def discs(folder: Path, n: int = 5) -> Path:
    """A folder of three class folders with `n` pictures each."""
    draw_tiny_folder(folder / "drawn", {"train": n})
    (folder / "drawn" / "train").rename(folder / "photographs")
    return folder / "photographs"


def proposed(pictures: Look | Path, tmp_path: Path, **choices: Any) -> Proposal:
    found = pictures if isinstance(pictures, Look) else look(pictures)
    return propose(found, ENGINE, tmp_path / "runs", **choices)


def said(lines: Any) -> str:
    return "\n".join(lines)


# --- looking ---------------------------------------------------------------------------------------------------------


def test_a_look_counts_and_leaves_unusable_files_out(tmp_path: Path) -> None:
    folder = discs(tmp_path, 8)
    (folder / "red" / "broken.jpg").write_bytes((folder / "red" / "000.png").read_bytes()[:200])
    (folder / "red" / "note.txt").write_text("not a picture", encoding="utf-8")
    shutil.copy(folder / "blue" / "001.png", folder / "blue" / "copy.png")
    found = look(folder, "my discs")
    assert found.counts == {"blue": 9, "green": 8, "red": 8}
    assert [name for name, _ in found.source.skipped] == ["red/broken.jpg", "red/note.txt"]
    assert found.copies == (("blue/001.png", "blue/copy.png"),)
    assert not found.uneven
    text = said(of_look(found))
    assert text.startswith("my discs: 25 pictures in 3 classes: blue 9, green 8, red 8.")
    assert "2 files cannot be used and are left out: red/broken.jpg" in text
    assert "blue/001.png = blue/copy.png" in text


def test_a_picture_in_two_classes_is_refused(tmp_path: Path) -> None:
    folder = discs(tmp_path, 6)
    shutil.copy(folder / "blue" / "001.png", folder / "green" / "same.png")
    with pytest.raises(DataError, match=re.escape("blue/001.png = green/same.png")):
        look(folder)


def test_classes_with_too_few_different_pictures_are_named_with_their_counts(tmp_path: Path) -> None:
    folder = discs(tmp_path, 6)
    for name in ("001.png", "002.png"):
        (folder / "blue" / name).unlink()
        shutil.copy(folder / "green" / "000.png", folder / "green" / name)
    with pytest.raises(DataError, match=r"blue: 4\n  green: 4\nIt takes 5 of each class"):
        look(folder)
    shutil.rmtree(folder / "blue")
    (folder / "blue").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "blue" / "only.png")
    with pytest.raises(DataError, match="blue: 1"):
        look(folder)


def test_of_a_folder_with_train_and_val_three_must_be_there_to_learn_from_and_copies_across_are_told(tmp_path: Path) -> None:
    folder = draw_tiny_folder(tmp_path / "split", {"train": 4, "val": 3})
    shutil.copy(folder / "train" / "red" / "000.png", folder / "val" / "red" / "again.png")
    found = look(folder)
    assert [(shared.first, shared.second) for shared in found.leaking] == [("train/red/000.png", "val/red/again.png")]
    assert "train/red/000.png = val/red/again.png" in said(of_look(found))
    for number in (0, 1):
        (folder / "train" / "blue" / f"00{number}.png").unlink()
    with pytest.raises(DataError, match=r"blue: 5\nIt takes 5 of each class, 3 of them in train"):
        look(folder)


def test_nearly_the_same_picture_in_two_classes_is_told(tmp_path: Path) -> None:
    folder = discs(tmp_path, 5)
    grain = np.random.default_rng(0).normal(size=(12, 9, 3))
    scene = Image.fromarray((128 + 40 * grain).clip(0, 255).astype(np.uint8)).resize((240, 320))
    scene.save(folder / "red" / "scene.jpg", quality=95)
    scene.save(folder / "green" / "scene.jpg", quality=60)
    found = look(folder)
    assert {(pair.first, pair.second) for pair in found.alike} == {("green/scene.jpg", "red/scene.jpg")} or {
        (pair.second, pair.first) for pair in found.alike
    } == {("green/scene.jpg", "red/scene.jpg")}
    assert "in two classes" in said(of_look(found))


# --- proposing and doing ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pretrained")
def test_five_pictures_a_class_are_enough_and_the_second_time_all_is_found_again(tmp_path: Path) -> None:
    folder = discs(tmp_path)
    before = sorted(folder.rglob("*"))
    proposal = proposed(folder, tmp_path, own=True)
    assert [step.kind for step in proposal.steps] == ["transfer", "train"]
    assert proposal.seconds > 0
    assert not list_runs(tmp_path / "runs").runs
    done = carry_out(proposal, tmp_path / "report.html")
    record = done.first.record
    assert (record.data.n_fit, record.data.n_select, record.data.n_test) == (6, 3, 6)
    assert [run.record.kind for run in done.runs] == ["transfer", "train"]
    assert all(run.record.status == "finished" for run in done.runs)
    assert all((run.folder / "confidence.json").is_file() and run.exhibits() for run in done.runs)
    assert done.page.stat().st_size > 10_000
    assert [point.pictures for point in done.curve] == [3], "a quarter of two pictures is none"
    assert sorted(folder.rglob("*")) == before
    assert "of 6 test pictures rightly" in said(of_outcome(done))
    again = proposed(folder, tmp_path, own=True)
    assert all(step.finished for step in again.steps)
    assert again.seconds == 0
    text = said(of_proposal(again))
    assert all(f"finished already, as {run.id}" in text for run in done.runs)
    assert [run.id for run in carry_out(again, tmp_path / "report.html").runs] == [run.id for run in done.runs]
    assert len(list_runs(tmp_path / "runs").runs) == 2


@pytest.mark.usefixtures("pretrained")
def test_an_own_training_that_was_stopped_goes_on(tmp_path: Path) -> None:
    folder = discs(tmp_path, 10)
    with pytest.raises(InterruptedTraining):
        carry_out(proposed(folder, tmp_path, own=True), tmp_path / "report.html", watcher=StopAfter(3))
    again = proposed(folder, tmp_path, own=True)
    assert [step.finished for step in again.steps] == [True, False]
    assert "goes on" in said(of_proposal(again))
    done = carry_out(again, tmp_path / "report.html")
    assert len(list_runs(tmp_path / "runs").runs) == 2
    assert done.runs[1].record.result is not None
    assert done.runs[1].record.result.epochs == 4


def shades(folder: Path, counts: dict[str, int], brightness: dict[str, int]) -> Path:
    """Evenly grey pictures whose brightness spreads by 25 about their class's: the classes overlap."""
    generator = np.random.default_rng(8)
    for name, n in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(n):
            grey = generator.normal(brightness[name], 25) + generator.normal(0, 4, (20, 20, 3))
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.usefixtures("pretrained")
def test_balanced_weights_are_proposed_for_uneven_classes_and_raise_the_recall_of_the_rare_one(tmp_path: Path) -> None:
    folder = shades(tmp_path / "shades", {"common": 200, "rare": 20}, {"common": 100, "rare": 135})
    found = look(folder)
    assert found.uneven
    proposal = proposed(found, tmp_path)
    (step,) = proposal.steps
    assert step.how is not None
    assert step.plan.options.class_weights == "balanced"
    assert "classes weighted alike" in said(of_proposal(proposal))
    plain = dataclasses.replace(step.plan, options=step.plan.options.model_copy(update={"class_weights": "none"}))

    def recall(run: Run) -> float:
        assert run.record.result is not None
        return next(score.recall for score in run.record.result.per_class if score.id == "rare")

    weighted, unweighted = (recall(transfer.transfer(plan, step.how, tmp_path / "runs")) for plan in (step.plan, plain))
    assert weighted >= unweighted + 0.3


@pytest.mark.usefixtures("pretrained")
def test_even_classes_are_not_weighted(tmp_path: Path) -> None:
    folder = shades(tmp_path / "shades", {"a": 12, "b": 6}, {"a": 60, "b": 200})
    (step,) = proposed(folder, tmp_path).steps
    assert step.plan.options.class_weights == "none"


def test_without_weights_a_network_of_ones_own_is_proposed_and_how_to_get_weights(tmp_path: Path) -> None:
    proposal = proposed(discs(tmp_path), tmp_path, minutes=0.1)
    (step,) = proposal.steps
    assert (step.kind, step.plan.network.name, step.plan.px, step.plan.step_px) == ("train", "sprint", 32, 24)
    text = said(of_proposal(proposal))
    assert "`tench weights get googlenet`" in text
    assert "What to expect" not in text
    assert "--minutes" not in text
    proposal = proposed(discs(tmp_path / "again"), tmp_path, minutes=1e-9)
    assert proposal.steps[0].plan.options.epochs == 1
    assert "longer than the time given by --minutes" in said(of_proposal(proposal))


def test_an_own_network_for_letters_and_signs_sees_no_mirrored_pictures(tmp_path: Path) -> None:
    folder = discs(tmp_path)
    (usual,), (letters,) = (proposed(folder, tmp_path, mirror=mirror).steps for mirror in (True, False))
    assert (usual.plan.options.mirror, letters.plan.options.mirror) == (True, False)
    assert said(of_proposal(proposed(folder, tmp_path, mirror=False))).count(", never mirrored.") == 1


@pytest.mark.usefixtures("pretrained")
def test_nothing_is_written_among_the_pictures(tmp_path: Path) -> None:
    folder = discs(tmp_path)
    with pytest.raises(UsageError, match="name another place for the report by --output"):
        carry_out(proposed(folder, tmp_path), folder / "report.html")
    with pytest.raises(UsageError, match="the folder of runs by TENCH_RUNS"):
        carry_out(propose(look(folder), ENGINE, folder / "runs"), tmp_path / "report.html")
    assert not list(folder.glob("r*html"))


@pytest.mark.usefixtures("pretrained")
def test_the_curve_at_all_pictures_is_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = proposed(shades(tmp_path / "shades", {"a": 40, "b": 40}, {"a": 100, "b": 135}), tmp_path).steps
    assert step.how is not None
    run = transfer.transfer(step.plan, step.how, tmp_path / "runs")
    monkeypatch.setattr(curve, "DRAWS", 1)
    part, whole = curve.learning_curve(step.plan, step.how, shares=(0.25, 1.0))
    assert run.record.result is not None
    assert (part.pictures, whole.pictures) == (12, run.record.data.n_fit) == (12, 50)
    assert whole.top1 == run.record.result.top1
    assert curve.learning_curve(step.plan, step.how, shares=(0.25,)) == (part,), "the same draws each time"


def test_what_to_expect_was_measured_on_photographs_never_seen() -> None:
    rows, facts = expectations()
    assert facts.scored == 500
    assert facts.head_start == "random"
    assert len(facts.data_sha256) == len(facts.weights_sha256) == 64
    assert [row.pictures for row in rows] == sorted(row.pictures for row in rows)
    assert all(row.low <= row.top1 <= row.high for row in rows)
    assert [nearest(n).pictures for n in (1, 5, 6, 10_000)] == [3, 5, 5, 200]


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`tench new` here; gives its exit code and all it prints."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["tench", "new", *map(str, words), "--device", "cpu", "--threads", "1"])
        try:
            tench.cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        return code, "".join(capsys.readouterr())

    return call


@pytest.mark.usefixtures("pretrained")
def test_the_verb_from_pictures_to_the_next_commands(tmp_path: Path, new: Any) -> None:
    folder = discs(tmp_path)
    code, text = new(folder, "--plan-only")
    assert code == 0, text
    assert "1. A new last layer" in text
    assert "\n2. " not in text
    assert not list_runs(tmp_path / "runs").runs
    code, text = new(folder, "--own", "--minutes", "0.1", "--lang", "pl")
    assert code == 0, text
    runs = {run.record.kind: run.id for run in list_runs(tmp_path / "runs").runs}
    assert set(runs) == {"transfer", "train"}
    assert "photographs-report.html" in text
    for verb in ("predict", "serve", "export"):
        assert f"tench {verb} {runs['transfer']}" in text
    page = (tmp_path / "photographs-report.html").read_text(encoding="utf-8")
    assert 'lang="pl"' in page
    code, text = new(folder, "--own", "--name", "discs")
    assert code == 0, text
    assert text.count("finished already") == 2
    assert (tmp_path / "discs-report.html").is_file()


@pytest.mark.usefixtures("pretrained")
def test_questions_are_asked_at_a_terminal_only(tmp_path: Path, new: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = discs(tmp_path)
    (folder / "red" / "broken.jpg").write_bytes(b"nothing")
    asked: list[str] = []

    def confirm(text: str, **how: Any) -> bool:
        asked.append(text)
        if text == "Start?":
            raise typer.Abort
        return True

    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert new(folder)[0] != 0
    assert asked == ["Go on without the files that cannot be used?", "Start?"]
    assert not list_runs(tmp_path / "runs").runs
    assert new(folder, "--yes")[0] == 0
    assert len(asked) == 2
    (run,) = list_runs(tmp_path / "runs").runs
    assert list(run.record.data.skipped) == ["red/broken.jpg"]


@pytest.mark.usefixtures("pretrained")
def test_what_cannot_be_used_is_one_message(tmp_path: Path, new: Any) -> None:
    folder = discs(tmp_path, 3)
    code, text = new(folder)
    assert code == 1
    assert text.startswith("tench: photographs: these classes have too few different pictures")
    assert new(tmp_path / "nowhere")[0] == 2
    code, text = new(folder, "--output", folder / "page.html")
    assert code == 2
    assert "tench writes nothing there" in text


@pytest.mark.shared
def test_googlenet_learns_three_classes_from_five_photographs_each(shared_data: Path, shared_weights: Path, tmp_path: Path) -> None:
    wanted = {"n01440764": "fish", "n03028079": "church", "n03445777": "ball"}
    taken: Counter[str] = Counter()
    with tarfile.open(shared_data) as archive:
        for member in archive:
            parts = member.name.split("/")
            name = wanted.get(parts[-2]) if member.isfile() and "train" in parts else None
            if name and taken[name] < 5:
                (tmp_path / "own" / name).mkdir(parents=True, exist_ok=True)
                (tmp_path / "own" / name / parts[-1]).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
                taken[name] += 1
            if taken.total() == 15:
                break
    proposal = proposed(tmp_path / "own", tmp_path, weights=shared_weights)
    done = carry_out(proposal, tmp_path / "report.html")
    assert done.first.record.result is not None
    assert done.first.record.result.correct >= 5
    assert done.first.record.result.n == 6
