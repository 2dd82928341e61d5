"""The rate at chosen steps, by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tench.config import Options, Rules
from tench.training.schedule import learn_rate


def test_piecewise_drops_at_the_end_of_every_period() -> None:
    options = Options(learn_rate=0.001, drop_period=4, drop_rate_factor=0.65, epochs=12)
    by_epoch = [learn_rate(Rules(), options, epoch * 74, 74) for epoch in range(12)]
    assert by_epoch == pytest.approx([0.001] * 4 + [0.00065] * 4 + [0.0004225] * 4)
    assert learn_rate(Rules(), options, 4 * 74 - 1, 74) == 0.001, "the last step of the period still has the old rate"


def test_without_a_period_the_rate_is_constant() -> None:
    assert {learn_rate(Rules(), Options(learn_rate=0.3), step, 10) for step in range(300)} == {0.3}


def test_one_cycle_climbs_for_a_fifth_and_falls_for_the_rest() -> None:
    options, rules = Options(learn_rate=0.4, epochs=10), Rules(schedule="one_cycle")
    rates = [learn_rate(rules, options, step, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[19] == pytest.approx(0.4)
    assert rates[20] == pytest.approx(0.4)
    assert rates[60] == pytest.approx(0.2)
    assert rates[99] == pytest.approx(0.4 / 80)


def test_cosine_starts_at_the_rate_and_is_half_of_it_in_the_middle() -> None:
    options, rules = Options(learn_rate=0.2, epochs=4), Rules(schedule="cosine")
    assert learn_rate(rules, options, 0, 25) == pytest.approx(0.2)
    assert learn_rate(rules, options, 50, 25) == pytest.approx(0.1)
    assert learn_rate(rules, options, 75, 25) == pytest.approx(0.1 * (1 - math.sqrt(0.5)))


@given(
    st.sampled_from(["piecewise", "one_cycle", "cosine"]),
    st.integers(1, 40),
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(1, 10)),
    st.floats(0.01, 1.0),
)
def test_the_rate_is_always_positive_and_never_above_what_was_asked(
    schedule: str, epochs: int, steps: int, period: int | None, factor: float
) -> None:
    options = Options(learn_rate=0.1, epochs=epochs, drop_period=period, drop_rate_factor=factor)
    rules = Rules(schedule=schedule)
    rates = [learn_rate(rules, options, step, steps) for step in range(epochs * steps)]
    assert all(0 < rate <= 0.1 * (1 + 1e-12) for rate in rates)
