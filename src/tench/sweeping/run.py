"""A sweep carried out: trials drawn one after the other, trained as ordinary runs, and judged by the loss on `select`."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from tench.comparison import duration
from tench.config import Engine, Options, Recipe, StudyRow
from tench.data.roles import roles
from tench.data.sources import Source
from tench.errors import InterruptedTraining, TrainingError
from tench.networks.reference import Network
from tench.records import Run, list_runs, run_identity
from tench.records.store import plain_name
from tench.studies.entries import Entry
from tench.studies.forecast import forecast
from tench.sweeping.journal import Drawing, Journal
from tench.sweeping.outcome import FACTS, Outcome, Status, ranked
from tench.sweeping.space import Space
from tench.sweeping.watching import Judge, PrunedTraining
from tench.training.feed import training_batches
from tench.training.loop import Watcher
from tench.training.plan import Plan
from tench.training.train import resume, train

JUDGED_TOGETHER = ("size_px", "crop_px", "batch_size", "epochs", "patience", "drop_period")
"""Options whose combinations may not work together, or have no effect, and are looked at before anything is trained."""


@dataclass(frozen=True)
class Sweep:
    """All that decides what a sweep does, but for how long it goes on."""

    network: Network
    source: Source
    recipe: Recipe
    engine: Engine
    space: Space
    drawing: Drawing

    @property
    def name(self) -> str:
        """The network's name and eight digits that stand for all that decides the trials: the same command has the same name."""
        parts = {
            "network": self.network.text,
            "data": self.source.sha256,
            "seen": self.source.seen_sha256,
            "rules": self.recipe.rules.model_dump(),
            "options": self.recipe.options | dict(self.space.fixed),
            "axes": {name: repr(axis) for name, axis in self.space.axes.items()},
            "drawing": {key: value for key, value in asdict(self.drawing).items() if key != "trials"},
        }
        return f"{plain_name(self.network.name)}-{run_identity(parts)[:8]}"

    def options(self, varied: dict[str, Any]) -> Options:
        """The options of one trial. Raises ConfigError that names the trial."""
        where = ", ".join(f"{name} {value}" for name, value in varied.items())
        return self.recipe.resolve(self.space.fixed, varied, where=f"the trial with {where}")

    def entry(self, options: Options) -> Entry:
        """A trial as what studies train and forecast."""
        plan = Plan(self.network, self.source, self.recipe, options, self.engine)
        return Entry("trial", "train", StudyRow(name="trial", network=self.network.reference), plan)


@dataclass
class Budget:
    """Seconds from now on; None: no end of them. What trials took beside their forecasts corrects the next forecast."""

    seconds: float | None
    began: float = field(default_factory=time.monotonic)
    taken_s: float = 0.0
    forecast_s: float = 0.0
    _last_s: float = 0.0

    def fits(self, entry: Entry) -> bool:
        """Whether the trial is forecast to end within the budget."""
        if self.seconds is None:
            return True
        self._last_s = forecast([entry]).total_s
        correction = self.taken_s / self.forecast_s if self.forecast_s else 1.0
        return time.monotonic() - self.began + self._last_s * correction <= self.seconds

    def took(self, seconds: float | None) -> None:
        """The trial that was asked for last was trained to its end, in so many seconds."""
        self.taken_s += seconds or 0.0
        self.forecast_s += self._last_s


def run_sweep(
    sweep: Sweep,
    runs: Path,
    storage: Path | None = None,
    budget_s: float | None = None,
    watcher: Watcher | None = None,
    anyway: bool = False,
) -> Outcome:
    """Draw and train trials until there are enough, or the next is forecast to end after `budget_s` seconds; runs are kept under `runs`.

    What varies is checked before anything is trained. Trials of earlier commands and of other processes with the same `storage` count.
    Raises ConfigError, RecordError for a storage that cannot be used, InterruptedTraining when stopped: the same call then goes on.
    """
    watcher = watcher or Watcher()
    _check(sweep, watcher)
    journal = Journal(storage or runs / "sweeps" / f"{sweep.name}.journal", sweep.name, sweep.space, sweep.drawing)
    watcher.say(f"Sweep {sweep.name} by {sweep.drawing.sampler}: {sweep.space}. Chosen by the loss on select.")
    worker = _Worker(sweep, journal, runs, Budget(budget_s), watcher, anyway)
    while worker.one_more():
        pass
    return Outcome(sweep.name, journal.path, sweep.network.reference, sweep.recipe.name, sweep.space.fixed, ranked(journal))


