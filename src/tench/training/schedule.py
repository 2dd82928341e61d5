"""The learning rate as a function of the step, and of nothing else."""

import math

from tench.config import Options, Rules

WARM_UP_SHARE = 0.2
"""Share of all steps in which the one-cycle rate climbs (Smith and Topin 2018 use 0.2 to 0.45)."""


def learn_rate(rules: Rules, options: Options, step: int, steps_per_epoch: int) -> float:
    """The rate of step `step` (from 0), with `steps_per_epoch` steps an epoch.

    piecewise: rate * factor^(epochs done // period), R2018b's rule: the drop comes at the end of every period-th epoch.
    one_cycle: linear from 0 to the rate in the first fifth of all steps, then linear to 0 (Smith and Topin 2018).
    cosine: half a cosine from the rate to 0 over all steps (Loshchilov and Hutter 2017).
    """
    if rules.schedule == "piecewise":
        drops = step // steps_per_epoch // options.drop_period if options.drop_period else 0
        return options.learn_rate * options.drop_rate_factor**drops
    total = options.epochs * steps_per_epoch
    if rules.schedule == "cosine":
        return options.learn_rate * (1 + math.cos(math.pi * step / total)) / 2
    climb = max(1, round(total * WARM_UP_SHARE))
    if step < climb:
        return options.learn_rate * (step + 1) / climb
    return options.learn_rate * (total - step) / max(1, total - climb)
