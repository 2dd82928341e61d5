"""What picking the best of several networks adds to its score, when the pictures that pick it are those it is scored on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tench.comparison.notes import data_line
from tench.comparison.results import ResultsTable
from tench.errors import RecordError, UsageError
from tench.records import Run

RESAMPLES = 1_000
_AT_ONCE = 100
"""Resamples in memory at a time: 3 MiB for 3,925 pictures."""
_WORTH_SAYING = 0.0005
"""Below a twentieth of a point the figures of the table would not change."""


@dataclass(frozen=True)
class Selection:
    """The best of several networks on the same pictures; shares are 0 to 1."""

    best: str
    """Its run id."""
    of: int
    """How many networks there were to pick from."""
    n: int
    """Pictures."""
    top1: float
    """Of the best one on the pictures that picked it."""
    corrected: float
    """What such a pick scores on pictures that had no part in it, on average."""
    epochs_too: bool
    """Whether those pictures also decided when some of the trainings stopped, which this figure leaves out."""

    @property
    def bias(self) -> float:
        """How much the pick flatters; not below 0."""
        return max(0.0, self.top1 - self.corrected)

    @property
    def matters(self) -> bool:
        """Whether the figures of a table would change."""
        return self.bias >= _WORTH_SAYING

    @property
    def sentence(self) -> str:
        """It in words."""
        opening = f"{self.best} is the best of {self.of} on the {self.n:,} pictures it is scored on"
        if not self.matters:
            said = f"{opening}; that it was picked by them flatters it by less than 0.05 points"
        else:
            said = (
                f"{opening}, which flatters it by about {100 * self.bias:.2f} points:"
                f" {100 * self.top1:.2f} % would be {100 * self.corrected:.2f} % on new ones"
            )
        also = " Some trainings were stopped on these pictures too, which flatters further and is not in this figure."
        return f"{said} (bootstrap over pictures).{also if self.epochs_too else ''}"


def selection_bias(correct: NDArray[np.bool_], resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Top-1 of the best network and what it would be on new pictures, 0 to 1; `correct` is bool (n_networks, n_pictures).

    Pictures are drawn with replacement; the best on those drawn is scored on those left out, over `resamples` draws. Tsamardinos,
    Greasidou and Borboudakis (2018), Mach. Learn. 107, 1895. Equal networks share a pick. Raises UsageError without networks or pictures.
    """
    networks, n = correct.shape
    if not networks or n < 2:
        raise UsageError(f"There is nothing to pick from: {networks} networks on {n} pictures.")
    right = correct.T.astype(np.float32)
    generator = np.random.default_rng(seed)
    scores = []
    for start in range(0, resamples, _AT_ONCE):
        draws = generator.multinomial(n, np.full(n, 1 / n), size=min(_AT_ONCE, resamples - start))
        drawn = draws[(draws == 0).any(axis=1)]  # of very few pictures all may be drawn, and none is left to score on
        inside, outside = drawn.astype(np.float32) @ right, (drawn == 0).astype(np.float32) @ right
        best = inside == inside.max(axis=1, keepdims=True)
        scores.append((outside * best).sum(axis=1) / best.sum(axis=1) / (drawn == 0).sum(axis=1))
    return float(correct.mean(axis=1).max()), float(np.concatenate(scores).mean())


def selection(runs: Sequence[Run]) -> Selection | None:
    """The best of `runs` on the test pictures common to all; None for fewer than two, or where they were scored on different data."""
    runs = list({run.folder: run for run in runs}.values())  # in a study one run may stand for several rows
    if len(runs) < 2 or len({data_line(run.record) for run in runs}) > 1:
        return None
    try:
        tested = [predictions.only(predictions.test) for predictions in (run.predictions() for run in runs)]
    except RecordError:  # one has no predictions
        return None
    names = tested[0].names[np.argsort(tested[0].names)]
    orders = [np.argsort(predictions.names) for predictions in tested]
    if any(not np.array_equal(names, predictions.names[order]) for predictions, order in zip(tested, orders, strict=True)):
        return None
    correct = np.stack([predictions.correct[order] for predictions, order in zip(tested, orders, strict=True)])
    top1, corrected = selection_bias(correct)
    best = runs[int(correct.mean(axis=1).argmax())]
    return Selection(best.id, len(runs), len(names), top1, corrected, any(run.record.rules.get("select_from") == "test" for run in runs))


def with_selection(table: ResultsTable, runs: Sequence[Run]) -> ResultsTable:
    """The table with what picking its best line adds to that line's score, among its warnings."""
    found = selection(runs)
    return replace(table, warnings=(*table.warnings, found.sentence)) if found else table
