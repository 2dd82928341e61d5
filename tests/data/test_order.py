"""Orders and draws are functions of seed, epoch and content alone."""

import numpy as np
import pytest

from tench.data.order import batches, drawn, epoch_order
from tench.errors import ConfigError


@pytest.mark.parametrize("shuffle", ["once", "every_epoch"])
def test_an_order_is_a_permutation_that_its_arguments_decide(shuffle: str) -> None:
    order = epoch_order(1000, 3, 7, shuffle)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(1000))
    assert np.array_equal(order, epoch_order(1000, 3, 7, shuffle))
    assert not np.array_equal(order, epoch_order(1000, 4, 7, shuffle))


def test_once_repeats_in_every_epoch_and_every_epoch_does_not() -> None:
    assert np.array_equal(epoch_order(100, 0, 1, "once"), epoch_order(100, 0, 9, "once"))
    assert not np.array_equal(epoch_order(100, 0, 1, "every_epoch"), epoch_order(100, 0, 9, "every_epoch"))


def test_the_same_125_of_9469_pictures_are_dropped_when_shuffled_once() -> None:
    left = [set(range(9469)) - set(np.concatenate(batches(epoch_order(9469, 0, e, "once"), 128, "dropped")).tolist()) for e in (0, 5)]
    assert len(left[0]) == 125
    assert left[0] == left[1]


def test_last_partial_batch() -> None:
    order = np.array([5, 3, 1, 0, 2, 4, 6])
    assert [b.tolist() for b in batches(order, 3, "dropped")] == [[5, 3, 1], [0, 2, 4]]
    assert [b.tolist() for b in batches(order, 3, "kept")] == [[5, 3, 1], [0, 2, 4], [6]]
    assert [b.tolist() for b in batches(order, 10, "kept")] == [[5, 3, 1, 0, 2, 4, 6]]


def test_no_batch_at_all_is_an_error_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="batch_size is 8, but there are only 7 pictures"):
        batches(np.arange(7), 8, "dropped")


def test_a_draw_has_its_share_and_lies_within_larger_draws() -> None:
    contents = [f"{i:04d}" for i in range(1000)]
    small, large = drawn(contents, 0.1, 1, "x"), drawn(contents, 0.25, 1, "x")
    assert (small.sum(), large.sum()) == (100, 250)
    assert not np.any(small & ~large)
    assert drawn(contents, 1.0, 1, "x").all()


def test_a_draw_goes_by_content_not_by_place() -> None:
    contents = [f"{i:04d}" for i in range(50)]
    there = drawn(contents, 0.3, 1, "x")
    assert np.array_equal(drawn(contents[::-1], 0.3, 1, "x"), there[::-1])
    assert not np.array_equal(drawn(contents, 0.3, 2, "x"), there)
    assert not np.array_equal(drawn(contents, 0.3, 1, "y"), there)


def test_a_draw_keeps_copies_together() -> None:
    contents = [str(i // 4) for i in range(40)]
    for share in (0.1, 0.33, 0.5):
        chosen = drawn(contents, share, 0, "x").reshape(10, 4)
        assert np.array_equal(chosen.any(axis=1), chosen.all(axis=1))


def test_a_draw_takes_at_least_one_and_leaves_what_it_must() -> None:
    assert drawn(["a", "b", "c"], 0.01, 0, "x").sum() == 1
    assert drawn(["a", "b", "c"], 0.99, 0, "x", leave=1).sum() == 2
    assert drawn(["a"], 0.5, 0, "x", leave=1).sum() == 0
    assert drawn([], 0.5, 0, "x").shape == (0,)
