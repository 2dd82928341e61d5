"""How far trained networks repeat what a report says of them: the order of their accuracies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist, fmean

from tench.comparison.notes import cut_off, data_line
from tench.comparison.pairs import compare_pairs
from tench.comparison.results import ResultsTable
from tench.errors import UsageError
from tench.records import Run, RunRecord

LEAST_ROWS = 4
"""Rows below which a rank correlation has no interval."""
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Agreement:
    """Reported accuracies and those found, of the same networks in the report's order and in ours."""

    rows: int
    """Networks that count: published ones, trained from scratch, that were not cut off."""
    left_out: tuple[str, ...]
    """The others that a report has an accuracy of."""
    correlation: float
    """Spearman's, -1 to 1, like the ends of its 95 % interval."""
    low: float
    high: float
    told_apart: int
    """Pairs of these networks whose reported accuracies differ by more than the chance of the pictures."""
    repeated: int
    """Of those: the same one is better here, beyond chance (exact McNemar, p below 0.05 after Holm)."""
    reversed: int
    """Of those: the other one is better here, beyond chance."""

    @property
    def sentence(self) -> str:
        """It in words."""
        without = f" (without {', '.join(self.left_out)})" if self.left_out else ""
        return (
            f"The report's order of the networks against this one: rank correlation {self.correlation:.2f} (95 % interval {self.low:.2f} to"
            f" {self.high:.2f}) over {self.rows} published networks{without}. Of {self.told_apart} pairs that the report's own scores tell"
            f" apart, these trained networks repeat {self.repeated} and reverse {self.reversed}; the others cannot be told apart here."
        )


def rank_correlation(reported: Sequence[float], found: Sequence[float]) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 95 % interval, each -1 to 1.

    The interval is Fisher's z with the standard error sqrt((1 + r^2 / 2) / (n - 3)) of Bonett and Wright (2000), Psychometrika 65, 23.
    Raises UsageError for fewer than four pairs of values, or where one side has a single value throughout.
    """
    if len(reported) != len(found) or len(found) < LEAST_ROWS or min(len(set(reported)), len(set(found))) < 2:
        raise UsageError(f"A rank correlation needs {LEAST_ROWS} pairs of values or more that are not all alike.")
    from scipy.stats import spearmanr  # slow to import, and only needed here

    r = float(spearmanr(reported, found).statistic)
    if abs(r) > 1 - 1e-12:  # the same order throughout: Fisher's z has no end there
        return round(r), round(r), round(r)
    half = Z * math.sqrt((1 + r * r / 2) / (len(found) - 3))
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def agreement(runs: Sequence[Run]) -> Agreement | None:
    """How `runs` agree with what was reported of their networks; None for fewer than four networks that count, or on different data.

    Several seeds of a network count by their mean, and in pairs by the lowest seed.
    """
    own = [run for run in runs if run.record.kind == "train" and run.record.result and run.record.reported_accuracy is not None]
    counting = [run for run in own if counts_in_agreement(run.record)]
    rows = {_name(run): [other for other in counting if _name(other) == _name(run)] for run in counting}
    if len(rows) < LEAST_ROWS or len({data_line(run.record) for run in counting}) > 1:
        return None
    shown = {name: min(seeds, key=lambda run: run.record.seed) for name, seeds in rows.items()}
    reported = {name: run.record.reported_accuracy or 0.0 for name, run in shown.items()}
    found = {name: fmean(run.record.result.top1 for run in seeds if run.record.result) for name, seeds in rows.items()}
    if min(len(set(reported.values())), len(set(found.values()))) < 2:
        return None
    left_out = tuple(dict.fromkeys(_name(run) for run in own if _name(run) not in rows))
    correlation = rank_correlation([reported[name] for name in rows], [found[name] for name in rows])
    return Agreement(len(rows), left_out, *correlation, *_pairs(shown))


def counts_in_agreement(record: RunRecord) -> bool:
    """Whether a run's network is the report's own and was trained to its end."""
    return record.kind == "train" and record.network.origin == "published" and not cut_off(record)


def with_report(table: ResultsTable, runs: Sequence[Run]) -> ResultsTable:
    """The table with how its rows agree with what a report says of them, among its warnings."""
    found = agreement(runs)
    return replace(table, warnings=(*table.warnings, found.sentence)) if found else table


def _name(run: Run) -> str:
    return run.record.row or run.record.network.name


def _pairs(shown: dict[str, Run]) -> tuple[int, int, int]:
    """(pairs that the report tells apart, of them repeated, of them reversed)."""
    names = {run.id: name for name, run in shown.items()}
    firm = {frozenset(pair) for pair in combinations(shown, 2) if _differ(shown[pair[0]].record, shown[pair[1]].record)}
    repeated = turned = 0
    for pair in compare_pairs(list(shown.values())):
        a, b = (shown[names[run]].record for run in (pair.a, pair.b))
        if frozenset((names[pair.a], names[pair.b])) in firm and pair.p_holm < 0.05:
            same = ((a.reported_accuracy or 0) > (b.reported_accuracy or 0)) == (pair.difference > 0)
            repeated, turned = repeated + same, turned + (not same)
    return len(firm), repeated, turned


def _differ(a: RunRecord, b: RunRecord) -> bool:
    """Whether two reported accuracies lie further apart than independent sets of so many pictures let equal networks differ by chance."""
    shares = [record.reported_accuracy or 0.0 for record in (a, b)]
    correct = [record.reported_correct or 0 for record in (a, b)]
    if not all(correct):  # of how many pictures is not said
        return False
    variances = [share * (1 - share) * share / right for share, right in zip(shares, correct, strict=True)]
    return abs(shares[0] - shares[1]) > Z * math.sqrt(sum(variances))
