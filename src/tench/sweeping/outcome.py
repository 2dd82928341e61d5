"""What a sweep has found: its trials, ranked by the loss on `select`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from tench.sweeping.journal import Journal, parameters_of

Status = Literal["finished", "pruned", "failed", "running", "waiting"]
_ORDER: tuple[Status, ...] = ("finished", "pruned", "running", "waiting", "failed")

FACTS = "facts"
"""The attribute of a trial in the journal that has what Trial has beside number and options."""
CHOSEN_BY = (
    "Ranked by the loss on `select`. Test scores are left out on purpose: a network that was picked by its test score looks better by it"
    " than it is."
)


@dataclass(frozen=True)
class Trial:
    """One training of a sweep. Losses in nats a picture, shares 0 to 1, times in seconds."""

    number: int
    status: Status
    options: Mapping[str, Any]
    """Those that vary, by their names."""
    run_id: str | None = None
    select_loss: float | None = None
    """Of the weights that were kept; of a pruned trial the loss it was stopped at."""
    select_top1: float | None = None
    epochs: int | None = None
    seconds: float | None = None
    """From its start to its result."""
    reason: str | None = None
    """Why it failed or was pruned."""

    def as_dict(self) -> dict[str, Any]:
        """A row of a table."""
        result = {"run": self.run_id, "select_loss": self.select_loss, "select_top1": self.select_top1}
        return {"trial": self.number, "status": self.status, **self.options, **result, "epochs": self.epochs, "seconds": self.seconds}


@dataclass(frozen=True)
class Outcome:
    """A sweep as it stands."""

    name: str
    storage: Path
    """The journal it is kept in."""
    network: str
    recipe: str
    fixed: Mapping[str, Any]
    """Options that were given and did not vary."""
    trials: tuple[Trial, ...]
    """Finished ones by their loss on `select`, the lowest first; then pruned ones, by theirs; then the others."""

    @property
    def best(self) -> Trial | None:
        """The finished trial with the lowest loss on `select`; None where none is finished."""
        return next((trial for trial in self.trials if trial.status == "finished"), None)

    @property
    def best_options(self) -> dict[str, Any]:
        """All options of the best trial that were given, to train it again: `tench.train(network, **best_options)`."""
        return {**self.fixed, **(self.best.options if self.best else {})}


def ranked(journal: Journal) -> tuple[Trial, ...]:
    """All trials of the sweep, those of other processes included."""
    found = [_trial(journal, trial) for trial in journal.trials()]
    return tuple(sorted(found, key=lambda t: (_ORDER.index(t.status), float("inf") if t.select_loss is None else t.select_loss, t.number)))


def _trial(journal: Journal, trial: FrozenTrial) -> Trial:
    if trial.state.is_finished():
        return Trial(trial.number, options=parameters_of(trial), **trial.user_attrs[FACTS])
    return Trial(trial.number, "running" if journal.in_use(trial.number) else "waiting", parameters_of(trial))
