"""Intervals, tests and tables: against published values, values by hand, and other ways of computing the same."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tench.comparison import (
    NotRun,
    ResultsTable,
    as_csv,
    as_json,
    as_markdown,
    as_rich,
    compare,
    compare_pair,
    compare_pairs,
    duration,
    holm,
    mcnemar_exact,
    pairs_as_markdown,
    pairs_as_rich,
    results_table,
    score,
    wilson,
)
from tench.errors import RecordError, UsageError
from tench.records import (
    ClassFacts,
    DataFacts,
    MachineFacts,
    NetworkFacts,
    Predictions,
    Result,
    Run,
    RunRecord,
    Score,
    create_run,
)

# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_that_of_the_literature(correct: int, n: int, low: float, high: float) -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857, table I, method 3."""
    assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (3329, 3925), (134, 134), (5, 10)])
def test_wilson_is_that_of_scipy(correct: int, n: int) -> None:
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert wilson(correct, n) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert 0 <= wilson(correct, n)[0] <= correct / n <= wilson(correct, n)[1] <= 1


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_cannot_be(correct: int, n: int) -> None:
    with pytest.raises(UsageError, match="There is no interval"):
        wilson(correct, n)


def paired(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.array([True] * (both + only_a) + [False] * (only_b + neither))
    b = np.array([True] * both + [False] * only_a + [True] * only_b + [False] * neither)
    return a, b


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(1, 8, 20 / 512), (8, 1, 20 / 512), (0, 6, 2 / 64), (3, 3, 1.0), (0, 0, 1.0), (0, 1, 1.0), (2, 7, 2 * (1 + 9 + 36) / 512)],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p: float) -> None:
    found = mcnemar_exact(*paired(50, only_a, only_b, 20))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p == pytest.approx(p, rel=1e-12)


def test_mcnemar_of_many_pictures_is_the_exact_sum() -> None:
    only_a, only_b = 310, 402
    n = only_a + only_b
    exact = 2 * sum(math.comb(n, k) for k in range(only_a + 1)) / 2**n
    assert mcnemar_exact(*paired(3000, only_a, only_b, 213)).p == pytest.approx(exact, rel=1e-9)


def test_mcnemar_needs_the_same_pictures() -> None:
    with pytest.raises(UsageError, match="3 and 4"):
        mcnemar_exact(np.ones(3, bool), np.ones(4, bool))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_score_holds_its_interval() -> None:
    assert score(81, 263) == Score(correct=81, n=263, top1=81 / 263, low=wilson(81, 263)[0], high=wilson(81, 263)[1])


# --- records to compare ----------------------------------------------------------------------------------------------

CLASSES = tuple(ClassFacts(id=word, english=word, polish=word) for word in ("fish", "dog"))


def result_of(correct: int, n: int = 100, **changes: Any) -> Result:
    low, high = wilson(correct, n)
    return Result(correct=correct, n=n, top1=correct / n, top1_low=low, top1_high=high, **changes)


def record(row: str = "network_84_8153", correct: int | None = 80, seed: int = 0, **changes: Any) -> RunRecord:
    network = {"origin": "published", "kind": "table", "text": row, "parameters": 24_629_962, "macs": 4_962_000_000} | changes.pop(
        "network", {}
    )
    data = {"name": "Imagenette", "kind": "imagenette", "sha256": "d" * 64, "is_demo": False, "classes": CLASSES, "n_test": 100}
    options = {
        "optimizer": "sgdm",
        "learn_rate": 0.001,
        "patience": 4,
        "drop_period": 5,
        "drop_rate_factor": 0.65,
        "augment": True,
        "seed": seed,
    }
    values: dict[str, Any] = {
        "run_id": f"{row}-s{seed}",
        "identity": "0" * 64,
        "status": "finished",
        "kind": "train",
        "created": "2024-05-01T10:00:00+00:00",
        "row": row,
        "network": NetworkFacts(**({"name": row, "counted": "table", "input_px": 64} | network)),
        "data": DataFacts(**(data | changes.pop("data", {}))),
        "recipe": "modern",
        "rules": {"select_from": "training"},
        "options": options | changes.pop("options", {}),
        "engine": {},
        "preprocessing": {},
        "machine": MachineFacts(system="Linux", processor="CPU", cores=2, memory_mib=4096),
        "versions": {},
        "code_sha256": "c" * 64,
        "seed": seed,
        "result": None if correct is None else result_of(correct, epochs=7, train_s=185.0),
    }
    return RunRecord(**(values | changes))


