"""The trials of a sweep, kept by Optuna in a journal: a file of JSON lines that several processes may share.

Optuna's journal in a file has no snapshots, which it would pickle; a journal on Redis would. Hence no other storage is offered.
"""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from tench.errors import ConfigError, RecordError
from tench.records.files import held, is_held, make_folder, read_lines
from tench.runtime import derived_seed
from tench.sweeping.space import Axis, Range, Space

SamplerName = Literal["grid", "random", "tpe"]
DEFAULT_TRIALS = 20
TRIALS_BEFORE_PRUNING = 5
"""So many must have ended before their median says anything."""
EPOCHS_BEFORE_PRUNING = 1
"""The loss after the first epoch alone says little."""


@dataclass(frozen=True)
class Drawing:
    """How a sweep's trials are drawn."""

    sampler: SamplerName
    seed: int
    trials: int | None
    """At most so many, by all processes together; None: all there are."""
    prune: bool


def drawing(space: Space, sampler: str | None, seed: int, trials: int | None, prune: bool) -> Drawing:
    """How to draw from `space`; a sampler or number that is None is chosen. Raises ConfigError for what cannot be."""
    ranges = [name for name, axis in space.axes.items() if isinstance(axis, Range)]
    name = sampler or ("tpe" if ranges else "grid")
    if name not in get_args(SamplerName):
        raise ConfigError(f"sampler is '{name}'; take {', '.join(get_args(SamplerName))}.")
    if name == "grid" and ranges:
        axis = space.axes[ranges[0]]
        raise ConfigError(
            f"{ranges[0]} is the range {axis}, and a grid has none: write a list, its values parted by commas, or the range with a step,"
            " low..high/step; or take --sampler random or tpe."
        )
    if trials is not None and trials < 1:
        raise ConfigError(f"trials is {trials}; take 1 or more.")
    if name == "grid" and seed:
        raise ConfigError(f"sampler_seed is {seed}, but a grid draws nothing; leave it out, or take --sampler random or tpe.")
    if seed < 0:
        raise ConfigError(f"sampler_seed is {seed}; take 0 or more.")
    return Drawing(name, seed, trials if trials or name == "grid" else DEFAULT_TRIALS, prune)  # type: ignore[arg-type]


