"""What is proposed for a folder of pictures: which networks, how they learn, and how long it takes on this machine."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch

from tench.confidence.fit import BESIDE
from tench.config import Engine, Preprocessing, TransferOptions, load_recipe
from tench.data.cache import decoding_s
from tench.data.roles import roles
from tench.data.sources import Source
from tench.inference import BATCH, WORTH_IT, computing
from tench.networks.pretrained import find_googlenet_weights
from tench.networks.reference import load_pretrained, network
from tench.records import Run, list_runs
from tench.runtime import apply_engine, place
from tench.studies.forecast import BACKWARD_AND_FORWARD, flop_per_s
from tench.training.curve import DRAWS, SHARES
from tench.training.head import HOLDS, Head, fit_head
from tench.training.plan import Plan
from tench.wizard.look import Look

PRETRAINED, OWN = "googlenet", "sprint"
LARGEST_PX, LEAST_PX, STEP_PX = 96, 32, 16
"""Sides of an own network's pictures: sprint's own, or less where most pictures are smaller."""
WINDOW = 2 / 3
"""Of the side: what a step sees, as sprint has it."""
LEAST_BATCH, LARGEST_BATCH, STEPS = 8, 128, 8
"""Pictures a step, which are fewer where an epoch would otherwise have fewer steps than STEPS. The learning rate is in proportion.

Tried on 100 of Imagenette's training pictures in four classes, scored on 48 others of them, two seeds each: batches of 12, 25, 50 and 100
gave 73, 70, 63 and 60 %, with sprint's own rate 71, 66, 64 and 65 %."""
MOST_EPOCHS = 100
"""Of an own network: with few pictures more does not help, whatever time there is."""
TIMED_HOLD = 0.01
SHOWING_S = 10.0
"""About, of loading, heat maps and the report."""


@dataclass(frozen=True)
class Step:
    """One training that is proposed. `seconds`: what it takes here, at most, as measured; `before`: its run, where it was begun before."""

    kind: Literal["transfer", "train"]
    plan: Plan
    how: TransferOptions | None
    seconds: float
    before: Run | None
    over_s: float = 0.0
    """By how much a single epoch is forecast to exceed the time that was given."""

    @property
    def finished(self) -> bool:
        """Whether it was done before."""
        return self.before is not None and self.before.record.status == "finished"


@dataclass(frozen=True)
class Proposal:
    """Trainings in their order, and where weights and runs are; `weights` None: there are none of GoogLeNet's here."""

    look: Look
    steps: tuple[Step, ...]
    weights: Path | None
    runs: Path

    @property
    def seconds(self) -> float:
        """Of all that is not done yet."""
        return sum(step.seconds for step in self.steps if not step.finished)


def propose(
    look: Look,
    engine: Engine,
    runs: Path,
    weights: Path | None = None,
    own: bool = False,
    minutes: float = 5.0,
    seed: int = 0,
    mirror: bool = True,
) -> Proposal:
    """A new last layer on GoogLeNet where its weights are at hand, and with `own`, or where they are not, a network of one's own.

    Classes are weighted alike where they are uneven. The own network trains for about `minutes`, with half its pictures mirrored unless
    `mirror` is off. Raises NotFoundError where `weights` or TENCH_WEIGHTS names what is not there, DataError where a class has no
    picture for one of the roles.
    """
    apply_engine(engine)
    found, before = find_googlenet_weights(weights), list_runs(runs).runs
    common = {"class_weights": "balanced" if look.uneven else "none", "seed": seed}
    steps = [_transfer(look.source, engine, common, found, before)] if found else []
    if own or not found:
        steps.append(_own(look.source, engine, common | {"mirror": mirror}, 60 * minutes, before))
    return Proposal(look, tuple(steps), found, runs)


# --- a new last layer --------------------------------------------------------------------------------------------------


def _transfer(source: Source, engine: Engine, common: dict[str, Any], weights: Path, before: Sequence[Run]) -> Step:
    recipe = load_recipe("transfer")
    plan, how = Plan(network(PRETRAINED), source, recipe, recipe.resolve(common), engine), TransferOptions()
    identity = plan.identity(kind="transfer", transfer=how.model_dump(mode="json"))
    run = next((run for run in before if run.record.identity == identity), None)
    done = run is not None and run.record.status == "finished"
    return Step("transfer", plan, how, 0.0 if done else _transfer_s(plan, weights), run)


