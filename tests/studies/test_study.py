"""Studies: checked before anything is trained, not repeated, resumed, compared."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conftest import draw_tiny_folder
from stopping import StopAfter
from tench.config import Engine, Preprocessing, Study, load_study
from tench.data import imagenette
from tench.data.sources import open_source
from tench.errors import ConfigError, InterruptedTraining, NotFoundError, TableError, WeightsError
from tench.networks.build import build
from tench.networks.table import load_table
from tench.records import Run, list_runs
from tench.studies.entries import NO_WEIGHTS, Choices, entries
from tench.studies.forecast import forecast
from tench.studies.publish import publish
from tench.studies.run import run_study
from tench.training.loop import Watcher

ENGINE = Engine(threads=1)
TEN_COLOURS = {kind.wnid: (25 * n, 250 - 25 * n, 128) for n, kind in enumerate(imagenette.classes())}


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test here may find real weights."""
    monkeypatch.delenv("TENCH_WEIGHTS", raising=False)


class Told(Watcher):
    """Remembers what was said, and which runs were trained."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.trained: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def began(self, run: Run, epochs: int, steps_per_epoch: int, progress: Any) -> None:
        self.trained.append(run.id)


def tiny_study(net: Path, *rows: str) -> Study:
    rows = rows or ('name = "a"', 'name = "b"\noptimizer = "adam"\nreported_accuracy = 0.75')
    text = 'title = "Tiny"\n[options]\nepochs = 2\nbatch_size = 8\n'
    text += "".join(f'[[row]]\nnetwork = "{net}"\n{row}\n' for row in rows)
    path = net.parent / "tiny_study.toml"
    path.write_text(text, encoding="utf-8")
    return load_study(str(path))


def test_rows_keep_their_proportions_at_another_size(tiny_folder: Path) -> None:
    found, _ = entries(load_study("study"), open_source(tiny_folder), ENGINE, Choices(size_px=64), None)
    sizes = Counter(entry.plan.px for entry in found)
    assert sizes == {64: 11, 73: 4}, "224 becomes 64, and 256 becomes 73"


def test_a_table_smaller_than_the_studys_takes_the_size_that_was_asked_for(tiny_net: Path, tiny_folder: Path) -> None:
    study = tiny_study(tiny_net, 'name = "small"')
    for side in (16, 32):
        (entry,), _ = entries(study, open_source(tiny_folder), ENGINE, Choices(size_px=side), None)
        assert entry.plan.px == side


def test_without_choices_every_row_has_its_own_size_rules_and_options(tiny_folder: Path) -> None:
    found, missing = entries(load_study("study"), open_source(tiny_folder), ENGINE, Choices(), None)
    assert Counter(entry.plan.px for entry in found) == {224: 11, 256: 4}
    assert {entry.plan.recipe.name for entry in found} == {"r2018b"}
    assert [row.name for row in missing] == ["googlenet"]
    best = next(entry for entry in found if entry.name == "network_84_8153")
    assert (best.plan.options.learn_rate, best.plan.options.patience, best.plan.options.l2) == (0.001, 4, 1e-4)


def test_a_recipe_brings_its_own_batches_into_the_built_in_study(tiny_folder: Path) -> None:
    for recipe, batch_size in (("r2018b", 128), ("r2018b_small", 32)):
        found, _ = entries(load_study("study"), open_source(tiny_folder), ENGINE, Choices(recipe=recipe, size_px=64), None)
        assert {(entry.plan.options.batch_size, entry.plan.options.epochs) for entry in found} == {(batch_size, 30)}


def test_seeds_recipe_and_options_of_the_user_win(tiny_folder: Path) -> None:
    choices = Choices(recipe="modern", rows=("network_82_828",), seeds=(3, 4), options={"epochs": 2})
    found, _ = entries(load_study("study"), open_source(tiny_folder), ENGINE, choices, None)
    assert [entry.plan.options.seed for entry in found] == [3, 4]
    assert {(entry.plan.options.epochs, entry.plan.recipe.name, entry.plan.options.optimizer) for entry in found} == {(2, "modern", "adam")}


def test_the_quick_study_takes_a_part_of_many_pictures_and_all_of_few() -> None:
    study = load_study("quick")
    few = open_source("pictograms")
    found, _ = entries(study, few, ENGINE, Choices(), None)
    assert {(entry.plan.options.share, entry.plan.options.test_share) for entry in found} == {(1.0, 1.0)}
    assert [entry.plan.px for entry in found] == [37, 32, 32]
    many = study.model_copy(update={"training_pictures": 300, "test_pictures": 100})
    found, _ = entries(many, few, ENGINE, Choices(), None)
    assert {(entry.plan.options.share, entry.plan.options.test_share) for entry in found} == {(0.25, 0.25)}


def test_without_weights_googlenet_is_not_run_and_says_what_to_do(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study = tiny_study(tiny_net, 'name = "a"')
    rows = (*study.rows, load_study("study").rows[-1])
    outcome = run_study(study.model_copy(update={"rows": rows}), open_source(tiny_folder), tmp_path, ENGINE)
    assert [(row.name, row.reason) for row in outcome.not_run] == [("googlenet", NO_WEIGHTS)]
    assert outcome.table.rows[-1].notes == (f"not run: {NO_WEIGHTS}",)
    assert outcome.table.rows[-1].reported_top1 == 0.986
    assert len(outcome.runs) == 1


def test_all_rows_are_checked_before_the_first_is_trained(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    source = open_source(tiny_folder)
    broken = tmp_path / "broken.net"
    broken.write_text("ImageInput, 16x16\nConv, 3x3\nClassOutput, 3\n")
    missing = tiny_study(tiny_net, 'name = "a"', 'name = "b"').rows
    for network, expected in ((str(broken), TableError), ("network_no_such", NotFoundError)):
        rows = (missing[0], missing[1].model_copy(update={"network": network}))
        study = Study(name="x", title="x", row=rows)
        with pytest.raises(expected):
            run_study(study, source, tmp_path / "runs", ENGINE)
    with pytest.raises(NotFoundError, match="its rows are 'a', 'b'"):
        run_study(tiny_study(tiny_net), source, tmp_path / "runs", ENGINE, Choices(rows=("c",)))
    with pytest.raises(ConfigError, match="Take a batch size of 54 or less"):
        run_study(tiny_study(tiny_net, 'name = "a"', 'name = "b"\nbatch_size = 55'), source, tmp_path / "runs", ENGINE)
    with pytest.raises(ConfigError, match="epochs is 0"):
        run_study(tiny_study(tiny_net), source, tmp_path / "runs", ENGINE, Choices(options={"epochs": 0}))
    assert not list_runs(tmp_path / "runs").runs


def test_what_is_finished_is_not_run_again_and_what_was_interrupted_goes_on(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study, source = tiny_study(tiny_net), open_source(tiny_folder)
    with pytest.raises(InterruptedTraining):
        run_study(study, source, tmp_path, ENGINE, watcher=StopAfter(9))
    told = Told()
    outcome = run_study(study, source, tmp_path, ENGINE, watcher=told)
    assert len(outcome.runs) == 2
    assert len(told.trained) == 2
    assert len(list_runs(tmp_path).runs) == 2, "the interrupted run went on in its own folder"
    again = Told()
    repeated = run_study(study, source, tmp_path, ENGINE, watcher=again)
    assert again.trained == []
    assert [run.id for run in repeated.runs] == [run.id for run in outcome.runs]
    assert again.said[0] == "All 2 runs of the study are finished."


def test_a_row_that_fails_does_not_stop_the_rest(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    wild = tiny_net.with_name("wild.net")
    wild.write_text(tiny_net.read_text().replace("3x3, 8", "3x3, 8, norm=none"))
    study = tiny_study(tiny_net, 'name = "wild"\nlearn_rate = 100.0\nepochs = 20\npatience = 20', 'name = "tame"')
    rows = (study.rows[0].model_copy(update={"network": str(wild)}), study.rows[1])
    outcome = run_study(study.model_copy(update={"rows": rows}), open_source(tiny_folder), tmp_path, ENGINE)
    assert [run.record.row for run in outcome.runs] == ["tame"]
    assert outcome.not_run[0].name == "wild"
    assert "failed: The loss became" in outcome.not_run[0].reason
    again = run_study(study.model_copy(update={"rows": rows}), open_source(tiny_folder), tmp_path, ENGINE)
    assert [run.id for run in again.runs] == [run.id for run in outcome.runs]
    assert "failed: The loss became" in again.not_run[0].reason, "it would fail again, and is not tried"
    assert "tench runs delete tiny-16px" in again.not_run[0].reason


def test_a_row_that_cannot_go_on_exactly_is_said_and_does_not_stop_the_rest(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """Here because of another precision; its checkpoints stay, and --anyway goes on from them."""
    study, source = tiny_study(tiny_net), open_source(tiny_folder)
    with pytest.raises(InterruptedTraining):
        run_study(study, source, tmp_path, ENGINE, watcher=StopAfter(3))
    other = ENGINE.model_copy(update={"precision": "bfloat16"})
    outcome = run_study(study, source, tmp_path, other)
    assert [run.record.row for run in outcome.runs] == ["b"]
    assert [row.name for row in outcome.not_run] == ["a"]
    assert "engine precision: was float32, is bfloat16" in outcome.not_run[0].reason
    assert "--anyway" in outcome.not_run[0].reason
    anyway = run_study(study, source, tmp_path, other, anyway=True)
    assert [run.record.row for run in anyway.runs] == ["a", "b"]
    assert any("resumed although engine precision" in note for note in anyway.runs[0].record.notes)


def test_a_run_that_another_process_is_at_work_on_does_not_stop_the_rest(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study, source = tiny_study(tiny_net), open_source(tiny_folder)
    with pytest.raises(InterruptedTraining):
        run_study(study, source, tmp_path, ENGINE, watcher=StopAfter(3))
    (run,) = list_runs(tmp_path).runs
    run.update(status="running")
    with run.held():
        outcome = run_study(study, source, tmp_path, ENGINE)
    assert [run.record.row for run in outcome.runs] == ["b"]
    assert "is there already" in outcome.not_run[0].reason
    assert len(run_study(study, source, tmp_path, ENGINE).runs) == 2, "left alone, it counts as killed and goes on"


def test_two_rows_or_seeds_that_are_the_same_training_are_trained_once(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    told = Told()
    twins = tiny_study(tiny_net, 'name = "a"', 'name = "b"')
    outcome = run_study(twins, open_source(tiny_folder), tmp_path, ENGINE, Choices(seeds=(7, 7)), watcher=told)
    assert len(told.trained) == 1
    assert {run.id for run in outcome.runs} == set(told.trained)
    assert outcome.not_run == ()


def test_a_transfer_that_was_killed_is_made_again_and_a_damaged_one_does_not_stop_the_rest(
    tiny_net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for GoogLeNet is there at the third asking: not for the untrained run, then killed, then whole."""
    source = open_source(draw_tiny_folder(tmp_path / "ten", {"train": 6, "val": 2}, TEN_COLOURS))
    study = tiny_study(tiny_net, 'name = "a"\nmethod = "transfer"').model_copy(update={"options": {}})
    made = build(load_table(tiny_net).with_classes(1000), Preprocessing(height_px=16, width_px=16)).eval()
    damaged = WeightsError("The weights are damaged. Get them again.")

    def missing(*_: Any) -> Any:
        raise damaged

    monkeypatch.setattr("tench.training.transfer.load_pretrained", missing)
    outcome = run_study(study, source, tmp_path / "runs", ENGINE)
    assert [row.name for row in outcome.not_run] == ["a, untrained", "a"]
    assert "Get them again" in outcome.not_run[0].reason

    monkeypatch.setattr("tench.training.transfer.load_pretrained", lambda *_: made)
    with monkeypatch.context() as while_killed, pytest.raises(KeyboardInterrupt):
        while_killed.setattr("tench.training.transfer._finish", _killed)
        run_study(study, source, tmp_path / "runs", ENGINE)
    assert [run.record.status for run in list_runs(tmp_path / "runs").runs] == ["running"]
    outcome = run_study(study, source, tmp_path / "runs", ENGINE)
    assert [run.record.kind for run in outcome.runs] == ["untrained", "transfer"]
    assert len(list_runs(tmp_path / "runs").runs) == 2


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_demo_pictures_are_named_in_the_tables_title(tiny_net: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "share": 0.05, "test_share": 0.05}
    outcome = run_study(
        tiny_study(tiny_net, 'name = "a"'), open_source("pictograms"), tmp_path, ENGINE, Choices(seeds=(0,), options=options)
    )
    assert outcome.table.title.startswith("DEMO PICTURES, not Imagenette: demo pictures (pictograms), 20 test pictures")
    assert any("say nothing about photographs" in warning for warning in outcome.table.warnings)
    publish(outcome, tmp_path / "results")
    assert "DEMO PICTURES" in (tmp_path / "results" / "table.md").read_text().splitlines()[0]


