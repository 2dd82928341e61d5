"""A training that is watched by its sweep, which may stop it."""

import math
from typing import Any

import optuna

from tench.errors import InterruptedTraining
from tench.records import Run
from tench.records.model import finite
from tench.training.checkpoint import Progress
from tench.training.loop import Watcher


class PrunedTraining(InterruptedTraining):
    """A sweep stopped a training that was worse than most.

    Its run is kept as an interrupted one, with a note: that is what it is. It did not fail, it has no score on the test pictures as
    finished ones have, and it can be gone on with from its checkpoint, by `tench resume` or by whatever wants that very training.
    """


class Judge(Watcher):
    """Tells the sweep the loss on `select` epoch by epoch, and what happens to `watcher`. Raises PrunedTraining between two epochs."""

    def __init__(self, watcher: Watcher, trial: optuna.Trial, sweep: str) -> None:
        self.watcher, self.trial, self.sweep = watcher, trial, sweep
        self.run: Run | None = None
        self.epochs = 0
        self.last: dict[str, Any] = {}

    def began(self, run: Run, epochs: int, steps_per_epoch: int, progress: Progress) -> None:
        """Epochs before an interruption count too."""
        self.run, self.epochs = run, epochs
        for line in run.history():
            self._report(line)
        self.watcher.began(run, epochs, steps_per_epoch, progress)

    def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
        """Passed on."""
        self.watcher.stepped(epoch, step, pictures_per_s)

    def epoch_ended(self, line: dict[str, Any]) -> None:
        """The training is saved when this is called, so it may end here. After its last epoch nothing would be gained by that."""
        self.watcher.epoch_ended(line)
        self._report(line)
        if line["epoch"] < self.epochs and self.trial.should_prune():
            why = f"stopped after epoch {line['epoch']} by the sweep {self.sweep}: loss on select above the median of earlier trials"
            assert self.run is not None
            self.run.update(notes=(*self.run.record.notes, why))
            raise PrunedTraining(f"Trial {self.trial.number} was {why}.", 0)

    def ended(self) -> None:
        """Passed on."""
        self.watcher.ended()

    def say(self, text: str) -> None:
        """Passed on."""
        self.watcher.say(text)

    def reached(self) -> dict[str, Any]:
        """How far the training has come: its last epoch with a validation."""
        return {"select_loss": self.last.get("select_loss"), "select_top1": self.last.get("select_top1"), "epochs": self.last.get("epoch")}

    def _report(self, line: dict[str, Any]) -> None:
        if line["select_top1"] is None:  # no validation in this epoch
            return
        self.last = finite(line)  # as the history of an earlier part has it
        loss = self.last["select_loss"]
        self.trial.report(math.inf if loss is None else loss, line["epoch"])
