"""Figures from answers: against values computed by hand, and against the papers' formulas written out plainly."""

import math

import numpy as np
import pytest

from tench.errors import TrainingError, UsageError
from tench.evaluation import calibration_error, confusion, metrics, reliability, result
from tench.records import Predictions


def logs(*rows: tuple[float, ...]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=np.float32))


# Four pictures of three classes; the third class is never shown and never answered.
FOUR = logs((0.9, 0.1, 0.0), (0.9, 0.1, 0.0), (0.62, 0.38, 0.0), (0.2, 0.8, 0.0))
LABELS = np.array([0, 1, 0, 1])


def test_metrics_by_hand() -> None:
    found = metrics(FOUR, LABELS, ["fish", "dog", "saw"])
    assert (found.n, found.correct, found.top1) == (4, 3, 0.75)
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.62) + math.log(0.8)) / 4, abs=1e-6)
    assert found.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    fish, dog, saw = found.per_class
    assert (fish.id, fish.n, fish.correct, fish.recall, fish.undefined) == ("fish", 2, 2, 1.0, ())
    assert fish.precision == pytest.approx(2 / 3)
    assert fish.f1 == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert (dog.precision, dog.recall) == (1.0, 0.5)
    assert dog.f1 == pytest.approx(2 / 3)
    assert (saw.precision, saw.recall, saw.f1) == (0.0, 0.0, 0.0)
    assert saw.undefined == ("precision", "recall", "f1")


def test_calibration_error_by_hand() -> None:
    # bins of 1/15: two answers at 0.9, one of them right: |1 - 1.8|; one right at 0.62: |1 - 0.62|; one right at 0.8: |1 - 0.8|
    assert calibration_error(FOUR, LABELS) == pytest.approx((0.8 + 0.38 + 0.2) / 4, abs=1e-6)


def test_calibration_error_is_that_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    raw = generator.normal(scale=3, size=(500, 10))
    answers = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
    labels = generator.integers(0, 10, 500)
    expected = 0.0
    confidence, right = np.exp(answers.max(axis=1)), answers.argmax(axis=1) == labels
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.sum() / 500 * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(answers, labels) == pytest.approx(expected, abs=1e-12)


def test_perfect_and_certain_is_calibrated() -> None:
    assert calibration_error(logs((1.0, 0.0), (0.0, 1.0)), np.array([0, 1])) == 0
    assert calibration_error(logs((1.0, 0.0), (0.0, 1.0)), np.array([1, 0])) == 1


def test_neighbouring_bins_do_not_make_up_for_each_other() -> None:
    # 0.9 and wrong, 0.95 and right: bins 14 and 15 of 15, gaps of opposite sign
    assert calibration_error(logs((0.9, 0.1), (0.95, 0.05)), np.array([1, 0])) == pytest.approx((0.9 + 0.05) / 2, abs=1e-6)
    # 0.81 and 0.85: both in (0.8, 0.8667], where they do
    assert calibration_error(logs((0.81, 0.19), (0.85, 0.15)), np.array([1, 0])) == pytest.approx((0.81 - 0.15) / 2, abs=1e-6)


def test_of_equals_the_first_is_the_answer() -> None:
    assert metrics(logs((0.5, 0.5), (0.5, 0.5)), np.array([0, 1])).confusion.tolist() == [[1, 0], [1, 0]]


def test_confusion_counts_every_pair() -> None:
    labels, answers = np.array([2, 2, 0, 1, 2]), np.array([1, 1, 0, 2, 2])
    assert confusion(answers, labels, 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 2, 1]]


def test_no_pictures_and_no_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="no pictures"):
        metrics(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    with pytest.raises(TrainingError, match="1 of 4 pictures"):
        metrics(np.where(np.arange(4)[:, None] == 2, np.nan, FOUR), LABELS)


def answered(test: list[bool], unseen: list[bool] | None) -> Predictions:
    return Predictions(
        log_probabilities=FOUR,
        labels=LABELS,
        names=np.array(["a", "b", "c", "d"]),
        test=np.array(test),
        unseen=None if unseen is None else np.array(unseen),
    )


def test_result_scores_test_unseen_and_seen_apart() -> None:
    found = result(answered([True, True, True, False], [False, True, False, True]), ["x", "y", "z"], True, epochs=3, train_s=1.5)
    assert (found.correct, found.n, found.epochs, found.train_s) == (2, 3, 3, 1.5)
    assert found.top1_low < found.top1 == 2 / 3 < found.top1_high
    assert found.unseen is not None, "b of the test, d beside it"
    assert (found.unseen.correct, found.unseen.n) == (1, 2)
    assert found.seen is not None
    assert (found.seen.correct, found.seen.n) == (2, 2)


def test_result_without_pretraining_has_no_unseen_score() -> None:
    found = result(answered([True] * 4, None), ["x", "y", "z"], False)
    assert found.unseen is None
    assert found.seen is None
    with pytest.raises(UsageError, match="no pictures"):
        result(answered([False] * 4, None), ["x", "y", "z"], False)


# --- answers of a module ---------------------------------------------------------------------------------------------


def test_a_network_that_was_not_pretrained_is_scored_on_never_seen_pictures_but_has_seen_none() -> None:
    found = result(answered([True, True, True, False], [False, True, False, True]), ["x", "y", "z"], False)
    assert found.unseen is not None
    assert found.unseen.n == 2
    assert found.seen is None


def test_reliability_by_hand() -> None:
    """Bins (0.4, 0.6] and (0.8, 1] of five: 0.6 belongs to the lower one; bins without answers are left out."""
    found = reliability(np.array([0.5, 0.6, 0.9, 1.0]), np.array([True, False, True, True]), bins=5)
    assert found.counts.tolist() == [2, 2]
    assert found.confidence.tolist() == pytest.approx([0.55, 0.95])
    assert found.accuracy.tolist() == [0.5, 1.0]
