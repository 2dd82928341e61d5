"""What a report is of: runs by id, folder, study; arms with names of their own; what is damaged or unfinished is said."""

from pathlib import Path

import pytest
from made_runs import made_run

from tench.errors import NotFoundError, UsageError
from tench.report.gathering import gather


def test_runs_of_the_same_recipe_are_one_arm_and_the_best_comes_first(tmp_path: Path) -> None:
    for seed in (0, 1):
        made_run(tmp_path, "weak", seed, skill=0.4)
        made_run(tmp_path, "strong", seed, skill=0.95)
    found = gather([], tmp_path)
    assert [(arm.name, [run.record.seed for run in arm.runs]) for arm in found.arms] == [("strong", [0, 1]), ("weak", [0, 1])]
    assert len(found.pairs) == 6
    assert [(one.a, one.b, one.seeds) for one in found.across_seeds] == [("strong", "weak", (0, 1))]
    assert any(row.ties for row in found.table.rows)


def test_runs_are_named_by_id_folder_and_study(tmp_path: Path) -> None:
    one, two = made_run(tmp_path / "runs", "one", study="mine", row="a"), made_run(tmp_path / "runs", "two")
    ids = {run.id for run in gather([str(tmp_path)], tmp_path / "elsewhere").runs}
    assert ids == {one.id, two.id}
    assert [run.id for run in gather(["mine"], tmp_path / "runs").runs] == [one.id]
    assert [run.id for run in gather([two.id[:6], str(two.folder)], tmp_path / "runs").runs] == [two.id]


def test_arms_of_one_name_are_told_apart(tmp_path: Path) -> None:
    made_run(tmp_path, "same", recipe="modern")
    made_run(tmp_path, "same", recipe="quick")
    assert {arm.name for arm in gather([], tmp_path).arms} == {"same (16 px, modern)", "same (16 px, quick)"}


def test_what_cannot_be_shown_is_noted(tmp_path: Path) -> None:
    made_run(tmp_path, "good")
    broken = made_run(tmp_path, "broken")
    (broken.folder / "record.json").write_text("{", encoding="utf-8")
    running = made_run(tmp_path, "running")
    running.update(status="interrupted", result=None)
    found = gather([], tmp_path)
    assert (found.damaged, found.unfinished) == ((broken.folder.name,), (running.id,))
    assert [arm.name for arm in found.arms] == ["good"]


def test_different_pictures_are_not_paired(tmp_path: Path) -> None:
    made_run(tmp_path, "one")
    made_run(tmp_path, "two", data={"sha256": "e" * 64})
    found = gather([], tmp_path)
    assert found.pairs == ()
    assert len(found.on_same_pictures) == 2


def test_nothing_to_report_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        gather([], tmp_path)
    with pytest.raises(NotFoundError, match="No study of that name"):
        gather(["nothing"], tmp_path)
