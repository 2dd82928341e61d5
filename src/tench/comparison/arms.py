"""Runs sorted into arms: those that differ in their seed only, which together stand for a recipe; and all arms compared."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from tench.comparison.notes import cut_off, data_line, options_text
from tench.comparison.pairs import Among
from tench.comparison.results import by_arm, same_but_for_seed_and_precision
from tench.comparison.seeds import ArmsComparison, compare_seeds, corrected
from tench.records import Run, RunRecord


@dataclass(frozen=True)
class Arm:
    """A network as it was trained, in all its seeds."""

    name: str
    runs: tuple[Run, ...]
    """Seeds rising."""

    @property
    def shown(self) -> Run:
        """The run that stands for all."""
        return self.runs[0]

    @property
    def record(self) -> RunRecord:
        """Of the run that stands for all."""
        return self.shown.record

    @property
    def key(self) -> str:
        """Its name for links within a page."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"run-{self.shown.id}")

    @property
    def has_predictions(self) -> bool:
        """Whether the answers of all its runs to single pictures were kept."""
        return all((run.folder / "predictions.npz").is_file() for run in self.runs)

    @property
    def top1(self) -> float:
        """Mean over its runs, 0 to 1."""
        return fmean(run.record.result.top1 for run in self.runs if run.record.result)

    @property
    def unseen_top1(self) -> float | None:
        """The same on the pictures that no pretraining saw; None where one of its runs was not scored on such."""
        found = [run.record.result.unseen.top1 for run in self.runs if run.record.result and run.record.result.unseen]
        return fmean(found) if len(found) == len(self.runs) else None

    @property
    def repeats_seeds(self) -> bool:
        """Whether it has two runs of one seed, so that seeds cannot be paired."""
        return len({run.record.seed for run in self.runs}) < len(self.runs)

    @property
    def cut_off(self) -> bool:
        """Whether one of its runs used up the epochs it was allowed before its patience had ended it."""
        return any(cut_off(run.record) for run in self.runs)

    @property
    def seeds(self) -> str:
        """Its runs' seeds, in words."""
        return ", ".join(str(run.record.seed) for run in self.runs)

    def pictures(self, among: Among = "test") -> tuple[str, int | None]:
        """On what it was scored: runs with another answer were scored on other pictures."""
        result = self.record.result
        return data_line(self.record), result.unseen.n if among == "unseen" and result and result.unseen else None

    def shares(self, among: Among = "test") -> dict[int, float]:
        """Top-1 by seed, 0 to 1, of the runs that were scored on such pictures."""
        results = {run.record.seed: run.record.result for run in self.runs}
        if among == "test":
            return {seed: result.top1 for seed, result in results.items() if result}
        return {seed: result.unseen.top1 for seed, result in results.items() if result and result.unseen}


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs, each training once, however many copies of its folder there are (a published one, say).

    Several trainings may have one id, for it leaves the engine out: those go by their folders.
    """
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        first.setdefault(_training(run.record), run)
    each = list(first.values())
    namesakes = {run.id: [other.folder.resolve().parts for other in each if other.id == run.id] for run in each}
    return [_called_by_folder(run, namesakes[run.id]) if len(namesakes[run.id]) > 1 else run for run in each]


def _training(record: RunRecord) -> tuple[str, ...]:
    """What a copy of a run shares with it, and another training with the same id does not."""
    return (record.run_id, record.created, str(sorted(record.engine.items())))


def _called_by_folder(run: Run, namesakes: Sequence[tuple[str, ...]]) -> Run:
    """By as many last parts of its path as none of its `namesakes` has, three at least; not by all: a report may be given away."""
    parts = run.folder.resolve().parts
    told = (n for n in range(3, len(parts)) if sum(other[-n:] == parts[-n:] for other in namesakes) == 1)
    length = next(told, len(parts))
    return Run(run.folder, run.record.model_copy(update={"run_id": "/".join(parts[-length:])}))


def arms_of(runs: Sequence[Run]) -> tuple[Arm, ...]:
    """Finished `runs` in arms, the highest mean accuracy first. Their ids must differ."""
    by_id = {run.id: run for run in runs}
    groups = [[by_id[record.run_id] for record in sorted(arm, key=_seed)] for arm in by_arm(run.record for run in runs)]
    names = _names([group[0].record for group in groups])
    arms = [Arm(name, tuple(group)) for name, group in zip(names, groups, strict=True)]
    return tuple(sorted(arms, key=lambda arm: (-arm.top1, arm.name)))


def _seed(record: RunRecord) -> int:
    return record.seed


def _names(records: Sequence[RunRecord]) -> list[str]:
    """A name for each, as short as tells them apart."""
    base = names = [record.row or record.network.name for record in records]
    for more in _LONGER:
        several = {name for name, count in Counter(names).items() if count > 1}
        names = [f"{short} ({more(record)})" if name in several else name for name, short, record in zip(names, base, records, strict=True)]
    return names


_LONGER: tuple[Callable[[RunRecord], str], ...] = (
    lambda record: f"{record.network.input_px} px",
    lambda record: f"{record.network.input_px} px, {record.recipe}",
    lambda record: f"{options_text(record)}, {str(record.options.get('optimizer', '')).upper()}",
    lambda record: f"{options_text(record)}, {record.precision}",
    lambda record: record.run_id,
)


def compare_arms(arms: Sequence[Arm], among: Among = "test") -> tuple[ArmsComparison, ...]:
    """Every two arms that were scored on the same pictures and have at least two seeds in common, each seed once, and no run cut off.

    Their p-values are corrected by Holm for all of these comparisons.
    """
    shares = {arm.name: arm.shares(among) for arm in arms if not (arm.repeats_seeds or arm.cut_off)}
    return corrected(
        [
            compare_seeds(shares[a.name], shares[b.name], a.name, b.name)
            for a, b in combinations([arm for arm in arms if arm.name in shares], 2)
            if a.pictures(among) == b.pictures(among) and len(shares[a.name].keys() & shares[b.name].keys()) > 1
        ]
    )


def uncompared(arms: Sequence[Arm], among: Among = "test") -> Iterator[str]:
    """Which arms cannot be compared over their seeds although they have several runs, or others in another precision, and why, a
    sentence each."""
    for arm in arms:
        if arm.repeats_seeds:
            yield f"{arm.name} has two runs of one seed ({arm.seeds}), so it is compared run by run only; leave out one of them."
        elif arm.cut_off and len(arm.runs) > 1:
            yield f"{arm.name} was cut off by the epochs it was allowed, so it is compared run by run only; allow it more of them."
        elif len(arm.runs) > 1 and not arm.shares(among):
            yield f"{arm.name} may have learnt from pictures that no pretraining saw, so on those it is compared run by run only."
    for a, b in combinations(arms, 2):
        alike = same_but_for_seed_and_precision(a.record) == same_but_for_seed_and_precision(b.record)
        if alike and len(a.shares(among).keys() & b.shares(among).keys()) < 2:
            name, (one, other) = a.record.row or a.record.network.name, (a.record.precision, b.record.precision)
            yield f"{name} has runs in {one} (seeds {a.seeds}) and in {other} (seeds {b.seeds}), which count as two recipes."
