"""All that decides what a training computes, and that plan made ready: pictures decoded, roles drawn, the module built."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tench.config import Engine, ModelT, Options, Precision, Preprocessing, Recipe, Rules, checked, identifying
from tench.data.cache import decoded
from tench.data.roles import Roles, left_out, roles
from tench.data.sources import Source
from tench.data.statistics import pixel_statistics
from tench.errors import ConfigError, RecordError, TenchError
from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork
from tench.networks.pretrained import load_into, read_weights
from tench.networks.reference import Network, from_table, network
from tench.networks.table import parse
from tench.records import Run, run_identity
from tench.runtime import apply_engine, derived_seed, place
from tench.training.feed import Feed


@dataclass(frozen=True)
class Plan:
    """All that decides what a training computes. `options.size_px` is filled in when the plan is made."""

    network: Network
    source: Source
    recipe: Recipe
    options: Options
    engine: Engine

    def __post_init__(self) -> None:
        """The size is part of what is recorded and compared, so it is written down where the table decides it, and so is the
        precision where the rules do."""
        object.__setattr__(self, "options", self.options.model_copy(update={"size_px": self.px}))
        if self.rules.arithmetic == "single":
            object.__setattr__(self, "engine", self.engine.model_copy(update={"precision": "float32"}))
        self._check_sizes()
        self._check_processes()

    def _check_processes(self) -> None:
        """Raise ConfigError for what several processes cannot do, or only they."""
        parts, processes = self.options.norm_parts, self.engine.processes
        if parts not in (1, processes):
            raise ConfigError(
                f"norm_parts is {parts}: each of so many processes takes batch norm's statistics of its own share of a batch. There are"
                f" {processes}; start {parts} (torchrun --nproc-per-node {parts}), or leave it out."
            )
        if processes > 1 and self.engine.compiled:
            raise ConfigError("Several processes share a training without torch.compile; leave --compile out, or start one process.")

    def _check_sizes(self) -> None:
        """Raise TableError or ConfigError where the network cannot work on pictures, or windows, of these sizes."""
        if self.network.table:
            self.network.table_for(len(self.source.classes), (self.px, self.px))
        side = self.options.crop_px
        if not side:
            return
        if side > self.px:
            raise ConfigError(f"crop_px is {side}, but the pictures are {self.px} pixels wide; take {self.px} or less (--crop).")
        if self.rules.input_normalisation == "per_pixel_mean":
            raise ConfigError("crop_px needs input_normalisation 'per_channel': a mean picture is for whole pictures; take --crop 0.")
        if self.network.table and self.network.table.resized(side).parameters != self.network.table.resized(self.px).parameters:
            raise ConfigError(
                f"crop_px is {side}, but {self.network.name} is tied to pictures of {self.px} pixels by its first FullyConnected;"
                " show it whole pictures (--crop 0), or put a GlobalMaxPool or GlobalAvgPool before that row."
            )

    @property
    def rules(self) -> Rules:
        """How the software behaves."""
        return self.recipe.rules

    @property
    def px(self) -> int:
        """Side of the pictures."""
        return self.options.size_px or self.network.input_px

    @property
    def step_px(self) -> int:
        """Side of what a training step sees."""
        return self.options.crop_px or self.px

    def identity(self, **more: Any) -> str:
        """sha256 of what decides the result: network, pictures, rules, options; not the machine, nor how it computes."""
        options = self.options.model_copy(update={"size_px": self.px})
        parts = {
            "network": self.network.text,
            "data": self.source.sha256,
            "rules": self.rules.model_dump(),
            "options": identifying(options.model_dump()),
        }
        if self.source.seen_sha256:  # it decides what is left out
            parts["seen"] = self.source.seen_sha256
        return run_identity(parts | more)


@dataclass(frozen=True)
class Prepared:
    """A plan with its pictures decoded and its module, random or pretrained, on the engine's device."""

    module: nn.Module
    feed: Feed
    roles: Roles
    preprocessing: Preprocessing
    left_out: NDArray[np.bool_] | None = None
    """Training pictures kept out of `fit`, bool (n,): for a pretrained network those it never saw."""


