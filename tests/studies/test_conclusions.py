"""A study's conclusions: tested over the seeds both rows have, on pictures that are new to both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_study import ENGINE, Told

from tench.config import Study, load_study
from tench.data.sources import open_source
from tench.errors import ConfigError, UsageError
from tench.evaluation import result
from tench.records import Predictions, Run
from tench.studies.conclusions import findings
from tench.studies.entries import Choices, entries
from tench.studies.outcome import Outcome
from tench.studies.publish import publish
from tench.studies.run import run_study


@pytest.fixture
def study(tiny_net: Path) -> Study:
    path = tiny_net.parent / "claims.toml"
    row = f'[[row]]\nnetwork = "{tiny_net}"\n'
    claims = '[[conclusion]]\nname = "x"\nclaim = "A beats B."\nbetter = "A"\nworse = "B"\n'
    claims += '[[conclusion]]\nname = "y"\nclaim = "A beats C."\nbetter = "A"\nworse = "C"\n'
    rows = f'{row}name = "A"\n{row}name = "B"\nlearn_rate = 0.001\n{row}name = "C"\naugment = false\n'
    path.write_text(f'title = "Claims"\n[options]\nepochs = 1\nbatch_size = 8\n{rows}{claims}', encoding="utf-8")
    return load_study(str(path))


@pytest.fixture
def outcome(study: Study, tiny_folder: Path, tmp_path: Path) -> Outcome:
    return run_study(study, open_source(tiny_folder), tmp_path, ENGINE, Choices(rows=("A", "B"), seeds=(0, 1)))


def scored(run: Run, correct: int, of: int, unseen_correct: int | None = None, pretrained: bool = False) -> Run:
    """The run as if it had that many test pictures right; with `unseen_correct`, of ten beside them that nothing saw."""
    right = np.arange(of) < correct
    beside = [] if unseen_correct is None else [n < unseen_correct for n in range(10)]
    good = np.array([*right, *beside])
    answers = np.log(np.where(good[:, None], [0.9, 0.1], [0.1, 0.9])).astype(np.float32)
    unseen = None if unseen_correct is None else np.arange(len(good)) >= of
    names = np.array([str(n) for n in range(len(good))])
    predictions = Predictions(answers, np.zeros(len(good), np.int64), names, np.arange(len(good)) < of, unseen)
    network = run.record.network.model_copy(update={"weights_sha256": "ab" if pretrained else None})
    found = result(predictions, ["x", "y"], pretrained)
    return Run(run.folder, run.record.model_copy(update={"result": found, "network": network}))


def test_a_claim_is_tested_on_the_seeds_of_both_rows(study: Study, outcome: Outcome) -> None:
    a0, a1, b0, b1 = outcome.runs
    runs = [scored(a0, 80, 100), scored(a1, 82, 100), scored(b0, 70, 100), scored(b1, 71, 100)]
    first, second = findings(study, runs)
    assert first.comparison is not None
    assert first.comparison.differences == pytest.approx((0.10, 0.11))
    # t(0.975, 1) = 12.706; the mean's standard error is 0.01 / sqrt(2) / sqrt(2)
    assert (first.comparison.low, first.comparison.high) == pytest.approx((0.105 - 0.0635, 0.105 + 0.0635), abs=1e-4)
    assert first.verdict == "supported"
    assert first.wants_more_seeds, "the interval is wider than a point, whatever it shows"
    assert second.verdict == "not tested"
    assert "A has 2 finished seeds, C 0" in second.sentence
    assert findings(study, runs[::-1]) == (first, second), "the order of runs is nothing"


def test_conclusions_are_corrected_together(study: Study, tiny_folder: Path, tmp_path: Path) -> None:
    runs = run_study(study, open_source(tiny_folder), tmp_path, ENGINE, Choices(seeds=(0, 1))).runs
    correct = {"A": (80, 82), "B": (70, 71), "C": (81, 80)}
    first, second = findings(study, [scored(run, correct[str(run.record.row)][run.record.seed], 100) for run in runs])
    assert first.comparison is not None
    assert second.comparison is not None
    # t = 0.105 / 0.005 = 21 with one degree of freedom: p is 1 - 2 atan(21) / pi
    assert first.comparison.p_t == pytest.approx(0.03030, abs=1e-4)
    assert (first.comparison.together, first.comparison.p_holm) == (2, pytest.approx(0.0606, abs=2e-4))
    assert second.comparison.p_holm == second.comparison.p_t
    assert (first.verdict, first.comparison.may_be_chance) == ("supported", True), "its interval is its own"
    assert "it may be chance" in first.sentence


def test_a_run_that_was_cut_off_counts_in_no_verdict(study: Study, outcome: Outcome) -> None:
    facts = {"epochs": 12, "best_epoch": 11}

    def cut_off(run: Run) -> Run:
        assert run.record.result is not None
        options = run.record.options | {"patience": 3, "epochs": 12}
        return Run(run.folder, run.record.model_copy(update={"options": options, "result": run.record.result.model_copy(update=facts)}))

    first, _ = findings(study, [cut_off(scored(run, 80, 100)) for run in outcome.runs])
    assert first.verdict == "not tested"
    assert first.cut_off == ("A", "B")
    assert "A, B used up the epochs allowed (--epochs) before patience ended it." in first.sentence
    assert not first.wants_more_seeds, "more epochs come first"


def changed(run: Run, **engine: str) -> Run:
    """The run computed in another way; or, where none is named, trained with another option than its row's own."""
    options = {} if engine else {"drop_period": 7}
    new = {"engine": run.record.engine | engine, "options": run.record.options | options}
    return Run(run.folder, run.record.model_copy(update=new))


