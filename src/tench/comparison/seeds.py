"""Whether recipes differ: the same seeds trained under both, paired differences, an interval over seeds, a verdict in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from tench.comparison.statistics import holm
from tench.errors import UsageError

Verdict = Literal["supported", "contradicted", "different", "no difference that matters", "open"]

CONFIDENCE = 0.95
"""Of intervals."""
MATTERS = 0.01
"""Differences of top-1 below one point are taken for too small to matter, and intervals narrower than that either way for narrow enough."""

SAME = 1e-9
"""Standard deviations up to it are rounding of equal differences."""


@dataclass(frozen=True)
class ArmsComparison:
    """Two arms (all else being equal, runs that differ in their seed only), paired by seed. Shares are of top-1, -1 to 1."""

    a: str
    """The first arm's name."""
    b: str
    seeds: tuple[int, ...]
    """Those that both arms were trained with, rising."""
    differences: tuple[float, ...]
    """The first arm's top-1 less the second's, a seed each."""
    mean: float
    sd: float
    """Of the differences, over seeds (divisor n - 1)."""
    low: float
    """Of the 95 % interval of the mean difference, paired t over seeds, like `high`."""
    high: float
    p_sign_flip: float
    """Two-sided and exact: of all ways of swapping the arms within seeds, the share with a mean as far from 0 or farther."""
    least_p: float
    """The least that `p_sign_flip` can be with so many seeds."""
    verdict: Verdict
    """By the interval of these two alone; "different" where it excludes 0 and nothing was claimed."""
    p_t: float
    """Two-sided, of the paired t test, whose interval is `low` to `high`."""
    p_holm: float
    """`p_t` corrected for the comparisons made together; equal to it for a single one."""
    together: int = 1
    """How many comparisons were made together, this one among them."""
    claimed: int | None = None
    """1: the first arm was claimed to be better; -1: the second; None: nothing was claimed."""

    @property
    def half_width(self) -> float:
        """Of the interval; at this spread also the smallest mean difference that so many seeds could have shown."""
        return (self.high - self.low) / 2

    @property
    def no_spread(self) -> bool:
        """Whether all differences are equal, so that the interval has no width: shares of few pictures often are, and that is no
        certainty."""
        return self.sd <= SAME

    @property
    def wants_more_seeds(self) -> bool:
        """Whether more seeds should be trained: until the interval reaches one point either way or less.

        It looks at the width alone, never at the sign of what was found: to go on until a difference shows would find one by chance.
        """
        return self.no_spread or self.half_width > MATTERS

    @property
    def counted_together(self) -> bool:
        """Whether it excludes 0 by itself, and there are others beside which that has to hold."""
        return self.together > 1 and self.verdict in ("supported", "contradicted", "different")

    @property
    def may_be_chance(self) -> bool:
        """Whether it excludes 0 by itself, and not when all comparisons made together are counted."""
        return self.counted_together and self.p_holm >= 1 - CONFIDENCE

    @property
    def higher_less_lower(self) -> tuple[str, str, float, float]:
        """The arm with the higher mean, the other, and the interval of the first less the second: what words say of the two."""
        return (self.a, self.b, self.low, self.high) if self.mean >= 0 else (self.b, self.a, -self.high, -self.low)

    @property
    def sentence(self) -> str:
        """The finding in words: of recipes, over seeds."""
        _, _, low, high = self.higher_less_lower
        interval = f"95 % interval of the mean difference {_points(low)} to {_points(high)} points, paired by seed"
        chance = f"sign-flip test p {self.p_sign_flip:.2g}, which {len(self.seeds)} seeds cannot bring below {self.least_p:.2g}"
        return f"{self._opening}: over {_seeds(self.seeds)} {self._difference} ({interval}; {chance}).{self._closing}"

    @property
    def _opening(self) -> str:
        return self.verdict[0].upper() + self.verdict[1:]

    @property
    def _difference(self) -> str:
        higher, lower, _, _ = self.higher_less_lower
        if round(self.mean, 4) == 0:
            return f"{higher} and {lower} are equal on average"
        return f"{higher} is {100 * abs(self.mean):.2f} points above {lower} on average"

    @property
    def _closing(self) -> str:
        if self.no_spread:
            return " All differences are equal, so these seeds do not say how far others would lie apart."
        if self.verdict == "open":
            return f" With this spread, {len(self.seeds)} seeds could have shown a gap of {100 * self.half_width:.2f} points or more."
        if self.verdict == "no difference that matters":
            return " The interval lies within one point either way."
        small = " It is a difference of less than one point." if max(-self.low, self.high) <= MATTERS else ""
        return small + (f" {self._among_all}" if self.counted_together else "")

    @property
    def _among_all(self) -> str:
        p_values = f"the t test's p is {self.p_t:.2g}, corrected by Holm {self.p_holm:.2g}"
        if self.may_be_chance:
            return f"Among the {self.together} comparisons made together it may be chance: {p_values}."
        return f"It is beyond chance among the {self.together} comparisons made together too: {p_values}."


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _seeds(seeds: Sequence[int]) -> str:
    run_on = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{len(seeds)} seeds (" + (f"{seeds[0]} to {seeds[-1]}" if run_on else ", ".join(map(str, seeds))) + ")"