def prepare(plan: Plan) -> Prepared:
    """Decode the pictures, take their statistics, build the module on the engine's device. Changes no random state."""
    apply_engine(plan.engine)
    size = Preprocessing(height_px=plan.px, width_px=plan.px)
    pixels = decoded(plan.source, size)
    parts = roles(plan.source, plan.rules, plan.options)
    found = pixel_statistics(pixels, parts.fit)
    per_pixel = plan.rules.input_normalisation == "per_pixel_mean"
    numbers = {"per_pixel_mean": True} if per_pixel else {"mean": found.mean, "std": found.std}
    preprocessing = size.model_copy(update=numbers)
    seed = derived_seed(plan.options.seed, "initial weights")
    module = plan.network.build(len(plan.source.classes), preprocessing, plan.rules.initial_weights, seed)
    if per_pixel:
        module.get_buffer("normalise.mean").copy_(torch.from_numpy(found.mean_picture).permute(2, 0, 1))
    place(module, plan.engine)
    return Prepared(module, feed_of(plan, pixels), parts, preprocessing, left_out(plan.source, plan.options))


def feed_of(plan: Plan, pixels: np.ndarray) -> Feed:
    """The feed of a plan's pictures."""
    labels = np.array([picture.label for picture in plan.source.pictures], dtype=np.int64)
    sizes = [picture.size_px for picture in plan.source.pictures]
    stored_px = None if None in sizes else np.array(sizes)
    return Feed(pixels, labels, plan.options, plan.engine, stored_px)


def plan_of(run: Run, source: Source) -> Plan:
    """The plan of a run as its record has it, on the pictures of `source`.

    Raises RecordError where its network's code is gone, or the record is damaged.
    """
    recipe = Recipe(name=run.record.recipe, rules=_recorded(Rules, run, "rules"))
    options, engine = _recorded(Options, run, "options"), _recorded(Engine, run, "engine")
    return Plan(network_of(run), source, recipe, options, engine)


def trained(run: Run, engine: Engine) -> TableNetwork | ForeignNetwork:
    """The run's network with its final weights, in evaluation mode, on the engine's device.

    Raises RecordError for a run that has none yet or whose record is damaged, WeightsError where they do not fit.
    """
    if run.record.status != "finished":
        raise RecordError(f"{run.id} is {run.record.status} and has no final weights yet; go on with it by `tench resume {run.id}`.")
    tensors, _ = read_weights(run.weights_path)
    preprocessing = _recorded(Preprocessing, run, "preprocessing")
    module = network_of(run).build(len(run.record.data.classes), preprocessing)
    load_into(module, tensors, str(run.weights_path))
    place(module, engine)
    return module.eval()


def _recorded(kind: type[ModelT], run: Run, part: Literal["rules", "options", "engine", "preprocessing"]) -> ModelT:
    """A part of the run's record. Raises RecordError where it is damaged."""
    try:
        return checked(kind, getattr(run.record, part), f"the {part} in it")
    except ConfigError as error:
        raise RecordError(f"{run.record_path} is damaged: {error} Restore it from a copy, or train the run again.") from None


def network_of(run: Run) -> Network:
    """The network a run was made with, from its record; code is found where it was found then, and must be the same.

    Raises RecordError where that code is gone or has changed.
    """
    facts = run.record.network
    if facts.kind == "table":
        return from_table(parse(facts.text, f"the network in {run.record_path}"))
    reference = run.local().get("network", facts.name)
    try:
        found = network(reference)
    except TenchError as error:
        raise RecordError(f"{run.id} was made with {reference}, which cannot be had any more: {error}") from None
    if found.text != facts.text:
        raise RecordError(f"{run.id} was made with {reference}, which has changed since; bring back the version it was made with.")
    return found


def refuse_idle_precision(precision: Precision | None, recipes: Sequence[Recipe]) -> None:
    """Raise ConfigError where bfloat16 was asked for, and none of `recipes` would compute in it."""
    if precision == "bfloat16" and all(recipe.rules.arithmetic == "single" for recipe in recipes):
        names = ", ".join(dict.fromkeys(recipe.name for recipe in recipes))
        whose = f"The recipe {names}" if names else "What trains no network"
        raise ConfigError(f"{whose} computes in float32 throughout (arithmetic 'single'); leave precision out.")
