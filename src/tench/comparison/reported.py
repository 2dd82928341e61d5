"""How far trained networks repeat what a report says of them: the order of their accuracies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist, fmean

from tench.comparison.notes import cut_off, data_line
from tench.comparison.pairs import compare_pairs
from tench.comparison.results import ResultsTable, by_arm
from tench.comparison.statistics import holm
from tench.errors import RecordError, UsageError
from tench.records import Run, RunRecord

LEAST_ROWS = 8
"""Networks below which an order is not compared: of fewer the same order comes about by chance often, and the interval is too narrow."""
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Agreement:
    """Reported accuracies and those found, of the same networks in the report's order and in ours."""

    rows: int
    """Networks that count: published ones, trained from scratch, of whose runs none was cut off."""
    left_out: tuple[str, ...]
    """The others that a report has an accuracy of."""
    correlation: float
    """Spearman's, -1 to 1, like the ends of its 95 % interval."""
    low: float
    high: float
    pairs: "AgreementOfPairs | None"
    """None where the answers to single pictures were not kept."""

    @property
    def sentence(self) -> str:
        """It in words."""
        without = f" (without {', '.join(self.left_out)})" if self.left_out else ""
        said = (
            f"The report's order of the networks against this one: rank correlation {self.correlation:.2f} (95 % interval {self.low:.2f} to"
            f" {self.high:.2f}) over {self.rows} published networks{without}."
        )
        return f"{said} {self.pairs.sentence}" if self.pairs else said


@dataclass(frozen=True)
class AgreementOfPairs:
    """Networks two by two, of several seeds the lowest; "beyond chance" is p below 0.05 after Holm's correction over all pairs."""

    told_apart: int
    """Pairs whose reported accuracies differ beyond chance: two shares, each of its own sample of pictures (z-test)."""
    repeated: int
    """Of those: the same one is better here, beyond chance (exact McNemar)."""
    reversed: int
    """Of those: the other one is better here, beyond chance."""

    @property
    def sentence(self) -> str:
        """It in words."""
        return (
            f"Of {self.told_apart} pairs that the report's own scores tell apart, these trained networks repeat {self.repeated} and reverse"
            f" {self.reversed}; the others cannot be told apart here."
        )


def rank_correlation(reported: Sequence[float], found: Sequence[float]) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 95 % interval, each -1 to 1.

    The interval is Fisher's z with the standard error sqrt((1 + r^2 / 2) / (n - 3)) of Bonett and Wright (2000), Psychometrika 65, 23.
    Raises UsageError for fewer than eight pairs of values, or where one side has a single value throughout.
    """
    if len(reported) != len(found) or len(found) < LEAST_ROWS or min(len(set(reported)), len(set(found))) < 2:
        raise UsageError(f"A rank correlation needs {LEAST_ROWS} pairs of values or more that are not all alike.")
    from scipy.stats import spearmanr  # slow to import, and only needed here

    r = float(spearmanr(reported, found).statistic)
    if abs(r) > 1 - 1e-12:  # the same order throughout: there Fisher's z has no end, and the interval no width
        return round(r), round(r), round(r)
    half = Z * math.sqrt((1 + r * r / 2) / (len(found) - 3))
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def agreement(runs: Sequence[Run]) -> Agreement | None:
    """How `runs` agree with what was reported of their networks; None where fewer than eight networks count, where they were scored
    on different pictures or on drawn ones, or where one network was trained in several ways (other than by its seed).

    Several seeds of a network count by their mean.
    """
    own = [run for run in runs if run.record.kind == "train" and run.record.result and run.record.reported_accuracy is not None]
    rows = {_name(run): [other for other in own if _name(other) == _name(run)] for run in own}
    rows = {name: seeds for name, seeds in rows.items() if all(counts_in_agreement(run.record) for run in seeds)}
    counting = [run for seeds in rows.values() for run in seeds]
    ways = len(by_arm(run.record for run in counting))
    sets = {data_line(run.record) for run in counting if not run.record.data.is_demo}
    if len(rows) < LEAST_ROWS or ways > len(rows) or len(sets) != 1:
        return None
    shown = {name: min(seeds, key=lambda run: run.record.seed) for name, seeds in rows.items()}
    reported = {name: run.record.reported_accuracy or 0.0 for name, run in shown.items()}
    found = {name: fmean(run.record.result.top1 for run in seeds if run.record.result) for name, seeds in rows.items()}
    if min(len(set(reported.values())), len(set(found.values()))) < 2:
        return None
    left_out = tuple(dict.fromkeys(_name(run) for run in own if _name(run) not in rows))
    correlation = rank_correlation([reported[name] for name in rows], [found[name] for name in rows])
    return Agreement(len(rows), left_out, *correlation, _pairs(shown))


def counts_in_agreement(record: RunRecord) -> bool:
    """Whether a run's network is the report's own and was trained to its end."""
    return record.kind == "train" and record.network.origin == "published" and not cut_off(record)


def with_report(table: ResultsTable, runs: Sequence[Run]) -> ResultsTable:
    """The table with how its rows agree with what a report says of them, among its warnings."""
    found = agreement(runs)
    return replace(table, warnings=(*table.warnings, found.sentence)) if found else table


def _name(run: Run) -> str:
    return run.record.row or run.record.network.name


def _pairs(shown: dict[str, Run]) -> AgreementOfPairs | None:
    try:
        found = compare_pairs(list(shown.values()))
    except RecordError:  # one has no predictions
        return None
    names, firm = {run.id: name for name, run in shown.items()}, _told_apart({name: run.record for name, run in shown.items()})
    counts = {True: 0, False: 0}
    for pair in found:
        a, b = (names[run] for run in (pair.a, pair.b))
        if frozenset((a, b)) in firm and pair.p_holm < 0.05:
            reported = [shown[name].record.reported_accuracy or 0.0 for name in (a, b)]
            counts[(reported[0] > reported[1]) == (pair.difference > 0)] += 1
    return AgreementOfPairs(len(firm), repeated=counts[True], reversed=counts[False])


def _told_apart(records: dict[str, RunRecord]) -> set[frozenset[str]]:
    """The pairs of names whose reported accuracies differ beyond chance."""
    pairs = list(combinations(records, 2))
    corrected = holm([_p_of_reported(records[a], records[b]) for a, b in pairs])
    return {frozenset(pair) for pair, p in zip(pairs, corrected, strict=True) if p < 0.05}


def _p_of_reported(a: RunRecord, b: RunRecord) -> float:
    """How often two equally good networks, each scored on its own sample of pictures, would be reported this far apart or further."""
    shares, correct = [record.reported_accuracy or 0.0 for record in (a, b)], [record.reported_correct or 0 for record in (a, b)]
    if not all(correct):  # of how many pictures is not said
        return 1.0
    spread = math.sqrt(sum(share * (1 - share) * share / right for share, right in zip(shares, correct, strict=True)))
    gap = abs(shares[0] - shares[1])
    return math.erfc(gap / (spread * math.sqrt(2))) if spread else float(gap == 0)