def compare_seeds(a: Mapping[int, float], b: Mapping[int, float], name_a: str, name_b: str, claimed: int | None = None) -> ArmsComparison:
    """Compare two arms, given as top-1 (shares, 0 to 1) by seed; only seeds that both have count.

    The interval is Student's (1908), Biometrika 6, 1, of the paired differences; bootstrapping a handful of seeds would be too
    narrow. `claimed`: 1 where the first was said to be better, -1 where the second. Raises UsageError with fewer than two
    common seeds.
    """
    seeds = tuple(sorted(a.keys() & b.keys()))
    if len(seeds) < 2:
        raise UsageError(
            f"{name_a} and {name_b} have {len(seeds) or 'no'} seed{'s'[len(seeds) == 1 :]} in common; a comparison of recipes needs"
            " at least two. Train both with the same seeds."
        )
    differences = tuple(a[seed] - b[seed] for seed in seeds)
    low, high = paired_t(differences)
    p = paired_t_p(differences)
    return ArmsComparison(
        a=name_a,
        b=name_b,
        seeds=seeds,
        differences=differences,
        mean=fmean(differences),
        sd=stdev(differences),
        low=low,
        high=high,
        p_sign_flip=sign_flip(differences),
        least_p=least_sign_flip_p(len(seeds)),
        verdict=_verdict(low, high, claimed) if stdev(differences) > SAME else "open",
        p_t=p,
        p_holm=p,
        claimed=claimed,
    )


def corrected(comparisons: Sequence[ArmsComparison]) -> tuple[ArmsComparison, ...]:
    """`comparisons` made together, each with its p corrected by Holm for all of them; verdicts and intervals stay each one's own."""
    p_values = holm([found.p_t for found in comparisons])
    return tuple(replace(found, p_holm=p, together=len(comparisons)) for found, p in zip(comparisons, p_values, strict=True))


def _verdict(low: float, high: float, claimed: int | None) -> Verdict:
    if low > 0 or high < 0:
        if claimed is None:
            return "different"
        return "supported" if claimed == (1 if low > 0 else -1) else "contradicted"
    return "no difference that matters" if max(-low, high) <= MATTERS else "open"


def paired_t_p(differences: Sequence[float]) -> float:
    """Two-sided p of Student's t test of a mean of 0, of two or more differences; 1 where all are equal, which says nothing of chance."""
    from scipy.stats import t  # slow to import, and only needed here

    if stdev(differences) <= SAME:
        return 1.0
    statistic = abs(fmean(differences)) / (stdev(differences) / math.sqrt(len(differences)))
    return 2 * float(t.sf(statistic, len(differences) - 1))


def paired_t(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The t interval of the mean of two or more differences, low and high."""
    from scipy.stats import t  # slow to import, and only needed here

    half = float(t.ppf((1 + confidence) / 2, len(differences) - 1)) * stdev(differences) / math.sqrt(len(differences))
    return fmean(differences) - half, fmean(differences) + half


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided exact p of the sign-flip (randomisation) test of a mean of 0: all 2^n sign patterns are counted.

    Fisher (1935), The Design of Experiments, section 21.
    """
    ways = {0.0: 1}
    for difference in differences:  # sums that agree to 12 decimals are one: of shares of pictures there are few different ones
        longer: dict[float, int] = {}
        for total, count in ways.items():
            for changed in (total + difference, total - difference):
                key = round(changed, 12)
                longer[key] = longer.get(key, 0) + count
        ways = longer
    observed = abs(math.fsum(differences)) - 1e-9
    return sum(count for total, count in ways.items() if abs(total) >= observed) / 2.0 ** len(differences)


def least_sign_flip_p(n_seeds: int) -> float:
    """The least p that the sign-flip test can give: 2 patterns of 2^n; 0.25 at 3 seeds, 0.0625 at 5, 0.03125 at 6."""
    return min(1.0, 2 / 2.0**n_seeds)
