"""Runs sorted into arms: those that differ in their seed only, which together stand for a recipe; and all arms compared."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from tench.comparison.notes import data_line, options_text
from tench.comparison.results import by_arm
from tench.comparison.seeds import ArmsComparison, compare_seeds
from tench.records import Run, RunRecord


def compare_arms(runs: Sequence[Run]) -> tuple[ArmsComparison, ...]:
    """Every two arms among `runs` that were scored on the same pictures and have at least two seeds in common."""
    arms = [records for records in by_arm([run.record for run in runs if run.record.result]) if _one_run_a_seed(records)]
    names = _names([arm[0] for arm in arms])
    return tuple(
        compare_seeds(_by_seed(a), _by_seed(b), name_a, name_b)
        for (a, name_a), (b, name_b) in combinations(zip(arms, names, strict=True), 2)
        if data_line(a[0]) == data_line(b[0]) and len(_by_seed(a).keys() & _by_seed(b).keys()) > 1
    )


def _one_run_a_seed(records: Sequence[RunRecord]) -> bool:
    return len(_by_seed(records)) == len(records)


def _by_seed(records: Sequence[RunRecord]) -> dict[int, float]:
    return {record.seed: record.result.top1 for record in records if record.result}


def _names(records: Sequence[RunRecord]) -> list[str]:
    """A name for each arm; where several have the same, its options with it."""
    names = [record.row or record.network.name for record in records]
    several = Counter(names)
    return [f"{name} ({options_text(record)})" if several[name] > 1 else name for name, record in zip(names, records, strict=True)]
