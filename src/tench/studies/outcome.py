"""What a study came to: its finished runs, the rows that were not run, and both as a table."""

from dataclasses import dataclass
from functools import cached_property

from tench.comparison import NotRun, ResultsTable, compare_pairs, results_table, with_report, with_selection, with_ties
from tench.config import Study
from tench.records import Run

MOST_FOR_TIES = 24
"""Runs: their 276 pairs of 3,925 pictures take 0.7 s (2 cores of an Intel Xeon, 25 November 2026)."""


@dataclass(frozen=True)
class Outcome:
    """A study's finished runs, in its order, and the rows that were not run, with the reason."""

    study: Study
    runs: tuple[Run, ...]
    not_run: tuple[NotRun, ...]

    @cached_property
    def table(self) -> ResultsTable:
        """All of it as one table, sorted by accuracy, ties marked unless there are very many runs, with what picking the best adds,
        and how it agrees with the report."""
        table = with_report(with_selection(results_table(self.runs, not_run=self.not_run), self.runs), self.runs)
        return with_ties(table, compare_pairs(self.runs)) if len(self.runs) <= MOST_FOR_TIES else table
