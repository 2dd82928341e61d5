"""Several runs compared: their table with ties marked, all their pairs, and across seeds all their arms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from tench.comparison.arms import compare_arms
from tench.comparison.pairs import Among, Pair, compare_pair
from tench.comparison.results import ResultsTable, results_table
from tench.comparison.seeds import ArmsComparison
from tench.comparison.statistics import holm
from tench.comparison.ties import with_ties
from tench.errors import UsageError
from tench.records import Run


@dataclass(frozen=True)
class Comparison:
    """Several runs: their table, all their pairs, and what can be said of recipes."""

    table: ResultsTable
    pairs: tuple[Pair, ...]
    arms: tuple[ArmsComparison, ...] = ()
    """Across seeds, on the test pictures: every two arms with at least two seeds in common."""


def compare(runs: Sequence[Run], among: Among = "test") -> Comparison:
    """All pairs of `runs` by exact McNemar, p-values Holm-corrected over them, and all arms over their seeds.

    Raises as `compare_pair` does.
    """
    different = _different(runs)
    if len(different) < 2:
        raise UsageError("A comparison needs at least two different runs; `tench runs` lists them.")
    pairs = compare_pairs(different, among)
    return Comparison(with_ties(results_table(different), pairs), pairs, compare_arms(different))


def compare_pairs(runs: Sequence[Run], among: Among = "test") -> tuple[Pair, ...]:
    """Every two different `runs` by exact McNemar, Holm-corrected over all of them. Raises as `compare_pair` does."""
    pairs = [compare_pair(a, b, among) for a, b in combinations(_different(runs), 2)]
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True))


def _different(runs: Sequence[Run]) -> list[Run]:
    """Each once: in a study one run may stand for several rows."""
    return list({run.id: run for run in runs}.values())