def test_what_is_published_has_table_and_small_records_but_no_weights(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    outcome = run_study(tiny_study(tiny_net), open_source(tiny_folder), tmp_path / "runs", ENGINE)
    publish(outcome, tmp_path / "results")
    names = sorted(path.name for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert names == sorted(["table.csv", "table.json", "table.md", *["history.jsonl", "predictions.npz", "record.json"] * 2])
    rows = list(csv.DictReader((tmp_path / "results" / "table.csv").open()))
    assert {row["name"] for row in rows} == {"a", "b"}
    table = json.loads((tmp_path / "results" / "table.json").read_text())
    assert "discs" in table["title"]
    assert next(row for row in table["rows"] if row["name"] == "b")["reported_top1"] == 0.75


def test_the_forecast_counts_every_pass_over_the_pictures(tiny_net: Path, tiny_folder: Path) -> None:
    found, _ = entries(tiny_study(tiny_net), open_source(tiny_folder), ENGINE, Choices(), None)
    expected = forecast(found)
    macs = found[0].plan.network.counts(3, 16).macs
    # 2 epochs of 54 pictures forward and backward and 6 to select by, then 30 to score; two operations a multiply-add.
    operations = 2 * macs * (2 * (3 * 54 + 6) + 30)
    assert expected.seconds[0] == pytest.approx(operations / expected.flop_per_s)
    assert expected.total_s == pytest.approx(sum(expected.seconds))
    assert forecast([]).total_s == 0


@pytest.mark.slow
def test_the_quick_study_learns_on_demo_pictures(tmp_path: Path) -> None:
    """The main job, whole and as it is called: every own network must be clearly above chance (10 %)."""
    own = {"TENCH_RUNS": str(tmp_path / "runs"), "TENCH_WEIGHTS": ""}
    words = ["study", "--quick", "--data", "pictograms", "--format", "json"]
    done = subprocess.run([Path(sys.executable).with_name("tench"), *words], env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Data: demo pictures (pictograms)")
    table = json.loads(done.stdout)
    assert table["title"].startswith("DEMO PICTURES")
    scores = {row["name"]: row["top1"] for row in table["rows"] if row["kind"] == "run"}
    assert len(scores) == 3
    assert all(score > 0.30 for score in scores.values()), scores
    assert [row["notes"] for row in table["rows"] if row["kind"] == "not run"] == [[f"not run: {NO_WEIGHTS}"]]
