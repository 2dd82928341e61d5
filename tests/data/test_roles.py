"""Three roles: stratified, seeded, disjoint, and under the study's rules select = test."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tench.config import Options, Rules
from tench.data.roles import Roles, roles
from tench.data.sources import ClassName, Picture, Source
from tench.errors import DataError

N_TRAIN, N_VAL = (100, 60, 40), (30, 20, 10)


def source(kind: str = "folder", n_train: tuple[int, ...] = N_TRAIN, n_val: tuple[int, ...] = N_VAL) -> Source:
    """Three classes; every tenth picture bears the name of an ImageNet validation file."""
    pictures = tuple(
        Picture(f"{split}/{label}/{'ILSVRC2012_val_' if i % 10 == 0 else 'n0_'}{i}.JPEG", label, split, f"{split}{label}{i}")
        for split, counts in (("train", n_train), ("val", n_val))
        for label, n in enumerate(counts)
        for i in range(n)
    )
    return Source("x", kind, None, tuple(ClassName(c, c, c) for c in "abc"), pictures, "0", False)


def per_class(of: Source, indices: np.ndarray) -> list[int]:
    counts = Counter(of.pictures[i].label for i in indices)
    return [counts[label] for label in range(3)]


def as_sets(found: Roles) -> tuple[set[int], set[int], set[int]]:
    return set(found.fit.tolist()), set(found.select.tolist()), set(found.test.tolist())


def test_by_default_select_is_a_tenth_of_each_classs_training_pictures() -> None:
    of = source()
    found = roles(of, Rules(), Options())
    fit, select, test = as_sets(found)
    assert per_class(of, found.select) == [10, 6, 4]
    assert per_class(of, found.fit) == [90, 54, 36]
    assert not fit & select
    assert fit | select == set(range(200))
    assert test == set(range(200, 260))
    assert found.fit.dtype == found.select.dtype == found.test.dtype == np.int64
    assert found.unseen is None


def test_the_study_selects_on_its_test_pictures() -> None:
    found = roles(source(), Rules(select_from="test"), Options(test_share=0.5))
    fit, select, test = as_sets(found)
    assert fit == set(range(200))
    assert select == test
    assert len(test) == 30


def test_shares_are_stratified_and_smaller_ones_lie_within_larger_ones() -> None:
    of = source()
    small, large = (roles(of, Rules(select_from="test"), Options(share=share, test_share=share)) for share in (0.1, 0.5))
    assert per_class(of, small.fit) == [10, 6, 4]
    assert per_class(of, small.test) == [3, 2, 1]
    assert as_sets(small)[0] < as_sets(large)[0]
    assert as_sets(small)[2] < as_sets(large)[2]


def test_the_seed_decides() -> None:
    first, again, other = (roles(source(), Rules(), Options(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.select, again.select)
    assert not np.array_equal(first.select, other.select)
    assert np.array_equal(first.test, other.test)


def test_what_is_left_out_is_neither_learnt_from_nor_decides_but_scored_as_unseen() -> None:
    of = source("imagenette")
    is_unseen = np.array(["ILSVRC" in p.name for p in of.pictures])
    plain, found = roles(of, Rules(), Options()), roles(of, Rules(), Options(), leave_out=is_unseen)
    fit, select, test = as_sets(found)
    assert not (fit | select) & set(np.flatnonzero(is_unseen).tolist())
    assert len(fit | select) == 200 - 20
    assert test == set(range(200, 260))
    assert plain.unseen is not None
    assert plain.unseen.tolist() == [200, 210, 220, 230, 240, 250]
    assert found.unseen is not None
    assert found.unseen.tolist() == np.flatnonzero(is_unseen).tolist()


def test_every_class_has_a_picture_in_every_role_or_an_error_says_which_has_none() -> None:
    tiny = source(n_train=(2, 2, 2), n_val=(1, 1, 1))
    found = roles(tiny, Rules(select_share=0.01), Options(share=1.0, test_share=0.01))
    assert [per_class(tiny, role) for role in (found.fit, found.select, found.test)] == [[1, 1, 1]] * 3
    with pytest.raises(DataError, match="no pictures are left of a in select, b in select, c in select"):
        roles(tiny, Rules(), Options(share=0.5))
    with pytest.raises(DataError, match="c in fit"):
        roles(tiny, Rules(select_from="test"), Options(), leave_out=np.array([p.label == 2 for p in tiny.pictures]))


def test_a_training_from_scratch_can_leave_out_what_no_pretraining_saw() -> None:
    of = replace(source(), kind="imagenette")
    unseen = {picture.name for picture in of.pictures[::10]}
    plain, found = roles(of, Rules(), Options()), roles(of, Rules(), Options(leave_unseen_out=True))
    learnt = {of.pictures[i].name for i in (*found.fit, *found.select)}
    assert not learnt & unseen
    assert len(learnt) == 180
    assert set(found.test) == set(plain.test)
    assert found.unseen is not None
    assert {of.pictures[i].name for i in found.unseen} == unseen, "those left out, and those of the test"
    assert roles(source(), Rules(), Options(leave_unseen_out=True)).fit.tolist() == plain.fit.tolist(), "where names do not tell"
