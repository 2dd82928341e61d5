"""How trained networks repeat a report: the rank correlation and its interval, pairs, what does not count, and under which rules."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tench.comparison import Agreement, agreement, compare, rank_correlation, results_table, with_report
from tench.comparison.arms import arms_of
from tench.comparison.notes import cut_off
from tench.errors import UsageError
from tench.records import Run
from test_comparison import record, result_of, run_of

PICTURES = 400
REPORTED = {"a": 0.60, "b": 0.70, "c": 0.72, "d": 0.80, "e": 0.90, "f": 0.40, "g": 0.30, "h": 0.20}
FOUND = {"a": 150, "b": 260, "c": 200, "d": 300, "e": 302, "f": 100, "g": 60, "h": 20}
"""Right answers here: the report's order but for b and c, and d, e so near that pictures cannot tell them apart."""


def one(folder: Path, name: str, correct: int, **changes: Any) -> Run:
    """A run of a network that the report has an accuracy of, right on the first `correct` of 400 pictures."""
    marks = "1" * correct + "0" * (PICTURES - correct)
    about: dict[str, Any] = {"recipe": "r2018b", "reported_accuracy": REPORTED.get(name, 0.65), "result": result_of(correct, PICTURES)}
    about["reported_correct"] = round(about["reported_accuracy"] * PICTURES)
    return run_of(folder, name, marks, **(about | changes))


def agreement_of(runs: list[Run]) -> Agreement | None:
    return agreement(arms_of(runs))


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [one(tmp_path, name, correct) for name, correct in FOUND.items()]


def test_the_rank_correlation_is_that_of_squared_rank_differences() -> None:
    """1 - 6 sum(d^2) / (n (n^2 - 1)); the interval by its formula, for a swap of two neighbours in twelve."""
    reported = list(range(12))
    found = [*reported[:5], 6, 5, *reported[7:]]
    r, low, high = rank_correlation(reported, found)
    assert r == pytest.approx(1 - 6 * 2 / (12 * 143))
    half = 1.959964 * math.sqrt((1 + r * r / 2) / 9)
    assert (math.atanh(low), math.atanh(high)) == pytest.approx((math.atanh(r) - half, math.atanh(r) + half), abs=1e-5)
    assert rank_correlation(list(range(8)), list(range(8, 0, -1))) == (-1, -1, -1)


@pytest.mark.parametrize("n", [8, 12])
def test_nineteen_of_twenty_intervals_hold_the_true_rank_correlation(n: int) -> None:
    """Of pairs from a normal distribution with correlation 0.7, whose rank correlation is 6 / pi asin(0.35)."""
    generator, true = np.random.default_rng(1), 6 / math.pi * math.asin(0.35)
    held = 0
    for _ in range(1_000):
        x, y = generator.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], n).T
        _, low, high = rank_correlation(x.tolist(), y.tolist())
        held += low <= true <= high
    assert 0.92 <= held / 1_000 <= 0.98


@pytest.mark.parametrize(("reported", "found"), [([*range(7)], [*range(7)]), ([*range(8)], [5] * 8), ([*range(9)], [*range(8)])])
def test_what_has_no_rank_correlation_is_refused(reported: list[float], found: list[float]) -> None:
    with pytest.raises(UsageError, match="8 pairs of values or more"):
        rank_correlation(reported, found)


def test_orders_and_pairs_are_compared(runs: list[Run]) -> None:
    found = agreement_of(runs)
    assert found is not None
    assert (found.rows, found.left_out, found.correlation) == (8, (), pytest.approx(1 - 6 * 2 / (8 * 63)))
    assert "rank correlation 0.98" in found.sentence
    assert found.pairs is not None
    # Of 28 the report tells all apart but b and c (a z of 0.6); of those, d and e are 300 and 302 here.
    assert (found.pairs.told_apart, found.pairs.repeated, found.pairs.reversed) == (27, 26, 0)
    assert "Of 27 pairs that the report's own scores tell apart, these trained networks repeat 26 and reverse 0" in found.sentence
    assert with_report(results_table(runs), runs).warnings == (found.sentence,)
    assert found.sentence in compare(runs).table.warnings


def test_a_pair_that_turns_out_the_other_way_is_reversed(tmp_path: Path) -> None:
    """The report has a as the fourth worst; here it is the best, so its pairs with b, c, d and e are turned round."""
    found = agreement_of([one(tmp_path, name, correct) for name, correct in (FOUND | {"a": 395}).items()])
    assert found is not None
    assert found.pairs is not None
    assert found.pairs.reversed == 4


def test_without_answers_to_single_pictures_there_is_the_order_alone(runs: list[Run]) -> None:
    (runs[0].folder / "predictions.npz").unlink()
    found = agreement_of(runs)
    assert found is not None
    assert found.pairs is None
    assert found.sentence.endswith("over 8 published networks.")