# --- the table -------------------------------------------------------------------------------------------------------


def names(table: ResultsTable) -> list[str]:
    return [row.name for row in table.rows]


def test_rows_are_sorted_and_what_was_not_run_comes_last() -> None:
    runs = [record("a", 70, reported_accuracy=0.9), record("b", None, status="running"), record("c", 90, reported_accuracy=0.6)]
    missing = [NotRun("googlenet", "no weights; do `tench weights get googlenet`", 0.986)]
    table = results_table(runs, not_run=missing)
    assert names(table) == ["c", "a", "b", "googlenet"]
    assert table.rows[2].notes == ("running",)
    assert table.rows[3].notes == ("not run: no weights; do `tench weights get googlenet`",)
    assert table.rows[3].reported_top1 == 0.986
    assert names(results_table(runs, by="reported")) == ["a", "c", "b"]
    assert names(results_table(runs, by="name")) == ["a", "b", "c"]
    with pytest.raises(UsageError, match=r"cannot be sorted by 'beauty'.*top1"):
        results_table(runs, by="beauty")  # type: ignore[arg-type]


def test_a_row_holds_what_the_issue_asks_for() -> None:
    (row,) = results_table([record(correct=80, reported_accuracy=0.8482)]).rows
    assert (row.optimizer, row.learn_rate, row.patience, row.drop_period, row.drop_rate_factor) == ("sgdm", 0.001, 4, 5, 0.65)
    assert (row.augment, row.size_px, row.reported_top1) == (True, 64, 0.8482)
    assert (row.correct, row.n, row.top1) == (80, 100, 0.8)
    assert (row.top1_low, row.top1_high) == pytest.approx((0.7112, 0.8666), abs=1e-4)
    assert (row.epochs, row.train_s, row.parameters, row.macs) == (7, 185.0, 24_629_962, 4_962_000_000)
    assert row.options == "64 px, modern, rate 0.001, x0.65 every 5, patience 4, augmented"


def test_title_names_the_data_and_demo_pictures_cannot_pass_for_photographs() -> None:
    assert results_table([record()]).title == f"Imagenette, 100 test pictures, data {'d' * 12}"
    demo = results_table([record(data={"name": "demo pictures (pictograms)", "is_demo": True})])
    for text in (as_markdown(demo), as_json(demo), drawn(demo)):
        assert "DEMO PICTURES, not Imagenette" in text
        assert "say nothing about photographs" in " ".join(text.split())
    part = results_table([record(data={"test_share": 0.1})])
    assert "10% of the test pictures" in part.title


def test_different_data_in_one_table_is_said() -> None:
    table = results_table([record("a"), record("b", data={"name": "birds", "sha256": "e" * 64})])
    assert table.title.startswith("Different data, not comparable")
    assert table.warnings[0].startswith("These runs were scored on different pictures")
    assert {row.data for row in table.rows} == {"Imagenette dddddddd", "birds eeeeeeee"}
    assert "| birds eeeeeeee |" in as_markdown(table)
    assert "Imagenette dddddddd" not in as_markdown(results_table([record("a"), record("b")])), "one data set is in the title alone"