def test_runs_of_two_designs_of_a_row_are_never_mixed(study: Study, outcome: Outcome) -> None:
    """A row keeps its name when its design is changed, and its runs of before may lie beside those of now."""
    a0, a1, b0, b1 = (scored(run, 80, 100) for run in outcome.runs)
    for runs in ([a0, a1, changed(a0), b0, b1], [a0, changed(a1), b0, b1], [a0, a1, a1, b0, b1]):
        first, _ = findings(study, runs)
        assert (first.verdict, first.mixed) == ("not tested", ("A",))
        assert "The runs of A differ in more than their seed; name those of one design." in first.sentence
        assert not first.wants_more_seeds, "fewer runs come first"


def test_where_a_study_went_on_in_another_precision_it_is_said(study: Study, outcome: Outcome) -> None:
    a0, a1, b0, b1 = (scored(run, 80, 100) for run in outcome.runs)
    said = "Products were of bfloat16 numbers in some of these trainings, of float32 in others."
    first, _ = findings(study, [a0, changed(a1, precision="bfloat16"), b0, b1])
    assert first.comparison is not None
    assert said in first.sentence
    assert said not in findings(study, [a0, a1, b0, b1])[0].sentence


def test_a_claim_that_turns_out_the_other_way_is_contradicted(study: Study, outcome: Outcome) -> None:
    a0, a1, b0, b1 = outcome.runs
    found, _ = findings(study, [scored(a0, 70, 100), scored(a1, 71, 100), scored(b0, 80, 100), scored(b1, 82, 100)])
    assert found.verdict == "contradicted"


def test_a_pretrained_network_is_compared_on_what_it_never_saw(study: Study, outcome: Outcome) -> None:
    a0, a1, b0, b1 = outcome.runs
    pretrained = {"pretrained": True}
    runs = [scored(a0, 99, 100, 5, **pretrained), scored(a1, 99, 100, 6, **pretrained), scored(b0, 50, 100, 5), scored(b1, 50, 100, 6)]
    found, _ = findings(study, runs)
    assert found.comparison is not None
    assert found.comparison.mean == 0, "not the 49 points on pictures it had seen"
    assert "Compared on the pictures that no pretraining saw." in found.sentence


def test_scores_on_different_pictures_are_never_paired(study: Study, outcome: Outcome) -> None:
    a0, a1, b0, b1 = outcome.runs
    runs = [scored(a0, 90, 100, 5, pretrained=True), scored(a1, 90, 100, 6, pretrained=True), scored(b0, 50, 100), scored(b1, 50, 100)]
    found, _ = findings(study, runs)
    assert found.comparison is not None
    assert found.comparison.mean == pytest.approx(0.4), "all on the test pictures, for the others have no such score"
    assert "may have seen the test pictures" in found.sentence