def _transfer_s(plan: Plan, weights: Path) -> float:
    """Decoding, features of all pictures, heads, and the passes for what is shown, from a few passes timed just now."""
    module = load_pretrained(PRETRAINED, weights)
    place(module, plan.engine)
    p = module.preprocessing
    noise = np.random.default_rng(0).integers(0, 256, (WORTH_IT, p.height_px, p.width_px, 3), dtype=np.uint8)
    with computing(module, noise, np.arange(WORTH_IT), plan.engine, "features") as computer:
        width = computer.of(noise, np.arange(BATCH)).shape[1]
        began = time.perf_counter()
        computer.of(noise, np.arange(BATCH))
        picture_s = (time.perf_counter() - began) / BATCH
    parts, classes = roles(plan.source, plan.rules, plan.options), len(plan.source.classes)
    heads_s = _head_s(len(parts.fit), width, classes) * len(HOLDS) * (1 + DRAWS * sum(SHARES))
    return decoding_s(plan.source, p) + picture_s * (len(plan.source.pictures) + 2 * BESIDE) + heads_s + SHOWING_S


def _head_s(n: int, width: int, classes: int) -> float:
    """Seconds of fitting one head, on noise."""
    features, labels = torch.randn(n, width, generator=torch.Generator().manual_seed(0)), torch.arange(n) % classes
    began = time.perf_counter()
    fit_head(Head(torch.zeros(classes, width), torch.zeros(classes)), features, labels, TIMED_HOLD)
    return time.perf_counter() - began


# --- a network of one's own --------------------------------------------------------------------------------------------


def _own(source: Source, engine: Engine, common: dict[str, Any], budget_s: float, before: Sequence[Run]) -> Step:
    recipe = load_recipe(OWN)
    plan = Plan(network(OWN), source, recipe, recipe.resolve(common | _sizes(source), {"epochs": 1}), engine)
    parts = roles(source, plan.rules, plan.options)
    plan = _with(plan, batch_size=min(LARGEST_BATCH, max(LEAST_BATCH, len(parts.fit) // STEPS), len(parts.fit)))
    plan = _with(plan, learn_rate=plan.options.learn_rate * plan.options.batch_size / LARGEST_BATCH)
    rate, (step_macs, macs) = flop_per_s(plan), (plan.network.counts(len(source.classes), px).macs for px in (plan.step_px, plan.px))
    validation = macs * len(parts.select) / plan.options.validation_period
    epoch_s = 2 * (BACKWARD_AND_FORWARD * step_macs * len(parts.fit) + validation) / rate
    plan = _with(plan, epochs=min(MOST_EPOCHS, max(1, int(budget_s / epoch_s))))
    run = next((run for run in before if _is_of(run, plan)), None)
    plan = _with(plan, epochs=run.record.options["epochs"]) if run else plan
    decoding = decoding_s(source, Preprocessing(height_px=plan.px, width_px=plan.px))
    return Step("train", plan, None, decoding + plan.options.epochs * epoch_s + SHOWING_S, run, max(0.0, epoch_s - budget_s))


def _is_of(run: Run, plan: Plan) -> bool:
    """Whether a run is the plan's but for its epochs, which are what a machine's speed made of the minutes: at least half as many."""
    epochs = run.record.options.get("epochs", 0)
    same = run.record.kind == "train" and 2 * epochs >= plan.options.epochs
    return same and run.record.identity == _with(plan, epochs=epochs).identity(kind="train", transfer=None)


def _with(plan: Plan, **options: Any) -> Plan:
    return dataclasses.replace(plan, options=plan.options.model_copy(update=options))


def _sizes(source: Source) -> dict[str, int]:
    """Sides of pictures and windows, from the shorter sides of the stored pictures."""
    shorter = median(min(picture.size_px) for picture in source.pictures if picture.size_px)
    side = min(LARGEST_PX, max(LEAST_PX, int(shorter) // STEP_PX * STEP_PX))
    return {"size_px": side, "crop_px": 8 * round(side * WINDOW / 8)}