def test_notes_say_what_makes_a_score_less_than_it_seems() -> None:
    faithful = record("faithful", rules={"select_from": "test"}, network={"origin": "reconstructed"}, notes=("batch 32",))
    assert results_table([faithful]).rows[0].notes == ("reconstructed", "stopped on its test pictures", "batch 32")
    longer = record("faithful", network={"origin": "reconstructed"}, notes=("layers reconstructed", "Layers reconstructed: from a plan."))
    assert results_table([longer]).rows[0].notes == ("Layers reconstructed: from a plan.",), "what a longer note says too is left out"
    seen = result_of(98, unseen=score(49, 50), seen=score(95, 96))
    google = record("googlenet", kind="transfer", transfer={"method": "frozen"}, network={"weights_sha256": "f" * 64}, result=seen)
    (row,) = results_table([google]).rows
    assert (row.optimizer, row.options, row.seed) == (None, "64 px, frozen backbone", 0), "options a frozen backbone does not use"
    tuned = results_table([google.model_copy(update={"transfer": {"method": "fine_tune"}})]).rows[0]
    assert tuned.options.startswith("64 px, modern, fine-tune, rate 0.001")
    assert row.notes == ("mostly seen in pretraining",)
    assert row.unseen is not None
    assert (row.unseen.correct, row.unseen.n) == (49, 50)
    unknown = record("timm:x", kind="transfer", network={"weights_sha256": "f" * 64})
    assert results_table([unknown]).rows[0].notes == ("pretrained; which pictures it had seen is not known",)
    failed = record("bad", None, status="failed", failure="the loss became NaN")
    assert results_table([failed]).rows[0].notes == ("failed: the loss became NaN",)
    resumed = record("again", None, status="running", failure="the loss became NaN")
    assert results_table([resumed]).rows[0].notes == ("running",), "why an earlier try failed is no longer the state"
    untrained = record("googlenet", kind="untrained", network={"weights_sha256": "f" * 64}, result=seen, rules={"select_from": "test"})
    (row,) = results_table([untrained]).rows
    assert row.notes == ("mostly seen in pretraining", "not trained by tench")
    assert (row.optimizer, row.options, row.seed) == (None, "64 px", None)


def test_seeds_stand_together_under_their_mean() -> None:
    runs = [record("a", 70, 0), record("b", 75), record("a", 80, 1), record("a", 78, 2), record("a", 79, 0, options={"augment": False})]
    table = results_table(runs)
    assert [(row.kind, row.name, row.seed, row.augment) for row in table.rows] == [
        ("run", "a", 0, False),
        ("mean", "a", None, True),
        ("run", "a", 1, True),
        ("run", "a", 2, True),
        ("run", "a", 0, True),
        ("run", "b", 0, True),
    ]
    mean = table.rows[1]
    assert mean.top1 == pytest.approx(0.76)
    assert (mean.top1_low, mean.top1_high, mean.runs, mean.correct, mean.epochs) == (0.7, 0.8, 3, None, 7)
    assert "a, mean of 3 seeds" in as_markdown(table)
    assert "76.00 (range 70.00 to 80.00)" in as_markdown(table)


def test_the_same_seed_twice_is_no_mean() -> None:
    assert [row.kind for row in results_table([record("a", 70), record("a", 71, run_id="again")]).rows] == ["run", "run"]


# --- formats ---------------------------------------------------------------------------------------------------------


def drawn(table: Any) -> str:
    console = Console(width=300, file=io.StringIO(), record=True)
    console.print(as_rich(table) if isinstance(table, ResultsTable) else table)
    return console.export_text()


def test_in_a_narrow_terminal_columns_give_way_and_are_named_and_notes_come_below() -> None:
    pretrained = record("googlenet", result=result_of(98, unseen=score(49, 50)), notes=("stopped early",))
    table = results_table([record("a network with quite a long name", 66), pretrained])
    wide = drawn(table)
    assert "No room here" not in wide
    for width in (60, 80, 100):
        console = Console(width=width, file=io.StringIO(), record=True)
        console.print(as_rich(table))
        text = console.export_text()
        assert "66.00 (56.28 to 74.54)" in text, "the figures stay, and stay whole"
        assert "MACs" in text.split("No room here for: ")[1]
        assert max(map(len, text.splitlines())) <= width, "no line is cut"
        assert all(heading in text for heading in ("MACs", "options", "time")), "shown, or named as missing"
        grid = [line for line in text.splitlines() if line.startswith(("│", "┃"))]
        assert len(grid) <= 8, "no column is squeezed to a letter a line"
        assert "googlenet, seed 0: stopped early" in text, "what the notes say is never left out"


