"""Mistakes of one and of several networks, against counts by hand."""

import numpy as np

from tench.report.mistakes import Answers, together


def answers(given: list[int], certainty: list[float], names: str = "abcdef", labels: tuple[int, ...] = (0, 0, 1, 1, 2, 2)) -> Answers:
    return Answers(np.array(list(names)), np.array(labels), np.array(given), np.array(certainty))


A = answers([0, 1, 1, 0, 2, 0], [0.9, 0.6, 0.8, 0.7, 0.5, 0.95])
B = answers([0, 1, 1, 2, 2, 0], [0.9, 0.8, 0.8, 0.9, 0.5, 0.55])
C = answers([0, 1, 0, 1, 2, 0], [0.9, 0.7, 0.8, 0.7, 0.5, 0.80])


def test_confident_mistakes_by_hand() -> None:
    assert A.most_confident_mistakes(2).tolist() == [5, 3]


def test_what_all_miss_comes_with_the_surest_first() -> None:
    found = together([A, B, C])
    assert found.names[found.missed_by_all()].tolist() == ["f", "b"]


def test_answers_that_agree_come_before_those_that_do_not() -> None:
    x, y = answers([1, 1, 1, 1, 2, 2], [0.99] * 6), answers([2, 1, 1, 1, 2, 2], [0.99, 0.4] + [0.9] * 4)
    found = together([x, y])
    assert found.names[found.missed_by_all()].tolist() == ["b", "a"]


def test_what_only_one_misses_or_has_right() -> None:
    found = together([A, B, C])
    assert found.names[found.missed_only_by(2)].tolist() == ["c"]
    assert found.names[found.right_only_by(2)].tolist() == ["d"]
    assert found.missed_only_by(0).tolist() == []


def test_only_common_pictures_count() -> None:
    few = answers([1, 1], [0.9, 0.9], names="bd", labels=(0, 1))
    found = together([A, few])
    assert found.names.tolist() == ["b", "d"]
    assert found.labels.tolist() == [0, 1]
    assert found.missed_by_all().tolist() == [0]
