"""Scores side by side, and what they allow one to say: intervals, paired tests, the table of results. Needs no torch."""

from tench.comparison.formats import as_csv, as_json, as_markdown, as_rich, duration, pairs_as_markdown, pairs_as_rich
from tench.comparison.notes import data_line
from tench.comparison.pairs import Comparison, Pair, compare, compare_pair
from tench.comparison.results import NotRun, ResultRow, ResultsTable, results_table
from tench.comparison.statistics import McNemar, holm, mcnemar_exact, score, wilson

__all__ = [
    "Comparison",
    "McNemar",
    "NotRun",
    "Pair",
    "ResultRow",
    "ResultsTable",
    "as_csv",
    "as_json",
    "as_markdown",
    "as_rich",
    "compare",
    "compare_pair",
    "data_line",
    "duration",
    "holm",
    "mcnemar_exact",
    "pairs_as_markdown",
    "pairs_as_rich",
    "results_table",
    "score",
    "wilson",
]