def test_csv_and_json_hold_every_figure_unrounded() -> None:
    pretrained = record("googlenet", result=result_of(98, unseen=score(49, 50)), network={"weights_sha256": "f" * 64})
    table = results_table([record("a", 66), pretrained])
    for rows in (list(csv.DictReader(io.StringIO(as_csv(table)))), json.loads(as_json(table))["rows"]):
        assert [row["name"] for row in rows] == ["googlenet", "a"]
        assert float(rows[1]["top1_low"]) == wilson(66, 100)[0]
        assert int(rows[1]["macs"]) == 4_962_000_000
    assert json.loads(as_json(table))["rows"][0]["unseen"]["correct"] == 49
    first, second = csv.DictReader(io.StringIO(as_csv(table)))
    assert (first["unseen_correct"], first["unseen_n"], second["unseen_correct"]) == ("49", "50", "")


def test_text_has_the_figures_and_no_empty_columns() -> None:
    table = results_table([record("a", 66)])
    for text in (drawn(table), as_markdown(table)):
        assert "66.00 (56.28 to 74.54)" in text
        assert "24.63 M" in text
        assert "4.96 G" in text
        assert "3 min 05 s" in text
        assert "never seen" not in text
        assert "report %" not in text


def test_names_cannot_break_a_table() -> None:
    table = results_table([record("[red]a|b\n<script>")])
    assert "[red]a|b" in drawn(table)
    line = as_markdown(table).splitlines()[-1]
    assert "[red]a\\|b &lt;script>" in line
    assert line.replace("\\|", "").count("|") == as_markdown(table).splitlines()[2].count("|")


