"""Scores side by side, and what they allow one to say: intervals, paired tests, the table of results. Needs no torch."""

from tench.comparison.formats import as_csv, as_json, as_markdown, as_rich, duration, pairs_as_markdown, pairs_as_rich
from tench.comparison.notes import data_line
from tench.comparison.pairs import Pair, compare_pair, compare_pairs
from tench.comparison.reported import Agreement, AgreementOfPairs, agreement, rank_correlation, with_report
from tench.comparison.results import NotRun, ResultRow, ResultsTable, results_table
from tench.comparison.seeds import ArmsComparison, compare_seeds
from tench.comparison.selection import Selection, selection, with_selection
from tench.comparison.statistics import McNemar, holm, mcnemar_exact, paired_interval, score, wilson
from tench.comparison.ties import with_ties
from tench.comparison.together import Comparison, compare

__all__ = [
    "Agreement",
    "AgreementOfPairs",
    "ArmsComparison",
    "Comparison",
    "McNemar",
    "NotRun",
    "Pair",
    "ResultRow",
    "ResultsTable",
    "Selection",
    "agreement",
    "as_csv",
    "as_json",
    "as_markdown",
    "as_rich",
    "compare",
    "compare_pair",
    "compare_pairs",
    "compare_seeds",
    "data_line",
    "duration",
    "holm",
    "mcnemar_exact",
    "paired_interval",
    "pairs_as_markdown",
    "pairs_as_rich",
    "rank_correlation",
    "results_table",
    "score",
    "selection",
    "wilson",
    "with_report",
    "with_selection",
    "with_ties",
]
