"""Several runs compared: their table with ties marked, all their pairs, and across seeds all their arms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tench.comparison.arms import arms_of, compare_arms, told_apart, uncompared
from tench.comparison.pairs import Among, Pair, compare_pairs
from tench.comparison.reported import with_report
from tench.comparison.results import ResultsTable, results_table
from tench.comparison.seeds import ArmsComparison
from tench.comparison.selection import with_selection
from tench.comparison.ties import with_ties
from tench.errors import UsageError
from tench.records import Run

_UNSEEN_SAID = (
    "Top-1 above is of all test pictures; what is tied, and every comparison below, "
    "is of pictures that no pretraining of the two compared saw."
)


@dataclass(frozen=True)
class Comparison:
    """Several runs: their table, all their pairs, and what can be said of recipes."""

    table: ResultsTable
    pairs: tuple[Pair, ...]
    arms: tuple[ArmsComparison, ...] = ()
    """Across seeds, on the same kind of pictures as the pairs: every two arms with at least two seeds in common."""


def compare(runs: Sequence[Run], among: Among = "test") -> Comparison:
    """All pairs of `runs` by exact McNemar, p-values Holm-corrected over them, and all arms over their seeds.

    Raises as `compare_pair` does.
    """
    different = told_apart(runs)
    if len(different) < 2:
        raise UsageError("A comparison needs at least two different runs; `tench runs` lists them.")
    pairs, arms = compare_pairs(different, among), arms_of([run for run in different if run.record.result])
    table = with_ties(results_table(different), pairs)
    said = (*table.warnings, *uncompared(arms, among), *([_UNSEEN_SAID] if among == "unseen" else []))
    table = with_selection(replace(table, warnings=said), different)
    return Comparison(with_report(table, different), pairs, compare_arms(arms, among))
