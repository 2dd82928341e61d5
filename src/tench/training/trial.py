"""The engine's trial: a few steps of the actual network, size and batch under each way of computing, before the run begins.

A trial only proposes: what was taken stands in the run's record and is kept when it is resumed. It is remembered for this machine,
so that the runs of a comparison, which differ in their seeds only, are all computed in one way.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from tench.config import Engine, Layout, Preprocessing, cache_folder
from tench.records import make_folder, write_bytes_atomically
from tench.records.files import held, is_held
from tench.runtime import apply_engine, autocast, core_count, cpu_count, machine_facts, place
from tench.training.plan import Plan
from tench.training.solvers import Solver

Field = Literal["layout", "compiled", "threads"]

ROUNDS = 3
WARM_UP = 2
LARGEST_SHARE = 0.05
"""Of the run's own time, that a trial may take: it gains 10 to 30 % where it gains anything."""
COMPILING_S = 60.0
"""What compiling a step takes about on a CPU (50 s for network_84_8153 on 2 cores)."""
WORTH_CHANGING = 0.97
"""An engine is left for another only where that takes at most this share of its time: less is within the noise."""


@dataclass(frozen=True)
class Tried:
    """One trial as it is remembered: what was tried for, the median seconds of a step by each engine, in words, and the one taken."""

    what: str
    step_s: dict[str, float]
    layout: Layout
    compiled: bool
    threads: int


