"""What chance explains: the interval of a difference within a pair of networks, and how much the pick of the best flatters."""

import json
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tench.comparison import as_json, compare, paired_interval, selection
from tench.comparison.selection import selection_bias
from tench.errors import UsageError
from test_comparison import record, run_of

Z = NormalDist().inv_cdf(0.975)


def statistic(only_a: int, only_b: int, n: int, delta: float) -> float:
    """McNemar's statistic for a difference of `delta`, its shares found by maximising the likelihood numerically."""

    def loss(share_b: float) -> float:
        shares = np.array([share_b + delta, share_b, 1 - 2 * share_b - delta])
        counts = np.array([only_a, only_b, n - only_a - only_b])
        return -float((counts * np.log(np.maximum(shares, 1e-300))).sum())

    found = minimize_scalar(loss, bounds=(max(0.0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-12})
    return float((only_a - only_b - n * delta) / np.sqrt(n * (2 * found.x + delta * (1 - delta))))


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(12, 2, 50), (138, 98, 3925), (3, 20, 134), (7, 7, 40), (5, 1, 10)])
def test_the_ends_are_where_mcnemars_statistic_begins_to_reject(only_a: int, only_b: int, n: int) -> None:
    low, high = paired_interval(only_a, only_b, n)
    assert low < (only_a - only_b) / n < high
    assert statistic(only_a, only_b, n, low) == pytest.approx(Z, abs=1e-4)
    assert statistic(only_a, only_b, n, high) == pytest.approx(-Z, abs=1e-4)
    assert paired_interval(only_b, only_a, n) == pytest.approx((-high, -low), abs=1e-9)


def test_the_interval_of_networks_that_never_differ_is_not_of_no_width() -> None:
    """A bootstrap would give 0 to 0. Without any difference the end is z squared / (n + z squared)."""
    end = Z**2 / (100 + Z**2)
    assert paired_interval(0, 0, 100) == pytest.approx((-end, end), abs=1e-9)


def test_the_interval_ends_at_one() -> None:
    low, high = paired_interval(50, 0, 50)
    assert high == 1.0
    assert 0.8 < low < 1
    assert paired_interval(0, 50, 50) == pytest.approx((-1.0, -low))


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_an_interval_of_what_cannot_be_is_refused(only_a: int, only_b: int, n: int) -> None:
    with pytest.raises(UsageError, match="no interval"):
        paired_interval(only_a, only_b, n)


def test_nineteen_of_twenty_intervals_hold_the_true_difference() -> None:
    generator = np.random.default_rng(3)
    draws = generator.multinomial(200, [0.09, 0.04, 0.87], size=1_000)
    inside = [low < 0.05 < high for low, high in (paired_interval(int(a), int(b), 200) for a, b, _ in draws)]
    assert 0.935 <= np.mean(inside) <= 0.97


def test_it_is_about_that_of_a_bootstrap_over_pictures() -> None:
    resampled = np.random.default_rng(4).multinomial(3925, np.array([138, 98, 3925 - 236]) / 3925, size=20_000)
    ends = np.quantile((resampled[:, 0] - resampled[:, 1]) / 3925, [0.025, 0.975])
    assert paired_interval(138, 98, 3925) == pytest.approx(ends, abs=4e-4)


def test_a_pairs_interval_is_said(tmp_path: Path) -> None:
    found = compare([run_of(tmp_path, "a", "1" * 20), run_of(tmp_path, "b", "1" * 13 + "0" * 7)])
    low, high = paired_interval(7, 0, 20)
    assert (found.pairs[0].low, found.pairs[0].high) == (low, high)
    assert f"+35.00 points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}" in found.pairs[0].sentence
    assert json.loads(as_json(found))["pairs"][0]["low"] == low


# --- the pick of the best --------------------------------------------------------------------------------------------


def answers(shares: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Right answers of networks with these true shares, which find the same pictures hard: bool (n_networks, n)."""
    difficulty = 0.8 * generator.normal(size=(1, n)) + 0.6 * generator.normal(size=(len(shares), n))
    return difficulty < np.array([NormalDist().inv_cdf(share) for share in shares])[:, None]


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.02])
def test_the_estimate_is_what_the_pick_really_gains_by_chance(spread: float) -> None:
    """Twelve networks whose true shares are known: over 40 such tables the estimated and the true bias agree."""
    generator = np.random.default_rng(7)
    estimated, true = [], []
    for _ in range(40):
        shares = 0.8 + generator.normal(0, spread, 12)
        correct = answers(shares, 600, generator)
        top1, corrected = selection_bias(correct, resamples=100)
        estimated.append(top1 - corrected)
        true.append(top1 - shares[correct.mean(axis=1).argmax()])
    error = np.std(np.array(estimated) - np.array(true)) / np.sqrt(40)
    assert np.mean(estimated) == pytest.approx(np.mean(true), abs=3 * error)
    assert spread or np.mean(estimated) > 0.01, "of twelve equal networks the best is one or two points above its true share"


def test_a_network_far_ahead_is_not_flattered() -> None:
    correct = answers(np.array([0.98, 0.7, 0.7, 0.6]), 2_000, np.random.default_rng(1))
    top1, corrected = selection_bias(correct)
    assert top1 == correct[0].mean()
    assert top1 - corrected == pytest.approx(0, abs=5e-4)


def test_the_same_seed_gives_the_same_estimate() -> None:
    correct = answers(np.full(3, 0.8), 300, np.random.default_rng(2))
    assert selection_bias(correct) == selection_bias(correct)
    with pytest.raises(UsageError, match="nothing to pick"):
        selection_bias(np.ones((2, 1), bool))


def test_what_the_pick_adds_stands_below_the_table(tmp_path: Path) -> None:
    right = ["".join(str(int(mark)) for mark in row) for row in answers(np.full(4, 0.8), 400, np.random.default_rng(5))]
    runs = [run_of(tmp_path, name, marks) for name, marks in zip("abcd", right, strict=True)]
    found = selection(runs)
    assert found is not None
    best = max(runs, key=lambda run: run.predictions().correct.mean())
    assert (found.best, found.of, found.n) == (best.id, 4, 400)
    assert found.bias > 0.005
    assert found.sentence in compare(runs).table.warnings
    assert f"{best.id} is the best of 4 on the 400 pictures it is scored on, which flatters it by about" in found.sentence
    assert "stopped" not in found.sentence
    runs[0].update(rules={"select_from": "test"})
    assert "Some trainings were stopped on these pictures too" in compare(runs).table.warnings[-1]


def test_nothing_is_said_where_there_was_no_pick(tmp_path: Path) -> None:
    a, b = run_of(tmp_path, "a", "1100"), run_of(tmp_path, "b", "1010", first=2)
    assert selection([a]) is None
    assert selection([a, a]) is None
    assert selection([a, b]) is None, "they were scored on different pictures"
    assert selection([a, run_of(tmp_path, "c", "1010", data={"sha256": "e" * 64})]) is None
    assert selection([a, run_of(tmp_path, "d", "1110")]) is not None
    from tench.records import create_run

    assert selection([a, create_run(tmp_path, record("unscored"))]) is None