def left_out(folder: Path) -> Iterator[Run]:
    network = {"origin": "reconstructed"}
    yield one(folder, "rebuilt", 250, network=network)
    ended = result_of(250, PICTURES, epochs=30, best_epoch=29)
    yield one(folder, "cut", 250, result=ended, options={"epochs": 30})
    yield one(folder, "googlenet", 390, kind="transfer", transfer={"method": "frozen"})
    yield one(folder, "mine", 390, reported_accuracy=None)


def test_reconstructed_ones_and_those_cut_off_do_not_count(runs: list[Run], tmp_path: Path) -> None:
    found = agreement_of([*runs, *left_out(tmp_path)])
    assert found is not None
    assert (found.rows, found.left_out) == (8, ("cut", "rebuilt"))
    assert "over 8 published networks (without cut, rebuilt)" in found.sentence


def test_seeds_of_a_network_count_by_their_mean(runs: list[Run], tmp_path: Path) -> None:
    found = agreement_of([*runs, one(tmp_path, "c", 390, seed=1)])
    assert found is not None
    assert (found.rows, found.correlation) == (8, 1), "c has 295 on average, between b and d, as in the report"


def test_a_network_with_a_seed_that_was_cut_off_does_not_count(runs: list[Run], tmp_path: Path) -> None:
    ended, options = result_of(250, PICTURES, epochs=30, best_epoch=29), {"epochs": 30}
    seeds = [one(tmp_path, "x", 250, options=options), one(tmp_path, "x", 250, seed=1, options=options, result=ended)]
    found = agreement_of([*runs, *seeds])
    assert found is not None
    assert (found.rows, found.left_out) == (8, ("x",))


def test_what_cannot_be_one_order_is_not_compared(runs: list[Run], tmp_path: Path) -> None:
    assert agreement_of(runs[:7]) is None
    assert with_report(results_table(runs[:7]), runs[:7]) == results_table(runs[:7])
    elsewhere = one(tmp_path, "x", 200, data={"name": "birds", "sha256": "e" * 64})
    assert agreement_of([*runs, elsewhere]) is None
    another_way = one(tmp_path, "a", 390, recipe="modern", run_id="a-modern")
    assert agreement_of([*runs, another_way]) is None, "the mean of two recipes is no network's"
    drawn = {"is_demo": True, "name": "demo pictures (pictograms)"}
    assert agreement_of([one(tmp_path / "demo", name, correct, data=drawn) for name, correct in FOUND.items()]) is None


@pytest.mark.parametrize(
    ("epochs", "best", "options", "cut"),
    [
        (30, 29, {}, True),
        (30, 26, {}, False),
        (12, 8, {}, False),
        (30, 29, {"patience": None}, False),
        (30, 24, {"validation_period": 2}, True),
        (5, 5, {"epochs": 5}, False),
        (30, 24, {"validation_period": 4, "patience": 2}, False),
    ],
)
def test_a_run_is_cut_off_where_patience_had_not_ended_it(epochs: int, best: int, options: dict[str, Any], cut: bool) -> None:
    made = record(result=result_of(80, epochs=epochs, best_epoch=best), options={"epochs": 30} | options)
    assert cut_off(made) is cut
    assert ("cut off at 30 epochs" in results_table([made]).rows[0].notes) is cut


def test_a_schedule_made_for_its_epochs_is_not_cut_off() -> None:
    ended, options = result_of(80, epochs=30, best_epoch=30), {"epochs": 30}
    assert cut_off(record(result=ended, options=options))
    assert not cut_off(record(result=ended, options=options, rules={"select_from": "training", "schedule": "one_cycle"}))


def test_arms_that_were_cut_off_are_not_compared_over_their_seeds(tmp_path: Path) -> None:
    ended = {"result": result_of(250, PICTURES, epochs=30, best_epoch=29), "options": {"epochs": 30}}
    runs = [one(tmp_path, name, 200 + 9 * seed, seed=seed, options={"epochs": 30}) for name in "ab" for seed in (0, 1)]
    assert len(compare(runs).arms) == 1
    found = compare([*runs[:3], one(tmp_path / "cut", "b", 250, seed=1, **ended)])
    assert found.arms == ()
    assert any(warning.startswith("b was cut off by the epochs it was allowed") for warning in found.table.warnings)


def test_tables_say_which_rules_are_not_the_reports() -> None:
    small = {"recipe": "r2018b_small", "reported_accuracy": 0.8, "rule_differences": ("initial_weights is b, in r2018b a",)}
    rows = [record(name, options={"batch_size": 32}, **small) for name in "ab"]
    said = "Rows by r2018b_small differ from the report's rules: initial_weights is b, in r2018b a. Their batches are of 32 pictures."
    assert results_table(rows).warnings == (said,)
    faithful = {"reported_accuracy": 0.8, "recipe": "r2018b", "rule_differences": ("shuffle is once, in modern every_epoch",)}
    assert results_table([record(**faithful)]).warnings == ()
    assert results_table([record(options={"batch_size": 32}, **faithful)]).warnings == ("Rows by r2018b: batches are of 32 pictures.",)
    assert results_table([record(recipe="modern")]).warnings == (), "no report has anything to say of it"
