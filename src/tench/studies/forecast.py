"""How long a study will take, estimated from a few timed steps before it starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tench.config import Options, Preprocessing, Rules
from tench.data.roles import roles
from tench.runtime import apply_engine, place
from tench.studies.entries import Entry
from tench.training.outcome import to_score
from tench.training.plan import Plan
from tench.training.solvers import Solver

TIMED_STEPS = 3
BACKWARD_AND_FORWARD = 3
"""A training step costs about three forward passes: one forward, two for the gradients by weights and by activations."""


@dataclass(frozen=True)
class Forecast:
    """Seconds for each entry, were all its epochs trained, and the rate they were estimated with."""

    seconds: tuple[float, ...]
    flop_per_s: float

    @property
    def total_s(self) -> float:
        """Seconds for all entries."""
        return sum(self.seconds)


def forecast(entries: Sequence[Entry]) -> Forecast:
    """The time `entries` take on this machine: multiply-adds to be done over the rate of a timed training step.

    The network whose step is timed is the one with the median multiply-adds. Decoding, where it is still to be done, and what
    patience saves are left out, so it is a forecast of computing for all epochs.
    """
    if not entries:
        return Forecast((), 0.0)
    by_size = sorted(entries, key=_macs)
    rate = flop_per_s(by_size[len(by_size) // 2].plan)
    return Forecast(tuple(2 * _all_macs(entry) / rate for entry in entries), rate)


def flop_per_s(plan: Plan) -> float:
    """Floating-point operations a second (two a multiply-add) that a training step of the plan reaches here."""
    apply_engine(plan.engine)
    classes = len(plan.source.classes)
    module = plan.network.build(classes, Preprocessing(height_px=plan.px, width_px=plan.px))
    place(module, plan.engine)
    batch = min(plan.options.batch_size, 32)
    pictures = torch.randint(0, 256, (batch, 3, plan.px, plan.px), dtype=torch.uint8, device=plan.engine.device)
    solver = Solver(module, Rules(), Options())
    _step(module, solver, pictures)
    began = time.perf_counter()
    for _ in range(TIMED_STEPS):
        _step(module, solver, pictures)
    if plan.engine.device.startswith("cuda"):
        torch.cuda.synchronize()
    operations = 2 * BACKWARD_AND_FORWARD * _macs_of(plan) * batch * TIMED_STEPS
    return operations / (time.perf_counter() - began)


def _step(module: nn.Module, solver: Solver, pictures: torch.Tensor) -> None:
    module.train()
    targets = torch.zeros(len(pictures), dtype=torch.int64, device=pictures.device)
    nn.functional.cross_entropy(module(pictures), targets).backward()  # type: ignore[no-untyped-call]
    solver.step(1e-9)


def _macs(entry: Entry) -> int:
    return _macs_of(entry.plan)


def _macs_of(plan: Plan) -> int:
    return plan.network.counts(len(plan.source.classes), plan.px).macs


def _all_macs(entry: Entry) -> float:
    """Multiply-adds of all passes over pictures that the entry makes."""
    plan = entry.plan
    parts = roles(plan.source, plan.rules, plan.options)
    if entry.kind != "train":
        trained = len(parts.fit) + len(parts.select) if entry.kind == "transfer" else 0
        return _macs(entry) * float(trained + len(to_score(parts, pretrained=True)))
    epoch = BACKWARD_AND_FORWARD * len(parts.fit) + len(parts.select)
    return _macs(entry) * float(plan.options.epochs * epoch + len(parts.test))
