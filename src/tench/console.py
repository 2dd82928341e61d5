"""How trainings are told to a person: a live line in a terminal, plain lines elsewhere, nothing when asked to be quiet."""

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from tench.comparison import duration
from tench.runtime import used_by_others
from tench.training.loop import Watcher

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from tench.records import Run
    from tench.training.checkpoint import Progress

HEADING = f"{'epoch':>9} {'loss':>8} {'fit':>7} {'select':>8} {'':>7} {'rate':>9} {'pictures/s':>11} {'time':>10}"

BUSY_SHARE = 0.3
"""Of the processors, used by others, from which on it is said that fewer threads may be faster. One of two cores is 0.5."""


class Teller(Watcher):
    """Writes what happens to `console` (standard error, so that standard output holds results only)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Bar | None = None
        self.task: TaskID | None = None
        self.epochs = self.steps = 0
        self.began_at = 0.0
        self.said_cpu = False

    def began(self, run: "Run", epochs: int, steps_per_epoch: int, progress: "Progress") -> None:
        """The run's name, the way to go on with it, and the heading of its epochs."""
        self.epochs, self.steps, self.began_at = epochs, steps_per_epoch, time.monotonic()
        self.first_epoch = progress.epoch
        self.done_before = min(progress.step_in_epoch / max(steps_per_epoch, 1), 0.99)  # of an epoch that had begun
        going_on = f", going on in epoch {progress.epoch + 1}" if progress.epoch or progress.step_in_epoch else ""
        if run.record.engine.get("device") == "cpu" and not self.said_cpu:
            self.say("No GPU is in use: everything runs on the CPU.")
            self.said_cpu = True
            if not going_on:  # a run keeps its threads
                self._say_if_busy(run.record.engine.get("threads", 1))
        self.say(f"{run.id}: epochs at most: {epochs}, steps in each: {steps_per_epoch}{going_on}")
        self.say(HEADING)
        if self.console.is_terminal:
            self._start_bar()

    def _say_if_busy(self, threads: int) -> None:
        if threads > 1 and (share := used_by_others()) > BUSY_SHARE:
            self.say(
                f"Other programs use {share:.0%} of this machine's processors. Threads that wait for each other then lose much:"
                f" with --threads {max(1, threads // 2)} it may go faster (docs/speed.md has measurements)."
            )

    def _start_bar(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task = self.bar.add_task("", total=self.steps, rate="")
        self.bar.start()

    def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
        """The live line."""
        if self.bar is not None and self.task is not None:
            rate = f"{pictures_per_s:,.0f} pictures/s"
            self.bar.update(self.task, completed=step, description=f"epoch {epoch}/{self.epochs}", rate=rate)

    def epoch_ended(self, line: dict[str, Any]) -> None:
        """A line of the table; a star marks the best epoch so far."""
        spent = time.monotonic() - self.began_at
        left = spent / (line["epoch"] - self.first_epoch - self.done_before) * (self.epochs - line["epoch"])
        mark = "*" if line["best"] else " "
        selected = f"{line['select_loss']:8.4f} {100 * line['select_top1']:6.2f}%" if line["select_loss"] is not None else f"{'':16}"
        self.say(
            f"{line['epoch']:>4}/{self.epochs:<3}{mark} {line['loss']:8.4f} {100 * line['top1']:6.2f}% {selected}"
            f" {line['learn_rate']:9.2g} {line['pictures_per_s']:11,.1f} {duration(line['epoch_s']):>10}"
            + (f", at most {duration(left)} left" if left else "")
        )

    def say(self, text: str) -> None:
        """One line as it is; nothing in it is taken for markup."""
        self.console.print(Text(text), soft_wrap=True, highlight=False)

    def ended(self) -> None:
        """Take the live line away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def teller(quiet: bool) -> Watcher:
    """What tells the user how a training goes."""
    return Watcher() if quiet else Teller(Console(stderr=True))
