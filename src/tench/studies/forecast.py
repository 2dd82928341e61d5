"""How long a study will take, estimated from a few timed steps before it starts."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tench.config import Preprocessing
from tench.data.cache import decoding_s
from tench.data.roles import roles, unseen_training_pictures
from tench.studies.entries import Entry
from tench.training.outcome import to_score
from tench.training.plan import Plan
from tench.training.trial import Stepper

TIMED_STEPS = 3
BACKWARD_AND_FORWARD = 3
"""A training step costs about three forward passes: one forward, two for the gradients by weights and by activations."""


@dataclass(frozen=True)
class Forecast:
    """Seconds for each entry, were all its epochs trained, and the rate they were estimated with."""

    seconds: tuple[float, ...]
    flop_per_s: float
    decoding_s: float = 0.0
    """Of decoding the pictures at all sizes that are not in the cache."""

    @property
    def total_s(self) -> float:
        """Seconds for all entries and the decoding."""
        return sum(self.seconds) + self.decoding_s


def forecast(entries: Sequence[Entry]) -> Forecast:
    """The time `entries` take on this machine: multiply-adds to be done over the rate of a timed training step.

    The network whose step is timed is the one with the median multiply-adds. A picture whose features several entries want is
    counted once; features kept from before, and what patience saves, are not known, so it is the most it may be.
    """
    if not entries:
        return Forecast((), 0.0)
    by_size = sorted(entries, key=_macs)
    rate = flop_per_s(by_size[len(by_size) // 2].plan)
    passed: dict[str, set[int]] = {}
    seconds = tuple(2 * _all_macs(entry, passed.setdefault(entry.plan.network.reference, set())) / rate for entry in entries)
    return Forecast(seconds, rate, _decoding_s(entries))


def _decoding_s(entries: Sequence[Entry]) -> float:
    sizes = {(entry.plan.source.sha256, entry.plan.px): entry.plan for entry in entries}
    return sum(decoding_s(plan.source, Preprocessing(height_px=plan.px, width_px=plan.px)) for plan in sizes.values())


def flop_per_s(plan: Plan) -> float:
    """Floating-point operations a second (two a multiply-add) that a training step of the plan reaches here."""
    options = plan.options.model_copy(update={"batch_size": min(plan.options.batch_size, 32)})
    stepper = Stepper(dataclasses.replace(plan, options=options), plan.engine)
    stepper.step_s()
    seconds = sum(stepper.step_s() for _ in range(TIMED_STEPS))
    return 2 * BACKWARD_AND_FORWARD * _macs_of(plan, plan.step_px) * stepper.batch * TIMED_STEPS / seconds


def _macs(entry: Entry) -> int:
    return _macs_of(entry.plan, entry.plan.px)


def _macs_of(plan: Plan, px: int) -> int:
    return plan.network.counts(len(plan.source.classes), px).macs


def _all_macs(entry: Entry, passed: set[int]) -> float:
    """Multiply-adds of all passes over pictures that the entry makes; `passed`, to which it adds, have their features already."""
    plan = entry.plan
    if not entry.steps:
        left_out = unseen_training_pictures(plan.source)
        parts = roles(plan.source, plan.rules, plan.options, left_out)
        wanted = set(to_score(parts, beside=True).tolist())
        if entry.kind == "transfer":
            wanted |= {*parts.fit.tolist(), *parts.select.tolist()}
        new = wanted - passed
        passed |= new
        return _macs(entry) * float(len(new))
    parts = roles(plan.source, plan.rules, plan.options)
    steps = BACKWARD_AND_FORWARD * float(len(parts.fit)) * _macs_of(plan, plan.step_px)
    return plan.options.epochs * (steps + _macs(entry) * len(parts.select)) + float(_macs(entry)) * len(parts.test)