def test_verdicts_are_published(study: Study, outcome: Outcome, tmp_path: Path) -> None:
    import json

    publish(outcome, tmp_path / "out")
    verdicts: list[dict[str, Any]] = json.loads((tmp_path / "out" / "verdicts.json").read_text(encoding="utf-8"))
    assert [(entry["name"], entry["verdict"]) for entry in verdicts][1] == ("y", "not tested")
    assert verdicts[0]["comparison"]["seeds"] == [0, 1]


def test_a_conclusion_about_no_row_is_refused(study: Study) -> None:
    values = study.model_dump(by_alias=True)
    values["conclusion"][0]["better"] = "Z"
    with pytest.raises(ValueError, match="about Z, which is no row"):
        Study.model_validate(values)


def test_the_built_in_conclusions_change_one_thing_each() -> None:
    found = load_study("conclusions")
    rows = {row.name: row.model_dump(exclude={"name"}) for row in found.rows}
    assert len(found.conclusions) == 11
    one_thing = {
        "a": {"network", "method", "options"},  # the claim as it stands, which the next two take apart
        "b": {"options"},
        "c": {"options"},
        "d": {"replace"},
        "e": {"options"},
        "f": {"replace"},
        "a, architecture": {"network"},
    }
    for conclusion in found.conclusions:
        better, worse = rows[conclusion.better], rows[conclusion.worse]
        changed = {key for key in better if better[key] != worse[key]}
        assert changed == one_thing.get(conclusion.name, {"network"} if conclusion.name.startswith("g") else {"method", "options"})


def test_a_budget_cuts_the_study_short(study: Study, tiny_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from tench.studies import run as carried_out
    from tench.studies.forecast import Forecast

    monkeypatch.setattr(carried_out, "forecast", lambda to_do: Forecast((10.0,) * len(to_do), 1e9, decoding_s=5.0))
    source, told = open_source(tiny_folder), Told()
    first = run_study(study, source, tmp_path, ENGINE, Choices(budget_s=26.0), watcher=told)
    assert [run.record.row for run in first.runs] == ["A", "B"]
    assert [row.name for row in first.not_run] == ["C, seed 0"]
    assert any("budget of 26 s is enough for 2 of these runs" in text for text in told.said)
    again = run_study(study, source, tmp_path, ENGINE, Choices(budget_s=26.0))
    assert [run.record.row for run in again.runs] == ["A", "B", "C"]


def test_a_budget_that_cannot_be_read_is_refused() -> None:
    from tench.cli.app import seconds_of

    assert [seconds_of(text) for text in ("90min", "1.5 h", "600s")] == [5400, 5400, 600]
    for text in ("90", "min", "h5", ""):
        with pytest.raises(ConfigError, match="cannot be read"):
            seconds_of(text)


def test_a_row_can_fine_tune_with_the_studys_options_and_size(tiny_folder: Path, tmp_path: Path) -> None:
    found = load_study("conclusions")
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    entry = entries(found, open_source(tiny_folder), ENGINE, Choices(rows=("GoogLeNet pretrained",)), weights)[0][0]
    assert entry.kind == "transfer"
    assert entry.steps
    assert (entry.plan.px, entry.plan.options.learn_rate, entry.plan.recipe.name) == (48, 0.004, "small")


def test_runs_published_before_are_not_lost_from_the_table(study: Study, outcome: Outcome, tmp_path: Path) -> None:
    """Another command for the same folder, other pictures for one, would leave the records there and a table that knows nothing of them."""
    publish(outcome, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    less = Outcome(study, outcome.runs[:1], ())
    with pytest.raises(UsageError, match=r"Of the 4 runs published in .* this study, as it was asked for now, does not have 3"):
        publish(less, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    publish(less, tmp_path / "more")
    publish(outcome, tmp_path / "more")
    assert len(list((tmp_path / "more" / "runs").iterdir())) == 4, "more runs may be added"
