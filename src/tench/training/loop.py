"""The training loop: epochs of steps, a validation after each, patience, checkpoints, and an end that follows the rules."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from tench.config import Engine
from tench.errors import InterruptedTraining, TrainingError
from tench.records import Run
from tench.runtime import autocast, derived_seed
from tench.training import checkpoint
from tench.training.balance import class_weights
from tench.training.batchnorm import batch_statistics, pool_statistics
from tench.training.checkpoint import Progress
from tench.training.feed import training_batches
from tench.training.plan import Plan, Prepared
from tench.training.schedule import learn_rate
from tench.training.solvers import Solver

CHECKPOINTS = "checkpoints"
"""Name of the folder of checkpoints in a run's folder."""
SAVE_EVERY_S = 300.0
CHECK_EVERY_STEPS = 50
"""On a GPU the loss is looked at this often, so that the host does not wait for every step; on the CPU at every step."""


class Watcher:
    """Is told how a training goes; this one says nothing. The command line has one that draws."""

    def began(self, run: Run, epochs: int, steps_per_epoch: int, progress: Progress) -> None:
        """Before the first step, or before the first after a resume."""

    def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
        """After a step; both count from 1."""

    def epoch_ended(self, line: dict[str, Any]) -> None:
        """After an epoch's validation, with its line of the history."""

    def ended(self) -> None:
        """After the last step, however it came to be the last."""

    def say(self, text: str) -> None:
        """Something the user should know."""


