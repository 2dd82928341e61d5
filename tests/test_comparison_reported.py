"""How trained networks repeat a report: the rank correlation and its interval, pairs, what does not count, and under which rules."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tench.comparison import agreement, rank_correlation, results_table, with_report
from tench.comparison.notes import cut_off
from tench.errors import UsageError
from tench.records import Run
from test_comparison import record, result_of, run_of

PICTURES = 400
REPORTED = {"a": 0.60, "b": 0.70, "c": 0.72, "d": 0.80, "e": 0.90}


def one(folder: Path, name: str, correct: int, **changes: Any) -> Run:
    """A run of a network that the report has an accuracy of, right on the first `correct` of 400 pictures."""
    marks = "1" * correct + "0" * (PICTURES - correct)
    about: dict[str, Any] = {"recipe": "r2018b", "reported_accuracy": REPORTED.get(name, 0.65), "result": result_of(correct, PICTURES)}
    about["reported_correct"] = round(about["reported_accuracy"] * PICTURES)
    return run_of(folder, name, marks, **(about | changes))


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """The report's order but for one swap: d before c, and e not better than d beyond chance."""
    return [one(tmp_path, name, correct) for name, correct in zip(REPORTED, (150, 260, 200, 300, 302), strict=True)]


def test_the_rank_correlation_is_that_of_squared_rank_differences() -> None:
    """1 - 6 sum(d^2) / (n (n^2 - 1)); the interval by its formula, for a swap of two neighbours in twelve."""
    reported = list(range(12))
    found = [*reported[:5], 6, 5, *reported[7:]]
    r, low, high = rank_correlation(reported, found)
    assert r == pytest.approx(1 - 6 * 2 / (12 * 143))
    half = 1.959964 * math.sqrt((1 + r * r / 2) / 9)
    assert (math.atanh(low), math.atanh(high)) == pytest.approx((math.atanh(r) - half, math.atanh(r) + half), abs=1e-5)
    assert rank_correlation([1, 2, 3, 4], [9, 8, 7, 6]) == (-1, -1, -1)


def test_nineteen_of_twenty_intervals_hold_the_true_rank_correlation() -> None:
    """Of twelve pairs from a normal distribution with correlation 0.7, whose rank correlation is 6 / pi asin(0.35)."""
    generator, true = np.random.default_rng(1), 6 / math.pi * math.asin(0.35)
    held = 0
    for _ in range(1_000):
        x, y = generator.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 12).T
        _, low, high = rank_correlation(x.tolist(), y.tolist())
        held += low <= true <= high
    assert 0.92 <= held / 1_000 <= 0.98


@pytest.mark.parametrize(("reported", "found"), [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4], [5, 5, 5, 5]), ([1, 2, 3, 4], [1, 2, 3])])
def test_what_has_no_rank_correlation_is_refused(reported: list[float], found: list[float]) -> None:
    with pytest.raises(UsageError, match="4 pairs of values or more"):
        rank_correlation(reported, found)


def test_orders_and_pairs_are_compared(runs: list[Run]) -> None:
    found = agreement(runs)
    assert found is not None
    assert (found.rows, found.left_out, found.correlation) == (5, (), pytest.approx(0.9))
    # By 400 pictures the report tells all pairs apart but b and c; d and e, which it does, are 300 and 302 here.
    assert (found.told_apart, found.repeated, found.reversed) == (9, 8, 0)
    assert "rank correlation 0.90" in found.sentence
    assert "Of 9 pairs that the report's own scores tell apart, these trained networks repeat 8 and reverse 0" in found.sentence
    table = with_report(results_table(runs), runs)
    assert table.warnings == (found.sentence,)


def test_a_pair_that_turns_out_the_other_way_is_reversed(tmp_path: Path) -> None:
    found = agreement([one(tmp_path, name, correct) for name, correct in zip(REPORTED, (390, 260, 265, 300, 350), strict=True)])
    assert found is not None
    assert found.reversed == 4


def left_out(folder: Path) -> Iterator[Run]:
    network = {"origin": "reconstructed"}
    yield one(folder, "rebuilt", 250, network=network)
    ended = result_of(250, PICTURES, epochs=30, best_epoch=29)
    yield one(folder, "cut", 250, result=ended, options={"epochs": 30})
    yield one(folder, "googlenet", 390, kind="transfer", transfer={"method": "frozen"})
    yield one(folder, "mine", 390, reported_accuracy=None)


def test_reconstructed_ones_and_those_cut_off_do_not_count(runs: list[Run], tmp_path: Path) -> None:
    found = agreement([*runs, *left_out(tmp_path)])
    assert found is not None
    assert (found.rows, found.left_out) == (5, ("rebuilt", "cut"))
    assert "over 5 published networks (without rebuilt, cut)" in found.sentence


def test_seeds_of_a_network_count_by_their_mean(runs: list[Run], tmp_path: Path) -> None:
    found = agreement([*runs, one(tmp_path, "c", 390, seed=1)])
    assert found is not None
    assert (found.rows, found.correlation) == (5, 1), "c has 295 on average, between b and d, as in the report"


def test_few_networks_or_different_pictures_are_not_compared(runs: list[Run], tmp_path: Path) -> None:
    assert agreement(runs[:3]) is None
    elsewhere = one(tmp_path, "f", 200, data={"name": "birds", "sha256": "e" * 64})
    assert agreement([*runs, elsewhere]) is None
    assert with_report(results_table(runs[:3]), runs[:3]) == results_table(runs[:3])


@pytest.mark.parametrize(
    ("epochs", "best", "options", "cut"),
    [
        (30, 29, {}, True),
        (30, 26, {}, False),
        (12, 8, {}, False),
        (30, 29, {"patience": None}, False),
        (30, 24, {"validation_period": 2}, True),
        (5, 5, {"epochs": 5}, False),
    ],
)
def test_a_run_is_cut_off_where_patience_had_not_ended_it(epochs: int, best: int, options: dict[str, Any], cut: bool) -> None:
    made = record(result=result_of(80, epochs=epochs, best_epoch=best), options={"epochs": 30} | options)
    assert cut_off(made) is cut
    assert ("cut off at 30 epochs" in results_table([made]).rows[0].notes) is cut


def test_every_table_says_which_rules_are_not_the_reports() -> None:
    small = {"recipe": "r2018b_small", "reported_accuracy": 0.8, "rule_differences": ("initial_weights is b, in r2018b a",)}
    rows = [record(name, options={"batch_size": 32}, **small) for name in "ab"]
    said = "Rows by r2018b_small differ from the report's rules: initial_weights is b, in r2018b a. Their batches are of 32 pictures."
    assert results_table(rows).warnings == (said,)
    assert results_table([record(reported_accuracy=0.8, recipe="r2018b")]).warnings == ()
    assert results_table([record(recipe="modern")]).warnings == (), "no report has anything to say of it"