def test_a_table_of_nothing() -> None:
    table = results_table([])
    assert (table.title, table.rows) == ("No runs", ())
    assert "No runs" in drawn(table)
    assert json.loads(as_json(table))["rows"] == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (41.6, "42 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


# --- pairs -----------------------------------------------------------------------------------------------------------


def run_of(folder: Path, name: str, right: str, first: int = 0, unseen: str | None = None, test: str | None = None, **changes: Any) -> Run:
    """A run scored on pictures `first`, `first` + 1, ...: `right` has a 1 for every right answer; all pictures are fish."""
    run = create_run(folder, record(name, **changes))
    flags = [np.array([mark == "1" for mark in marks]) for marks in (right, test or "1" * len(right))]
    classes = [entry.id for entry in run.record.data.classes]
    fish = classes.index("fish")
    answers = np.full((len(right), 2), -2.0, np.float32)
    answers[np.arange(len(right)), np.where(flags[0], fish, 1 - fish)] = -0.1
    run.save_predictions(
        Predictions(
            log_probabilities=answers,
            labels=np.full(len(right), fish),
            names=np.array([f"val/{number}.JPEG" for number in range(first, first + len(right))]),
            test=flags[1],
            unseen=None if unseen is None else np.array([mark == "1" for mark in unseen]),
        )
    )
    return run


def test_a_pair_is_matched_by_name(tmp_path: Path) -> None:
    a = run_of(tmp_path, "a", "1111111110")
    b = run_of(tmp_path, "b", "1000000001" + "11", first=1)
    pair = compare_pair(a, b)
    # common are pictures 1 to 9: a is right on 1 to 8, b on 1 alone
    assert (pair.n, pair.a_correct, pair.b_correct, pair.only_a, pair.only_b) == (9, 8, 1, 7, 0)
    assert pair.p == pair.p_holm == pytest.approx(2 / 2**7)
    assert pair.difference == pytest.approx(7 / 9)
    assert pair.remarks == ("Only the 9 pictures common to both were looked at, of up to 12.",)
    assert pair.sentence.startswith("Of these two trained networks the first is better: on 9 pictures")
    assert "recipe" not in pair.sentence


def test_a_difference_that_chance_explains_is_not_called_one(tmp_path: Path) -> None:
    pair = compare_pair(run_of(tmp_path, "a", "1100"), run_of(tmp_path, "b", "1110"))
    assert pair.p == 1.0
    assert pair.sentence.startswith("These two trained networks cannot be told apart")


def test_classes_are_matched_by_name_not_by_position(tmp_path: Path) -> None:
    a = run_of(tmp_path, "a", "1100")
    b = run_of(tmp_path, "b", "1110", data={"classes": CLASSES[::-1]})
    assert (compare_pair(a, b).only_a, compare_pair(a, b).only_b) == (0, 1)
    cats = (ClassFacts(id="fish", english="", polish=""), ClassFacts(id="cat", english="", polish=""))
    other = run_of(tmp_path, "c", "1110", data={"classes": cats})
    assert compare_pair(a, other).n == 4, "all pictures are of the class both know"
    other.update(data=other.record.data.model_copy(update={"classes": cats[::-1]}))
    with pytest.raises(UsageError, match="4 pictures of the same name different classes"):
        compare_pair(a, other)


def test_pictures_never_seen_in_pretraining(tmp_path: Path) -> None:
    pretrained: dict[str, Any] = {"network": {"weights_sha256": "f" * 64}}
    a = run_of(tmp_path, "a", "11111", unseen="00111", test="11110", **pretrained)
    b = run_of(tmp_path, "b", "00001", unseen="01101", test="11110", **pretrained)
    assert compare_pair(a, b).n == 4
    pair = compare_pair(a, b, among="unseen")
    assert (pair.n, pair.a_correct, pair.b_correct) == (2, 2, 1)
    assert "2 pictures never seen in pretraining" in pair.sentence
    own = run_of(tmp_path, "own", "1111")
    assert compare_pair(a, own, among="unseen").n == 2, "a network that was not pretrained saw none of its test pictures"
    own2 = run_of(tmp_path, "own2", "1111")
    of_all = {frozenset((pair.a, pair.b)): pair.among for pair in compare_pairs([a, own, own2], among="unseen")}
    assert of_all[frozenset((own.id, own2.id))] == "test", "of two that were not pretrained, test pictures are not called unseen ones"
    assert set(of_all.values()) == {"test", "unseen"}
    with pytest.raises(UsageError, match="None of own-s0, own2-s0 was pretrained"):
        compare_pair(own, own2, among="unseen")
    with pytest.raises(UsageError, match="not known"):
        compare_pair(a, run_of(tmp_path, "timm", "1111", **pretrained), among="unseen")


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    a = run_of(tmp_path, "a", "11")
    with pytest.raises(UsageError, match="no picture in common"):
        compare_pair(a, run_of(tmp_path, "b", "11", first=2))
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_pair(a, run_of(tmp_path, "demo", "11", data={"is_demo": True, "sha256": "e" * 64}))
    with pytest.raises(RecordError, match="has scored no pictures yet"):
        compare_pair(a, create_run(tmp_path, record("unscored", None)))
    larger_run = run_of(tmp_path, "px320", "11", data={"sha256": "e" * 64})
    assert compare_pair(a, larger_run).remarks == (
        f"The pictures were matched by name: their files differ (data {'d' * 12} and {'e' * 12}).",
    )
    with pytest.raises(UsageError, match="at least two different runs"):
        compare([a, a])
    assert len(compare([a, a, larger_run]).pairs) == 1


def test_all_pairs_are_corrected_together(tmp_path: Path) -> None:
    a, b, c = (run_of(tmp_path, name, right) for name, right in (("a", "1" * 20), ("b", "1" * 13 + "0" * 7), ("c", "1" * 10 + "0" * 10)))
    found = compare([a, b, c])
    assert [(pair.a, pair.b) for pair in found.pairs] == [(a.id, b.id), (a.id, c.id), (b.id, c.id)]
    assert [pair.p for pair in found.pairs] == pytest.approx([2 / 2**7, 2 / 2**10, 2 / 2**3])
    assert [pair.p_holm for pair in found.pairs] == pytest.approx([2 * 2 / 2**7, 3 * 2 / 2**10, 0.25])
    assert len(found.table.rows) == 3
    values = json.loads(as_json(found))
    assert values["pairs"][1]["p_holm"] == found.pairs[1].p_holm
    assert "Holm-corrected 0.031" in values["pairs"][0]["sentence"]
    for text in (drawn(pairs_as_rich(found.pairs)), pairs_as_markdown(found.pairs)):
        assert "corrected by Holm for 3 pairs" in text
        assert "0.0059" in text