class Stepper:
    """Training steps of a plan's network on noise, under `engine`; the network is a new one, no run's."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        apply_engine(engine)
        classes, side = len(plan.source.classes), plan.step_px
        self.module: nn.Module = plan.network.build(classes, Preprocessing(height_px=side, width_px=side))
        place(self.module, engine)
        self.engine, self.solver = engine, Solver(self.module, plan.rules, plan.options, precision=engine.precision)
        self.forward: nn.Module | Callable[[torch.Tensor], torch.Tensor] = torch.compile(self.module) if engine.compiled else self.module
        self.batch = plan.options.batch_size
        memory_format = torch.channels_last if engine.layout == "channels_last" else torch.contiguous_format
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randint(0, 256, (self.batch, 3, side, side), dtype=torch.uint8, generator=generator)
        self.pictures = pictures.to(engine.device).contiguous(memory_format=memory_format)
        self.targets = (torch.arange(self.batch) % classes).to(engine.device)

    def step_s(self) -> float:
        """Seconds of one step."""
        began = time.perf_counter()
        torch.set_num_threads(self.engine.threads)
        self.module.train()
        with torch.random.fork_rng(devices=[]), autocast(self.engine):
            loss = functional.cross_entropy(self.forward(self.pictures).float(), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.solver.step(1e-9)
        loss.item()  # waits for a GPU
        return time.perf_counter() - began


def proposed(plan: Plan, free: Iterable[Field], steps: int, say: Callable[[str], None] = lambda text: None) -> Engine:
    """The plan's engine with its `free` fields as a trial finds them fastest, for a run of `steps` steps.

    Remembered trials are used again. Nothing is tried where that would take more than LARGEST_SHARE of the run; compiling is
    tried only where the run is long enough to earn it back.
    """
    free = set(free)
    if not free:
        return plan.engine
    path, key = _memory(), _key(plan, free)
    if not (known := remembered(path).get(key)) and LARGEST_SHARE * steps >= WARM_UP + 2 * ROUNDS:
        # One at a time: two trials at once slow each other down, and runs that begin together could choose differently.
        make_folder(path.parent)
        lock = path.with_suffix(".lock")
        if is_held(lock):
            say("Engine: waiting for another run, which tries ways of computing just now")
        with held(lock, wait=True):
            if not (known := remembered(path).get(key)):
                return _tried(plan, free, steps, say, path, key)
    return plan.engine.model_copy(update={name: getattr(known, name) for name in get_args(Field)}) if known else plan.engine


def _tried(plan: Plan, free: set[Field], steps: int, say: Callable[[str], None], path: Path, key: str) -> Engine:
    """What a trial finds fastest; remembered as `key` in `path` where there was anything to try."""
    say("Engine: trying which way of computing is the fastest here")
    own = Stepper(plan, plan.engine)
    own.step_s()
    run_s = own.step_s() * steps
    found = {_words(plan.engine): own}
    if "layout" in free:
        other: Layout = "channels_first" if plan.engine.layout == "channels_last" else "channels_last"
        _add(found, plan, plan.engine.model_copy(update={"layout": other}), say)
    if "compiled" in free and run_s * LARGEST_SHARE >= COMPILING_S and _can_compile(plan.engine):
        for engine in [stepper.engine for stepper in found.values()]:
            _add(found, plan, engine.model_copy(update={"compiled": True}), say)
    # Processors that share a core: as many threads as cores is what torch takes, and usually best.
    if "threads" in free and plan.engine.device == "cpu" and plan.engine.threads == core_count() < cpu_count():
        _add(found, plan, plan.engine.model_copy(update={"threads": cpu_count()}), say)
    if len(found) == 1:
        return plan.engine
    seconds = _alternating(found)
    taken = _taken(plan.engine, {words: (stepper.engine, seconds[words]) for words, stepper in found.items()})
    rates = ", ".join(f"{words} {own.batch / s:,.1f} pictures/s" for words, s in seconds.items())
    say(f"Engine: {_words(taken)} (tried on this machine: {rates})")
    _remember(path, key, Tried(_what(plan), seconds, taken.layout, taken.compiled, taken.threads))
    return taken


def _taken(own: Engine, tried: dict[str, tuple[Engine, float]]) -> Engine:
    """The engine to take: layout and compiling of the fastest, and threads of the fastest, each only where it is worth changing."""
    enough = WORTH_CHANGING * tried[_words(own)][1]
    same_threads = [(engine, seconds) for engine, seconds in tried.values() if engine.threads == own.threads]
    more_threads = [engine for engine, seconds in tried.values() if engine.threads != own.threads and seconds <= enough]
    best, seconds = min(same_threads, key=lambda entry: entry[1])
    best = best if seconds <= enough else own
    return best.model_copy(update={"threads": more_threads[0].threads}) if more_threads else best


def _add(found: dict[str, Stepper], plan: Plan, engine: Engine, say: Callable[[str], None]) -> None:
    """Make ready to try `engine`; where it cannot compute this network, that is said, and it is left out."""
    try:
        stepper = Stepper(plan, engine)
        for _ in range(WARM_UP):
            stepper.step_s()
    except Exception as error:  # a compiler may fail in any way; the run goes on without it
        say(f"Engine: {_words(engine)} cannot be used here: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        return
    found[_words(engine)] = stepper


def _alternating(steppers: dict[str, Stepper]) -> dict[str, float]:
    """Median seconds of a step, one of each in turn, so that a machine that drifts treats all alike."""
    taken: dict[str, list[float]] = {words: [] for words in steppers}
    for _ in range(ROUNDS):
        for words, stepper in steppers.items():
            taken[words].append(stepper.step_s())
    return {words: median(times) for words, times in taken.items()}


def _can_compile(engine: Engine) -> bool:
    return sys.platform != "win32" and (engine.device != "cpu" or any(shutil.which(name) for name in ("g++", "clang++", "c++")))


def _words(engine: Engine) -> str:
    threads = f", {engine.threads} threads" if engine.threads > core_count() else ""
    return engine.layout + (", compiled" if engine.compiled else "") + threads


def _what(plan: Plan) -> str:
    return f"{plan.network.name} at {plan.step_px} px, batches of {plan.options.batch_size}, {plan.options.optimizer}"


def _key(plan: Plan, free: set[Field]) -> str:
    machine = machine_facts(plan.engine)
    engine = {name: value for name, value in plan.engine.model_dump().items() if name not in free}
    parts = (_what(plan), plan.network.text, engine, sorted(free), machine.processor, machine.cores, machine.accelerator, torch.__version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _memory() -> Path:
    return cache_folder() / "engines.json"


def remembered(path: Path | None = None) -> dict[str, Tried]:
    """All trials remembered on this machine; none where the file is not there or cannot be read."""
    try:
        entries = json.loads((path or _memory()).read_bytes())
        return {key: Tried(**entry) for key, entry in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _remember(path: Path, key: str, tried: Tried) -> None:
    entries = {**remembered(path), key: tried}
    write_bytes_atomically(path, json.dumps({key: vars(entry) for key, entry in entries.items()}, indent=2).encode())