def _check(sweep: Sweep, watcher: Watcher) -> None:
    """Raise ConfigError, TableError or DataError for options that cannot be; say which cannot act."""
    looked_at: dict[tuple[Any, ...], Options] = {}
    for corner in sweep.space.corners():
        options = sweep.options(corner)
        looked_at.setdefault(tuple(getattr(options, name) for name in JUDGED_TOGETHER), options)
    entries = [sweep.entry(options) for options in looked_at.values()]
    for plan in (entry.plan for entry in entries):
        training_batches(roles(plan.source, plan.rules, plan.options).fit, plan.rules, plan.options, epoch=0)
    for idle in dict.fromkeys(f"Within {entry.plan.options.epochs} epochs {entry.idle} cannot act." for entry in entries if entry.idle):
        watcher.say(idle)


@dataclass(frozen=True)
class _Worker:
    """What carries trials out here; others may do so beside it."""

    sweep: Sweep
    journal: Journal
    runs: Path
    budget: Budget
    watcher: Watcher
    anyway: bool

    def one_more(self) -> bool:
        """Draw a trial and carry it out; False where there is none, or no time for it."""
        with self.journal.next_trial() as trial:
            if trial is None:
                return False
            entry = self.sweep.entry(self.sweep.options(trial.params))
            before = list_runs(self.runs).runs
            found = entry.finished(before)
            if not found and not self.budget.fits(entry):
                self.journal.put_back(trial.number)
                budget = duration(self.budget.seconds)
                self.watcher.say(f"The next trial is forecast to end beyond the budget of {budget}; the same command goes on later.")
                return False
            self.watcher.say(_title(trial) + (f": finished before, as {found.id}" if found else ""))
            if found:
                self._finished(trial, found)
            else:
                self._train(trial, entry, before)
        return True

    def _train(self, trial: optuna.Trial, entry: Entry, before: Sequence[Run]) -> None:
        judge = Judge(self.watcher, trial, self.sweep.name)
        try:
            run = self._trained(entry, before, judge)
        except PrunedTraining as pruned:
            self._tell(trial, "pruned", judge.run, reason=str(pruned), **judge.reached())
            self.watcher.say(str(pruned))
        except InterruptedTraining:
            self.watcher.say("The same command goes on with the sweep, beginning with this training.")
            raise
        except TrainingError as error:
            self._tell(trial, "failed", judge.run, reason=str(error), **judge.reached())
            self.watcher.say(f"Trial {trial.number} failed: {error}")
        else:
            self._finished(trial, run)
            self.budget.took(run.record.result.wall_s if run.record.result else None)

    def _trained(self, entry: Entry, before: Sequence[Run], watcher: Watcher) -> Run:
        if failed := entry.failed(before):
            raise TrainingError(f"{failed.record.failure} (before, as {failed.id})")
        if begun := entry.unfinished(before):
            return resume(begun, entry.plan, watcher, self.anyway)
        return train(entry.plan, self.runs, watcher, self.anyway, threads=entry.plan.engine.threads)

    def _finished(self, trial: optuna.Trial, run: Run) -> None:
        result = run.record.result
        if result is None or result.select_loss is None:
            return self._tell(trial, "failed", run, reason="The loss on select was never finite.")
        facts = {"select_top1": result.select_top1, "epochs": result.epochs, "seconds": result.wall_s}
        return self._tell(trial, "finished", run, select_loss=result.select_loss, **facts)

    def _tell(self, trial: optuna.Trial, status: Status, run: Run | None, **facts: Any) -> None:
        """Write the trial's end into the journal. One that failed counts as pruned there, so that samplers learn from it too."""
        trial.set_user_attr(FACTS, {"status": status, "run_id": run.id if run else None, **facts})
        if status == "finished":
            self.journal.study.tell(trial, facts["select_loss"])
        else:
            self.journal.study.tell(trial, state=TrialState.PRUNED)


def _title(trial: optuna.Trial) -> str:
    shown = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.params.items())
    return f"Trial {trial.number}: {shown}"
