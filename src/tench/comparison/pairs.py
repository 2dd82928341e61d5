"""Whether trained networks differ: exact McNemar on the pictures both were scored on, Holm-corrected over all pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tench.comparison.statistics import holm, mcnemar_exact, paired_interval
from tench.errors import UsageError
from tench.records import Predictions, Run

Among = Literal["test", "unseen"]


@dataclass(frozen=True)
class Pair:
    """Two trained networks on the pictures common to both."""

    a: str
    """The first one's run id."""
    b: str
    n: int
    """Pictures common to both."""
    a_correct: int
    b_correct: int
    only_a: int
    """Pictures that the first has right and the second wrong."""
    only_b: int
    p: float
    """Two-sided, exact McNemar."""
    p_holm: float
    """Corrected for the number of pairs looked at; equal to `p` for a single pair."""
    among: Among
    low: float
    """Of the 95 % interval of `difference` over such pictures, Tango's score interval, like `high`: of these two trained networks."""
    high: float
    remarks: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """Share of right answers of the first less that of the second, -1 to 1."""
        return (self.a_correct - self.b_correct) / self.n

    @property
    def sentence(self) -> str:
        """The finding in words. It speaks of these two trained networks: other seeds might turn out otherwise."""
        pictures = f"{self.n:,} pictures" + (" never seen in pretraining" if self.among == "unseen" else "")
        points = f"{100 * self.difference:+.2f} points, 95 % interval {100 * self.low:+.2f} to {100 * self.high:+.2f}"
        counts = f"on {pictures} {self.a} is right on {self.a_correct:,} and {self.b} on {self.b_correct:,} ({points})"
        only = f"{self.only_a:,} only the first has right, {self.only_b:,} only the second"
        chance = f"exact McNemar p {_p(self.p)}" + (
            f", Holm-corrected {_p(self.p_holm).removeprefix('= ')}" if self.p_holm != self.p else ""
        )
        return " ".join([f"{_verdict(self)}: {counts}; {only}; {chance}.", *self.remarks])


def _verdict(pair: Pair) -> str:
    if pair.p_holm >= 0.05:
        return "These two trained networks cannot be told apart"
    better = "first" if pair.difference > 0 else "second"
    return f"Of these two trained networks the {better} is better"


def _p(p: float) -> str:
    if p == 0:  # smaller than floating-point numbers go
        return "< 1e-300"
    return f"= {p:.3f}" if p >= 0.001 else f"= {p:.1e}"


def compare_pairs(runs: Sequence[Run], among: Among = "test") -> tuple[Pair, ...]:
    """Every two of `runs`, each folder once, by exact McNemar, Holm-corrected over all pairs. Raises as `compare_pair` does."""
    different = {run.folder: run for run in runs}.values()  # in a study one run may stand for several rows
    _refuse_nothing_pretrained(list(different), among)
    rows = cache(partial(_rows, among=among))
    pairs = [_pair(a, b, among, rows) for a, b in combinations(different, 2)]
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True))


def compare_pair(run_a: Run, run_b: Run, among: Among = "test") -> Pair:
    """Exact McNemar on the pictures that both runs were scored on, matched by name.

    `among`: the test pictures, or those that no pretraining of either network saw (test pictures or kept out of training).
    Raises UsageError where they have no such pictures in common or disagree about the pictures' classes, RecordError where
    a run has no predictions.
    """
    _refuse_nothing_pretrained([run_a, run_b], among)
    return _pair(run_a, run_b, among, partial(_rows, among=among))


def _pair(run_a: Run, run_b: Run, among: Among, rows: Callable[[Run], Predictions]) -> Pair:
    _refuse_unlike_data(run_a, run_b)
    a, b = rows(run_a), rows(run_b)
    names, in_a, in_b = np.intersect1d(a.names, b.names, assume_unique=True, return_indices=True)
    if not len(names):
        raise UsageError(f"{run_a.id} and {run_b.id} were scored on no picture in common, so they cannot be compared.")
    _refuse_other_classes(run_a, run_b, a.labels[in_a], b.labels[in_b])
    a_correct, b_correct = a.correct[in_a], b.correct[in_b]
    test = mcnemar_exact(a_correct, b_correct)
    low, high = paired_interval(test.only_a, test.only_b, len(names))
    return Pair(
        a=run_a.id,
        b=run_b.id,
        n=len(names),
        a_correct=int(a_correct.sum()),
        b_correct=int(b_correct.sum()),
        only_a=test.only_a,
        only_b=test.only_b,
        p=test.p,
        p_holm=test.p,
        among="test" if a.unseen is None and b.unseen is None else among,  # of two that were not pretrained all is new to both
        low=low,
        high=high,
        remarks=tuple(_remarks(run_a, run_b, len(names), max(len(a.names), len(b.names)))),
    )


def _rows(run: Run, among: Among) -> Predictions:
    """The run's predictions of the pictures in question; a network that was not pretrained never saw any of those it was scored on."""
    predictions = run.predictions()
    if among == "test":
        return predictions.only(predictions.test)
    if predictions.unseen is not None:
        return predictions.only(predictions.unseen)
    if run.record.network.weights_sha256:
        raise UsageError(f"{run.id} was pretrained, and which pictures it had seen is not known; compare it on the test pictures.")
    return predictions


def _refuse_nothing_pretrained(runs: Sequence[Run], among: Among) -> None:
    if among == "unseen" and not any(run.record.network.weights_sha256 for run in runs):
        names = ", ".join(run.id for run in runs)
        raise UsageError(f"None of {names} was pretrained: every test picture is new to all. Compare them on the test pictures.")


def _refuse_unlike_data(run_a: Run, run_b: Run) -> None:
    """Demo pictures of another seed bear the same names, and are others."""
    a, b = run_a.record.data, run_b.record.data
    if a.sha256 != b.sha256 and (a.is_demo or b.is_demo):
        raise UsageError(
            f"{run_a.id} was scored on {a.name} ({a.sha256[:12]}), {run_b.id} on {b.name} ({b.sha256[:12]}): there is nothing to compare."
        )


def _refuse_other_classes(run_a: Run, run_b: Run, labels_a: NDArray[np.int64], labels_b: NDArray[np.int64]) -> None:
    """Classes are matched by name: the same picture must be of the same class in both, wherever that class stands."""
    ids_a = np.array([entry.id for entry in run_a.record.data.classes])[labels_a]
    ids_b = np.array([entry.id for entry in run_b.record.data.classes])[labels_b]
    if differing := int((ids_a != ids_b).sum()):
        raise UsageError(
            f"{run_a.id} and {run_b.id} give {differing} pictures of the same name different classes; these are not the same pictures."
        )


def _remarks(run_a: Run, run_b: Run, common: int, most: int) -> Iterator[str]:
    a, b = run_a.record.data, run_b.record.data
    if common < most:
        yield f"Only the {common:,} pictures common to both were looked at, of up to {most:,}."
    if a.sha256 != b.sha256:
        yield f"The pictures were matched by name: their files differ (data {a.sha256[:12]} and {b.sha256[:12]})."