class Journal:
    """One sweep in a storage file, which may hold others. Whoever works on a trial holds its lock, so a trial that is running with
    its lock free was broken off: its parameters are handed out again. Needs a file system with locks.
    """

    def __init__(self, path: Path, name: str, space: Space, drawing: Drawing) -> None:
        self.path, self.name, self.space, self.drawing = path.absolute(), name, space, drawing
        self.distributions = {option: _distribution(axis) for option, axis in space.axes.items()}
        self.locks = self.path.with_name(self.path.name + ".locks")
        make_folder(self.locks)

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's study; made where it is not there. Raises RecordError for a file that is no journal."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner: BasePruner = NopPruner()
        if self.drawing.prune:
            pruner = MedianPruner(TRIALS_BEFORE_PRUNING, n_warmup_steps=EPOCHS_BEFORE_PRUNING + 1)
        lock = JournalFileOpenLock(str(self.path))
        try:
            self._make_sound(lock)
            storage = JournalStorage(JournalFileBackend(str(self.path), lock))
            return optuna.create_study(study_name=self.name, storage=storage, load_if_exists=True, pruner=pruner)
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecordError) as error:
            raise RecordError(
                f"{self.path} cannot be used as the storage of a sweep: {error}. Name another file by --storage, or restore it from a copy."
            ) from error

    def trials(self) -> list[FrozenTrial]:
        """All trials in their order, without those that were handed out again under another number."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]

    def in_use(self, number: int) -> bool:
        """Whether a process works on this trial now."""
        return is_held(self._lock(number))

    @contextmanager
    def next_trial(self) -> Iterator[optuna.Trial | None]:
        """The next trial, held for the time of the block; None where there are no more."""
        with ExitStack() as stack:
            with self._alone():
                self._put_back_broken_off()
                trial = self._draw()
                if trial is not None:
                    stack.enter_context(held(self._lock(trial.number)))
            yield trial
        if trial is not None:
            self._forget_lock(trial.number)

    def put_back(self, number: int) -> None:
        """Hand the parameters of a running trial out again, next of all."""
        frozen = self.study.get_trials(deepcopy=False)[number]
        self.study.tell(number, state=TrialState.FAIL)
        if frozen.params.keys() == self.distributions.keys():
            self.study.enqueue_trial(frozen.params)

    # --- drawing; all of it while no other process draws ---------------------------------------------------------

    def _put_back_broken_off(self) -> None:
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and not self.in_use(trial.number):
                self.put_back(trial.number)
                self._forget_lock(trial.number)

    def _draw(self) -> optuna.Trial | None:
        there = self.trials()
        if not any(trial.state == TrialState.WAITING for trial in there):
            most = [most for most in (self.drawing.trials, self.space.size) if most is not None]
            if most and len(there) >= min(most):
                return None
            if self._counted_out:
                self.study.enqueue_trial(self._untaken(there))
        self.study.sampler = self._sampler(len(there))
        trial = self.study.ask(self.distributions)
        if self.space.size and trial.params in [parameters_of(other) for other in there if other.number != trial.number]:
            # A sampler that learns comes back to what was good; among so few that would train nothing new.
            self.study.tell(trial, state=TrialState.FAIL)
            self.study.enqueue_trial(self._untaken(there))
            trial = self.study.ask(self.distributions)
        return trial

    @property
    def _counted_out(self) -> bool:
        """Whether the combinations are counted, and taken without Optuna's advice. (Its own grid gives two processes the same ones.)"""
        return self.drawing.sampler == "grid" or (self.drawing.sampler == "random" and self.space.size is not None)

    def _untaken(self, there: list[FrozenTrial]) -> dict[str, Any]:
        """A combination that no trial has: of a grid the first one, else the first from a random place."""
        size, taken = self.space.size or 0, [parameters_of(trial) for trial in there]
        first = 0 if self.drawing.sampler == "grid" else random.Random(self._seed(len(there))).randrange(size)
        combinations = (self.space.combination((first + step) % size) for step in range(size))
        return next(combination for combination in combinations if combination not in taken)

    def _sampler(self, count: int) -> BaseSampler:
        """Its seed depends on how many trials there are, so that going on later draws what going on at once would have drawn."""
        return TPESampler(seed=self._seed(count)) if self.drawing.sampler == "tpe" else RandomSampler(seed=self._seed(count))

    def _seed(self, count: int) -> int:
        return derived_seed(self.drawing.seed, "trial", count) % 2**32  # numpy's old generators take no more

    # --- the file and its locks ---------------------------------------------------------------------------------------------------

    def _make_sound(self, lock: JournalFileOpenLock) -> None:
        """Refuse a file that is no journal, to which Optuna would append, and cut off a line that a killed process left unfinished,
        with which Optuna would join the next."""
        if not self.path.exists():
            return
        lock.acquire()
        try:
            content, lines = self.path.read_bytes(), read_lines(self.path)
            if content and not (lines and "op_code" in lines[0]):
                raise ValueError("it is no journal of Optuna's")
            os.truncate(self.path, content.rfind(b"\n") + 1)
        finally:
            lock.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with held(self.locks / "drawing", wait=True):
            yield

    def _lock(self, number: int) -> Path:
        return self.locks / f"{self.name}.{number}"

    def _forget_lock(self, number: int) -> None:
        self._lock(number).unlink(missing_ok=True)


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters, also of one that waits."""
    return trial.params or trial.system_attrs.get("fixed_params", {})


def _distribution(axis: Axis) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    return IntDistribution(int(axis.low), int(axis.high)) if axis.whole else FloatDistribution(axis.low, axis.high, log=axis.log)
