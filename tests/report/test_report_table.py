"""The table of results on the page: its blocks, bars on one scale, and columns that say something."""

from pathlib import Path

import pytest
from made_runs import made_run

from tench.report.gathering import gather
from tench.report.table import View, view
from tench.report.words import Words


def shown(folder: Path, lang: str = "en") -> View:
    return view(gather([], folder).table, Words(lang))


def test_a_mean_and_its_runs_stay_together(tmp_path: Path) -> None:
    for seed in (0, 1):
        made_run(tmp_path, "one", seed)
    made_run(tmp_path, "two", skill=0.95)
    blocks = shown(tmp_path).blocks
    assert [line.cells[0].text for line in blocks[0]] == ["two, seed 0"]
    assert blocks[1][0].cells[0].text == "one, mean of seeds: 2"
    assert [line.inner for line in blocks[1]] == [False, True, True]


def test_bars_hold_their_value_on_a_scale_of_twentieths(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    found = shown(tmp_path)
    column = [column.key for column in found.columns].index("interval")
    bar = found.blocks[0][0].cells[column].bar
    assert bar is not None
    assert 0 <= bar.left < bar.at < bar.left + bar.width <= 100
    result = run.record.result
    assert result is not None
    first, last = (float(part.split()[-1]) / 100 for part in bar.words.split("on a scale from ")[1].split(" to "))
    assert bar.at == pytest.approx(100 * (result.top1 - first) / (last - first))


def test_a_mean_of_epochs_has_one_decimal(tmp_path: Path) -> None:
    for seed, epochs in enumerate((2, 2, 3)):
        run = made_run(tmp_path, seed=seed)
        assert run.record.result is not None
        run.update(result=run.record.result.model_copy(update={"epochs": epochs}))
    found = shown(tmp_path, "pl")
    column = [column.key for column in found.columns].index("epochs")
    assert sorted(line.cells[column].text for line in found.blocks[0]) == ["2", "2", "2,3", "3"]


def test_empty_columns_are_left_out(tmp_path: Path) -> None:
    made_run(tmp_path)
    keys = {column.key for column in shown(tmp_path).columns}
    assert {"network", "top1", "interval", "optimizer", "epochs", "macs"} <= keys
    assert not {"data", "reported", "unseen", "patience", "tied", "notes"} & keys


def test_the_reports_figure_stands_beside_and_notes_are_translated(tmp_path: Path) -> None:
    made_run(tmp_path, reported_accuracy=0.8482, notes=("mine",), kind="untrained")
    found = shown(tmp_path, "pl")
    cells = dict(zip((column.key for column in found.columns), found.blocks[0][0].cells, strict=True))
    assert cells["reported"].text == "84,82"
    assert cells["notes"].text == "nieuczona przez tench; mine"
    assert cells["notes"].foreign
