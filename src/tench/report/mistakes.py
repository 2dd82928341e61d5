"""Which pictures were answered wrongly: by one network with certainty, by all, by one alone. Pictures are matched by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.records import Run


@dataclass(frozen=True)
class Answers:
    """A network's answers to its test pictures, sorted by name; all arrays (n,)."""

    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    certainty: NDArray[np.float64]
    """Probability of the answer, 0 to 1."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.answers == self.labels)

    def most_confident_mistakes(self, most: int) -> NDArray[np.int64]:
        """Places of wrong answers, the most certain first."""
        wrong = np.flatnonzero(~self.correct)
        return np.asarray(wrong[np.argsort(-self.certainty[wrong], kind="stable")][:most])


def answers_of(run: Run) -> Answers:
    """The answers of `run` to its test pictures. Raises RecordError where they were not kept."""
    kept = run.predictions()
    test = kept.only(kept.test)
    order = np.argsort(test.names, kind="stable")
    certainty = np.exp(test.log_probabilities.max(axis=1).astype(np.float64))
    return Answers(test.names[order], test.labels[order], test.answers[order], certainty[order])


@dataclass(frozen=True)
class Together:
    """Several networks on the pictures common to all."""

    names: NDArray[np.str_]
    """(n,), like `labels`."""
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    """(networks, n), like `certainty`."""
    certainty: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(networks, n)."""
        return np.asarray(self.answers == self.labels)

    def missed_by_all(self) -> NDArray[np.int64]:
        """Places of pictures that no network has right: those first to which all answer alike, then by mean certainty."""
        places = np.flatnonzero(~self.correct.any(axis=0))
        answers, certainty = self.answers[:, places], self.certainty[:, places].mean(axis=0)
        alike = (answers == answers[:1]).all(axis=0)
        return np.asarray(places[np.lexsort((-certainty, ~alike))])

    def missed_only_by(self, network: int) -> NDArray[np.int64]:
        """Places of pictures that all others have right, the most certain mistake first."""
        return self._alone(network, ~self.correct)

    def right_only_by(self, network: int) -> NDArray[np.int64]:
        """Places of pictures that all others miss, the most certain answer first."""
        return self._alone(network, self.correct)

    def _alone(self, network: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        places = np.flatnonzero(mask[network] & (mask.sum(axis=0) == 1))
        return np.asarray(places[np.argsort(-self.certainty[network, places], kind="stable")])


def together(several: Sequence[Answers]) -> Together:
    """The answers of `several` networks to the pictures that all were asked about."""
    names: NDArray[Any] = reduce(np.intersect1d, (one.names for one in several))
    at = [np.searchsorted(one.names, names) for one in several]
    answers = np.stack([one.answers[places] for one, places in zip(several, at, strict=True)])
    certainty = np.stack([one.certainty[places] for one, places in zip(several, at, strict=True)])
    return Together(names, several[0].labels[at[0]], answers, certainty)