class Training:
    """One network on its way. `to_the_end()` goes on from wherever `progress` stands, to the end of the training."""

    def __init__(self, plan: Plan, prepared: Prepared, run: Run, watcher: Watcher, rate_factors: dict[str, float] | None = None) -> None:
        self.module, self.feed, self.roles = prepared.module, prepared.feed, prepared.roles
        self.rules, self.options, self.engine = plan.rules, plan.options, plan.engine
        self.folder, self.run, self.watcher = run.folder / CHECKPOINTS, run, watcher
        self.solver = Solver(self.module, self.rules, self.options, rate_factors, self.engine.precision)
        self.forward = torch.compile(self.module) if self.engine.compiled else self.module
        self.steps_per_epoch = len(training_batches(self.roles.fit, self.rules, self.options, 0))
        weights = class_weights(self.options.class_weights, self.feed.labels[self.roles.fit], len(plan.source.classes))
        self.class_weights = None if weights is None else weights.to(self.engine.device)
        self.progress = Progress()
        self.sums = self._no_sums()
        self.stop_signal: int | None = None
        self._saved_at = self._clock = time.monotonic()

    # --- the whole way -------------------------------------------------------------------------------------------

    def to_the_end(self) -> str:
        """Train until the epochs or the patience are used up; returns which, in words. The module then has the result's weights."""
        with self._signals(), torch.random.fork_rng(devices=_cuda_index(self.engine)):
            self.watcher.began(self.run, self.options.epochs, self.steps_per_epoch, self.progress)
            try:
                while self.progress.epoch < self.options.epochs and not self._out_of_patience():
                    self._epoch()
            finally:
                self.watcher.ended()
            if self.rules.result == "best" and self.progress.best_epoch is not None:
                self._load_best()
            if self.rules.batch_norm_after_training == "pooled_pass":
                self._pool_batch_norm()
        return self._why_it_ended()

    def _epoch(self) -> None:
        began, epoch = time.monotonic(), self.progress.epoch
        self.module.train()
        batches = training_batches(self.roles.fit, self.rules, self.options, epoch)
        shown_before = self.progress.pictures_shown
        for batch in batches[self.progress.step_in_epoch :]:
            step_began = time.monotonic()
            self._step(batch)
            self.progress.train_s += time.monotonic() - step_began
            rate = (self.progress.pictures_shown - shown_before) / (time.monotonic() - began)
            self.watcher.stepped(epoch + 1, self.progress.step_in_epoch, rate)
            self._save_if_due()
        self._end_epoch(pictures_per_s=(self.progress.pictures_shown - shown_before) / max(time.monotonic() - began, 1e-9), began=began)

    def _step(self, batch: np.ndarray) -> None:
        step = self.progress.epoch * self.steps_per_epoch + self.progress.step_in_epoch
        torch.manual_seed(derived_seed(self.options.seed, "dropout", step))
        pictures, targets = self.feed.augmented(batch, self.progress.epoch), self.feed.targets(batch)
        with autocast(self.engine):
            logits = self.forward(pictures)
            loss = self._loss(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.solver.step(learn_rate(self.rules, self.options, step, self.steps_per_epoch))
        with torch.no_grad():
            right = (logits.argmax(1) == targets).sum()
            self.sums += torch.stack([loss.detach() * len(batch), right, torch.full_like(loss, len(batch))]).to(self.sums.dtype)
        self.progress.step_in_epoch += 1
        self.progress.pictures_shown += len(batch)
        if self.engine.device == "cpu" or step % CHECK_EVERY_STEPS == 0:
            self._refuse_non_finite(step)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of a batch, each picture's (smoothed) one times its class's weight.

        Divided by the number of pictures, not by the sum of their weights, which are 1 in the mean over `fit`: a picture then has
        the same pull in whatever batch it is, an epoch adds up to the weighted loss of all, and the learning rate means what it did.
        """
        smoothing = self.rules.label_smoothing
        if self.class_weights is None:
            return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        return (self.class_weights[targets] * functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")).mean()

    def _end_epoch(self, pictures_per_s: float, began: float) -> None:
        self._refuse_non_finite(self.progress.epoch * self.steps_per_epoch + self.steps_per_epoch - 1)
        select_loss, select_top1, better = None, None, False
        if (self.progress.epoch + 1) % self.options.validation_period == 0 or self.progress.epoch + 1 == self.options.epochs:
            select_loss, select_top1 = self.validate()
            better = self._judge(select_loss, select_top1)
        loss, right, count = self.sums.tolist()
        line = {
            "epoch": self.progress.epoch + 1,
            "loss": loss / count,
            "top1": right / count,
            "select_loss": select_loss,
            "select_top1": select_top1,
            "learn_rate": self.solver.rate,
            "best": better,
            "pictures_per_s": pictures_per_s,
            "epoch_s": time.monotonic() - began,
        }
        self.progress.epoch += 1
        self.progress.step_in_epoch = 0
        self.sums = self._no_sums()
        self.run.append_history(line)
        self.save()
        self.watcher.epoch_ended(line)

    # --- validation ----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def validate(self) -> tuple[float, float]:
        """Mean cross-entropy, weighted as in training, and top-1 accuracy (0 to 1) on `select`, by the rules' statistics, in the
        training engine."""
        indices = self.roles.select
        by_batch = self.rules.validation_statistics == "batch"
        if by_batch:  # batches sorted by class would falsify the statistics
            indices = np.random.default_rng(derived_seed(self.options.seed, "validation")).permutation(indices)
        loss, right = 0.0, 0
        self.module.eval()
        with batch_statistics(self.module) if by_batch else nullcontext(), autocast(self.engine):
            for first in range(0, len(indices), self.options.batch_size):
                batch = indices[first : first + self.options.batch_size]
                logits, targets = self.forward(self.feed.pictures(batch)).float(), self.feed.targets(batch)
                loss += functional.cross_entropy(logits, targets, self.class_weights, reduction="sum").item()
                right += int((logits.argmax(1) == targets).sum())
        weight = len(indices) if self.class_weights is None else self.class_weights[self.feed.targets(indices)].sum().item()
        return loss / weight, right / len(indices)

    def _judge(self, loss: float, top1: float) -> bool:
        """Whether this epoch is the best so far; strictly better counts, and a loss that is not finite never does."""
        p = self.progress
        if p.best_loss is None or p.best_top1 is None:
            better = math.isfinite(loss)
        else:
            better = loss < p.best_loss if self.rules.improvement == "loss" else math.isfinite(loss) and top1 > p.best_top1
        p.stale = 0 if better else p.stale + 1
        if better:
            p.best_epoch, p.best_loss, p.best_top1 = p.epoch, loss, top1
            checkpoint.save_best(self.folder, p.epoch, self.module.state_dict())
        return better

    def _out_of_patience(self) -> bool:
        return self.options.patience is not None and self.progress.stale >= self.options.patience

    def _why_it_ended(self) -> str:
        if self._out_of_patience():
            return f"no improvement on select for {self.options.patience} epochs"
        return f"all {self.options.epochs} epochs were trained"

    # --- the end, under the rules --------------------------------------------------------------------------------

    def _load_best(self) -> None:
        assert self.progress.best_epoch is not None
        tensors = safetensors.torch.load_file(checkpoint.best_path(self.folder, self.progress.best_epoch))
        self.module.load_state_dict(tensors)

    def _pool_batch_norm(self) -> None:
        torch.manual_seed(derived_seed(self.options.seed, "pooled pass"))
        epoch = self.progress.epoch
        batches = training_batches(self.roles.fit, self.rules, self.options, epoch)
        with autocast(self.engine):
            pool_statistics(self.module, (self.feed.augmented(batch, epoch) for batch in batches))

    # --- never losing work ---------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of this moment, between two steps."""
        self.progress.solver_rate, self.progress.solver_steps = self.solver.rate, self.solver.steps
        self.progress.wall_s += self.seconds_since_asked()
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"solver.{name}": tensor for name, tensor in self.solver.tensors().items()} | {"sums": self.sums}
        checkpoint.save(self.folder, self.progress, tensors, self.progress.epoch * self.steps_per_epoch + self.progress.step_in_epoch)
        self._saved_at = time.monotonic()

    def restore(self) -> bool:
        """Take up the newest whole checkpoint of the run; False where there is none, and training starts at the first step."""
        found = checkpoint.load_newest(self.folder, self.watcher.say)
        if found is None:
            self.run.truncate_history(0)
            return False
        self.progress, tensors = found
        self.module.load_state_dict(_under("module.", tensors))
        self.solver.restore(_under("solver.", tensors), self.progress.solver_rate, self.progress.solver_steps)
        self.sums = tensors["sums"].to(self.engine.device)
        self.run.truncate_history(self.progress.epoch)
        return True

    def seconds_since_asked(self) -> float:
        """Seconds since this was last asked, or since the training was made."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before

    def _save_if_due(self) -> None:
        if self.stop_signal is not None:
            self.save()
            raise InterruptedTraining(
                f"Stopped in epoch {self.progress.epoch + 1}, after {self.progress.step_in_epoch} of its {self.steps_per_epoch} steps;"
                f" everything is saved. To go on: tench resume {self.run.record.run_id}",
                self.stop_signal,
            )
        if time.monotonic() - self._saved_at > SAVE_EVERY_S and self.progress.step_in_epoch < self.steps_per_epoch:
            self.save()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM let the step in progress end; then everything is saved. (Only the main thread may listen.)"""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def remember(number: int, frame: FrameType | None) -> None:
            self.stop_signal = number

        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _refuse_non_finite(self, step: int) -> None:
        if not torch.isfinite(self.sums[0]):
            raise TrainingError(
                f"The loss became {self.sums[0].item()} in epoch {self.progress.epoch + 1}, at step {step + 1} or shortly before it: the"
                f" learning rate of {self.solver.rate:g} is too high for this network. Nothing of this epoch was saved. Take a rate a third"
                f" as high (--learn-rate {self.options.learn_rate / 3:.2g}), or smaller initial weights."
            )

    def _no_sums(self) -> Tensor:
        """Loss, right answers and pictures of the epoch so far (float64, where the device has it)."""
        return torch.zeros(3, dtype=torch.float32 if self.engine.device == "mps" else torch.float64, device=self.engine.device)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _cuda_index(engine: Engine) -> list[torch.device]:
    return [torch.device(engine.device)] if engine.device.startswith("cuda") else []
