"""How sure a score is, and whether two networks differ: Wilson's and Tango's intervals, McNemar's exact test, Holm's correction."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tench.errors import UsageError
from tench.records import Score


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share `correct / n`, low and high in 0 to 1.

    Wilson (1927), J. Am. Stat. Assoc. 22, 209. Raises UsageError unless 0 <= correct <= n and n >= 1.
    """
    if not 0 <= correct <= n or n < 1:
        raise UsageError(
            f"There is no interval for {correct} right of {n}: the pictures must be at least 1, and the right ones among them."
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # at the ends the formula gives 0 and 1 exactly; rounding must not move them
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == n else (centre + half) / scale
    return low, high


def score(correct: int, n: int) -> Score:
    """`correct` of `n` pictures as a Score with its 95 % interval. Raises UsageError as `wilson` does."""
    low, high = wilson(correct, n)
    return Score(correct=correct, n=n, top1=correct / n, low=low, high=high)


@dataclass(frozen=True)
class McNemar:
    """The exact test of two networks on the same pictures."""

    only_a: int
    """Pictures that the first has right and the second wrong."""
    only_b: int
    p: float
    """Two-sided: how often two equally good networks would differ this much or more by chance."""


def mcnemar_exact(a_correct: NDArray[np.bool_], b_correct: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact (binomial) test; both arrays bool (n,), the same pictures in the same order.

    McNemar (1947), Psychometrika 12, 153. p is 1 where they differ on no picture. Raises UsageError for unequal lengths.
    """
    if a_correct.shape != b_correct.shape:
        raise UsageError(f"McNemar's test needs the same pictures of both networks; given were {len(a_correct)} and {len(b_correct)}.")
    only_a = int(np.count_nonzero(a_correct & ~b_correct))
    only_b = int(np.count_nonzero(~a_correct & b_correct))
    return McNemar(only_a, only_b, _binomial_p(only_a, only_a + only_b))


def _binomial_p(successes: int, n: int) -> float:
    if n == 0:
        return 1.0
    from scipy.stats import binomtest  # slow to import, and only needed here

    return float(binomtest(successes, n, 0.5).pvalue)


def paired_interval(only_a: int, only_b: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of the difference of two shares of right answers on the same `n` pictures, low and high in -1 to 1.

    `only_a` pictures only the first network has right, `only_b` only the second. Tango (1998), Stat. Med. 17, 891: all differences
    that McNemar's statistic, with the shares estimated under that difference, does not reject; they are found by halving.
    Raises UsageError unless `only_a` and `only_b` are at least 0 and together at most n, and n at least 1.
    """
    if min(only_a, only_b) < 0 or only_a + only_b > n or n < 1:
        raise UsageError(f"There is no interval for {only_a} and {only_b} of {n} pictures: only one network can be right on each of those.")
    z, found = NormalDist().inv_cdf((1 + confidence) / 2), (only_a - only_b) / n
    # at the ends of -1 to 1 the statistic has no value; it is never needed there
    low = -1.0 if only_b == n else _where(lambda delta: _tango(only_a, only_b, n, delta) > z, -1.0, found)
    high = 1.0 if only_a == n else _where(lambda delta: _tango(only_a, only_b, n, delta) > -z, found, 1.0)
    return low, high


def _tango(only_a: int, only_b: int, n: int, delta: float) -> float:
    """The statistic, falling in `delta`; the share of `only_b` under `delta` is the positive root of a quadratic."""
    a, b, c = 2.0 * n, -only_a - only_b + (2 * n - only_a + only_b) * delta, -only_b * delta * (1 - delta)
    share_b = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * share_b + delta * (1 - delta))
    gap = only_a - only_b - n * delta
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0


def _where(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The end of the values from `low` on for which it holds, to 1e-12, where it stops holding between `low` and `high`."""
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for how many there are, in the order given.

    Holm (1979), Scand. J. Stat. 6, 65: the k-th smallest of m times m - k + 1, never below a smaller one's, at most 1.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
