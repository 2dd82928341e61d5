"""What a study refuses, says and shows beside carrying its rows out."""

from pathlib import Path

import pytest
from test_study import ENGINE, Told, tiny_study
from typer.testing import CliRunner

from tench.cli.training import app
from tench.config import load_study
from tench.data.sources import open_source
from tench.errors import UsageError
from tench.records import list_runs
from tench.studies.entries import Choices, entries
from tench.studies.publish import publish
from tench.studies.run import run_study


def test_a_finished_run_stands_under_the_name_of_each_row_that_it_is_of(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study = tiny_study(tiny_net, 'name = "a"', 'name = "b"\nreported_accuracy = 0.75')
    outcome = run_study(study, open_source(tiny_folder), tmp_path, ENGINE)
    assert {(row.name, row.reported_top1) for row in outcome.table.rows} == {("a", None), ("b", 0.75)}
    assert [run.record.row for run in list_runs(tmp_path).runs] == ["a"], "the record is of the row that made it"


def test_what_is_published_names_the_rows_of_the_study_that_publishes(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    first = tiny_study(tiny_net, 'name = "trial"').model_copy(update={"name": "earlier"})
    run_study(first, open_source(tiny_folder), tmp_path / "runs", ENGINE)
    study = tiny_study(tiny_net, 'name = "a"\nreported_accuracy = 0.75', 'name = "b"')
    outcome = run_study(study, open_source(tiny_folder), tmp_path / "runs", ENGINE)
    publish(outcome, tmp_path / "out")
    (made,), (shown,) = list_runs(tmp_path / "runs").runs, list_runs(tmp_path / "out" / "runs").runs
    assert (made.record.study, made.record.row) == ("earlier", "trial"), "the record beside the weights is of the row that made it"
    assert (shown.record.study, shown.record.row, shown.record.reported_accuracy) == (study.name, "a", 0.75)
    assert shown.record.identity == made.record.identity
    assert shown.predictions().names.tolist() == made.predictions().names.tolist()


def test_a_folder_with_runs_of_other_rows_is_refused_before_anything_is_trained(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    both = tiny_study(tiny_net, 'name = "a"', 'name = "b"\nlearn_rate = 0.5')
    source, results = open_source(tiny_folder), tmp_path / "results"
    run_study(both, source, tmp_path / "runs", ENGINE, save=results)
    before = (results / "table.json").read_bytes()
    told = Told()
    with pytest.raises(UsageError, match=r"Of the 2 runs published in .* does not have 1 \(for one .*, row 'b', seed 0\)"):
        run_study(both, source, tmp_path / "other", ENGINE, Choices(rows=("a",), seeds=(0, 1)), watcher=told, save=results)
    assert not list_runs(tmp_path / "other").runs, "nothing was trained"
    assert (results / "table.json").read_bytes() == before
    seeds = run_study(both, source, tmp_path / "runs", ENGINE, Choices(seeds=(0, 1)), watcher=told, save=results)
    assert len(seeds.runs) == len(list_runs(results / "runs").runs) == 4, "seeds may be added"
    assert f"Written to {results}: table.md, table.csv, table.json and the records of 4 runs." in told.said


def test_shares_of_the_file_hold_for_pretrained_rows_and_those_of_a_row_win(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study, googlenet = tiny_study(tiny_net, 'name = "a"\nshare = 0.2', 'name = "b"'), load_study("study").rows[-1]
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    changes = {"rows": (*study.rows, googlenet), "options": study.options | {"test_share": 0.5}, "training_pictures": 30}
    found, _ = entries(study.model_copy(update=changes), open_source(tiny_folder), ENGINE, Choices(), weights)
    assert [entry.plan.options.share for entry in found] == [0.2, 0.5, 0.5]
    assert [entry.plan.options.test_share for entry in found] == [0.5, 0.5, 0.5], "all rows are scored on the same pictures"


def test_a_recipe_for_a_frozen_network_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    study, weights = load_study("study"), tmp_path / "weights.safetensors"
    weights.touch()
    rows = (study.rows[-1].model_copy(update={"recipe": "fine_tune"}),)
    with pytest.raises(UsageError, match="no recipe changes"):
        entries(study.model_copy(update={"rows": rows}), open_source(tiny_folder), ENGINE, Choices(), weights)


def test_options_that_cannot_act_within_the_epochs_are_named(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    pairs = {"a": (1, 1), "b": (2, 2), "c": (3, 4)}
    rows = tuple(f'name = "{name}"\npatience = {patience}\ndrop_period = {period}' for name, (patience, period) in pairs.items())
    found, _ = entries(tiny_study(tiny_net, *rows), open_source(tiny_folder), ENGINE, Choices(options={"epochs": 3}), None)
    assert [entry.idle for entry in found] == ["", "patience 2", "patience 3, drop_period 4"]
    told = Told()
    run_study(tiny_study(tiny_net, rows[1]), open_source(tiny_folder), tmp_path, ENGINE, watcher=told)
    assert told.said[0] == "Within 2 epochs patience 2, drop_period 2 cannot act: b."


def test_seeds_in_another_precision_than_those_before_are_said_before_they_cost_anything(
    tiny_net: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    study, source = tiny_study(tiny_net, 'name = "a"', 'name = "b"'), open_source(tiny_folder)
    run_study(study, source, tmp_path, ENGINE, Choices(rows=("a",)))
    (run,) = list_runs(tmp_path).runs
    run.update(engine=run.record.engine | {"precision": "bfloat16"})
    said = "another precision than the finished ones of a (bfloat16), b (bfloat16): "
    for rows, seeds, expected in ((("a",), (0,), False), (("b",), (0,), False), (("a", "b"), (0, 1), True)):
        told = Told()
        run_study(study, source, tmp_path, ENGINE, Choices(rows=rows, seeds=seeds), watcher=told)
        assert any(said in text for text in told.said) == expected, (rows, seeds)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_study_is_computed_in_the_precision_that_it_is_asked_for(
    precision: str, tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_study(tiny_net, 'name = "a"', 'name = "single"\nrecipe = "r2018b"')
    monkeypatch.setenv("TENCH_RUNS", str(tmp_path))
    words = ["study", str(tiny_net.parent / "tiny_study.toml"), "--data", str(tiny_folder), "--device", "cpu", "--threads", "1"]
    done = CliRunner().invoke(app, [*words, "--no-exhibits", "--precision", precision], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = {run.record.row: run.record.engine["precision"] for run in list_runs(tmp_path).runs}
    assert found == {"a": precision, "single": "float32"}, "rules that ask for single precision keep it"
