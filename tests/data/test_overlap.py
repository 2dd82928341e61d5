"""Exact overlap between lists of pictures, by the hash of their content."""

import numpy as np

from tench.data.overlap import Doubles, Shared, between, between_roles, duplicates
from tench.data.sources import Picture


def picture(name: str, content: str, label: int = 0) -> Picture:
    return Picture(name, label, "val" if name.startswith("val") else "train", content)


A, B, C = picture("train/a/1.png", "aa"), picture("train/a/2.png", "bb"), picture("train/b/3.png", "cc", 1)
COPY_OF_B, NEW = picture("val/a/9.png", "bb"), picture("val/b/8.png", "dd", 1)


def test_the_same_content_under_other_names_is_found() -> None:
    assert between([A, B, C], [NEW, COPY_OF_B]) == [Shared("train/a/2.png", "val/a/9.png", "bb")]
    assert between([A, C], [NEW, COPY_OF_B]) == []
    assert between([], [NEW]) == []


def test_every_copy_is_listed_sorted_by_name() -> None:
    again = picture("other/0.png", "bb")
    assert [shared.second for shared in between([B], [COPY_OF_B, again])] == ["other/0.png", "val/a/9.png"]


def test_between_roles_names_the_pairs_that_share() -> None:
    pictures = [A, B, C, COPY_OF_B, NEW]
    roles = {"fit": np.array([0, 1]), "select": np.array([2]), "test": np.array([3, 4])}
    assert between_roles(pictures, roles) == {("fit", "test"): [Shared("train/a/2.png", "val/a/9.png", "bb")]}


def test_roles_that_are_the_same_by_rule_are_passed_over() -> None:
    test = np.array([3, 4])
    assert between_roles([A, B, C, COPY_OF_B, NEW], {"fit": np.array([0, 2]), "select": test, "test": test.copy()}) == {}


def test_duplicates() -> None:
    assert duplicates([COPY_OF_B, A, NEW, B]) == [Doubles(("train/a/2.png", "val/a/9.png"), contradict=False)]
    torn = picture("train/b/2.png", "bb", 1)
    assert duplicates([B, torn]) == [Doubles(("train/a/2.png", "train/b/2.png"), contradict=True)]
    assert duplicates([A, B, C]) == []
