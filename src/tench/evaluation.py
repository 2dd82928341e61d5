"""From a network's answers to figures: counted over all pictures, then divided once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.comparison import score
from tench.errors import TrainingError, UsageError
from tench.records import ClassScore, Predictions, Result, Score

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """How good a network's answers are; shares are 0 to 1."""

    n: int
    correct: int
    top1: float
    low: float
    """Of the Wilson 95 % interval of top1, like `high`."""
    high: float
    nll: float
    """Negative log-likelihood, nats a picture."""
    ece: float
    confusion: NDArray[np.int64]
    """(n_classes, n_classes): rows are the right classes, columns the answers."""
    per_class: tuple[ClassScore, ...]


def metrics(log_probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64], class_ids: Sequence[str] | None = None) -> Metrics:
    """All figures of some answers: log_probabilities (n, n_classes), natural; labels (n,).

    The answer is the likeliest class, of equals the first. Without `class_ids` classes are named by their number.
    Raises UsageError without pictures, TrainingError where an answer is no number.
    """
    n, classes = log_probabilities.shape
    if n == 0:
        raise UsageError("There are no pictures to score.")
    if np.isnan(log_probabilities).any():
        bad = int(np.isnan(log_probabilities).any(axis=1).sum())
        raise TrainingError(
            f"The network's answers to {bad} of {n} pictures are no numbers (NaN): its weights are unusable. Try a lower learning rate."
        )
    table = confusion(log_probabilities.argmax(axis=1), labels, classes)
    whole = score(int(np.trace(table)), n)
    nll = -float(log_probabilities[np.arange(n), labels].astype(np.float64).sum()) / n
    ids = class_ids or [str(index) for index in range(classes)]
    per_class = tuple(_class_score(table, index, name) for index, name in enumerate(ids))
    ece = calibration_error(log_probabilities, labels)
    return Metrics(n, whole.correct, whole.top1, whole.low, whole.high, nll, ece, table, per_class)


def confusion(answers: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often each class (row) was answered with each (column): int64 (classes, classes)."""
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)


def _class_score(table: NDArray[np.int64], index: int, name: str) -> ClassScore:
    correct, n, answered = int(table[index, index]), int(table[index].sum()), int(table[:, index].sum())
    shares = {"precision": (correct, answered), "recall": (correct, n), "f1": (2 * correct, n + answered)}
    undefined = tuple(share for share, (_, divisor) in shares.items() if divisor == 0)
    values = {share: part / divisor if divisor else 0.0 for share, (part, divisor) in shares.items()}
    return ClassScore(id=name, n=n, correct=correct, undefined=undefined, **values)


def calibration_error(log_probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64], bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error, 0 to 1, over `bins` equal bins (low, high] of the answer's probability.

    Naeini, Cooper, Hauskrecht (2015), AAAI; Guo et al. (2017), arXiv 1706.04599.
    """
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    found = reliability(confidence, log_probabilities.argmax(axis=1) == labels, bins)
    return float((found.counts * np.abs(found.accuracy - found.confidence)).sum()) / len(labels)


@dataclass(frozen=True)
class Reliability:
    """How often answers of like confidence are right: of every bin that holds any picture, arrays (n_bins,), shares 0 to 1."""

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    """Mean probability of the answers."""
    accuracy: NDArray[np.float64]


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = CALIBRATION_BINS) -> Reliability:
    """Answers in `bins` equal bins (low, high] of their probability: `confidence` 0 to 1 and whether they are `right`, both (n,)."""
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    held = counts > 0
    sums = [np.bincount(place, weights=values, minlength=bins)[held] for values in (confidence, right.astype(np.float64))]
    return Reliability(counts[held], sums[0] / counts[held], sums[1] / counts[held])


def result(predictions: Predictions, class_ids: Sequence[str], pretrained: bool, **facts: Any) -> Result:
    """The Result of a run: scores of its test pictures, of those never seen in pretraining, and `facts` (epochs, train_s, ...).

    A network that was not `pretrained` has seen none of them, so it has no score of seen ones.
    Raises UsageError if no test picture is among the predictions.
    """
    test = predictions.only(predictions.test)
    found = metrics(test.log_probabilities, test.labels, class_ids)
    return Result(
        correct=found.correct,
        n=found.n,
        top1=found.top1,
        top1_low=found.low,
        top1_high=found.high,
        nll=found.nll,
        ece=found.ece,
        per_class=found.per_class,
        unseen=_share(predictions.correct, predictions.unseen),
        seen=_share(test.correct, ~test.unseen if pretrained and test.unseen is not None else None),
        **facts,
    )


def _share(correct: NDArray[np.bool_], among: NDArray[np.bool_] | None) -> Score | None:
    """The score of the pictures in `among`, bool (n,); none if it is not known which they are, or there are none."""
    if among is None or not among.any():
        return None
    return score(int(correct[among].sum()), int(among.sum()))
