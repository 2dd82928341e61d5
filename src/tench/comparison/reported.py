"""How far trained networks repeat what a report says of them: the order of their accuracies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

from tench.comparison.arms import Arm, arms_of, told_apart
from tench.comparison.notes import data_line
from tench.comparison.pairs import compare_pairs
from tench.comparison.results import ResultsTable
from tench.comparison.statistics import holm
from tench.errors import RecordError, UsageError
from tench.records import Run, RunRecord

LEAST_ROWS = 8
"""Networks below which an order is not compared: of fewer the same order comes about by chance often, and the interval is too narrow."""
Z = NormalDist().inv_cdf(0.975)


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
    pairs: AgreementOfPairs | None
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


def agreement(arms: Sequence[Arm]) -> Agreement | None:
    """How networks agree with what was reported of them; None where fewer than eight count, where they were scored on different
    pictures or on drawn ones, or where one of them was trained in several ways (other than by its seed).

    Several seeds of a network count by their mean.
    """
    own = [arm for arm in arms if arm.record.kind == "train" and arm.record.reported_accuracy is not None]
    counting = [arm for arm in own if counts_in_agreement(arm)]
    networks = {arm.record.row or arm.record.network.name for arm in counting}
    sets = {data_line(arm.record) for arm in counting if not arm.record.data.is_demo}
    if len(counting) < LEAST_ROWS or len(networks) < len(counting) or len(sets) != 1:
        return None
    reported, found = [arm.record.reported_accuracy or 0.0 for arm in counting], [arm.top1 for arm in counting]
    if min(len(set(reported)), len(set(found))) < 2:
        return None
    left_out = tuple(arm.name for arm in own if arm not in counting)
    return Agreement(len(counting), left_out, *rank_correlation(reported, found), _pairs([arm.shown for arm in counting]))


def counts_in_agreement(arm: Arm) -> bool:
    """Whether a network is the report's own and was trained to its end."""
    return arm.record.kind == "train" and arm.record.network.origin == "published" and not arm.cut_off


def with_report(table: ResultsTable, runs: Sequence[Run]) -> ResultsTable:
    """The table with how its rows agree with what a report says of them, among its warnings."""
    found = agreement(arms_of(told_apart([run for run in runs if run.record.result])))
    return replace(table, warnings=(*table.warnings, found.sentence)) if found else table


def _pairs(shown: Sequence[Run]) -> AgreementOfPairs | None:
    try:
        found = compare_pairs(shown)
    except RecordError:  # one has no predictions
        return None
    records = {run.id: run.record for run in shown}
    firm, counts = _told_apart(records), {True: 0, False: 0}
    for pair in found:
        if frozenset((pair.a, pair.b)) in firm and pair.p_holm < 0.05:
            reported = [records[run].reported_accuracy or 0.0 for run in (pair.a, pair.b)]
            counts[(reported[0] > reported[1]) == (pair.difference > 0)] += 1
    return AgreementOfPairs(len(firm), repeated=counts[True], reversed=counts[False])


def _told_apart(records: dict[str, RunRecord]) -> set[frozenset[str]]:
    """The pairs of keys whose reported accuracies differ beyond chance."""
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
