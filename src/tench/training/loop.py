"""The training loop: epochs of steps, a validation after each, patience, checkpoints, and an end that follows the rules."""

import copy
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from tench.config import Engine
from tench.errors import ConfigError, InterruptedTraining, TrainingError
from tench.records import Run
from tench.runtime import autocast, code_identity, derived_seed, stop_signals
from tench.training import checkpoint
from tench.training.balance import class_weights
from tench.training.batchnorm import Synchronised, batch_statistics, pool_statistics
from tench.training.checkpoint import Progress
from tench.training.feed import training_batches
from tench.training.group import Group
from tench.training.plan import Plan, Prepared
from tench.training.schedule import learn_rate
from tench.training.solvers import Solver

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
    """One network on its way. `to_the_end()` goes on from wherever `progress` stands, to the end of the training.

    Each process of its `group` does the same with its share of every batch; the first one alone writes into the run's folder.
    """

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        run: Run,
        watcher: Watcher,
        rate_factors: dict[str, float] | None = None,
        group: Group | None = None,
    ) -> None:
        self.module, self.feed, self.roles = prepared.module, prepared.feed, prepared.roles
        self.rules, self.options, self.engine = plan.rules, plan.options, plan.engine
        self.folder, self.run, self.watcher, self.group = run.checkpoints, run, watcher, group or Group()
        self.identity = plan.identity()
        self.solver = Solver(self.module, self.rules, self.options, rate_factors, self.engine.precision)
        self.forward = torch.compile(self.module) if self.engine.compiled else self.module
        self.steps_per_epoch = self._counted_steps()
        weights = class_weights(self.options.class_weights, self.feed.labels[self.roles.fit], len(plan.source.classes))
        self.class_weights = None if weights is None else weights.to(self.engine.device)
        self.progress = Progress()
        self.sums = self._no_sums()
        self.stop_signal: int | None = None
        self._saved_at = self._clock = time.monotonic()

    # --- the whole way -------------------------------------------------------------------------------------------

    def to_the_end(self) -> str:
        """Train until the epochs or the patience are used up; returns which, in words. The module then has the result's weights."""
        with stop_signals(self._stop), torch.random.fork_rng(devices=_cuda_index(self.engine)):
            self._begin_alike()
            self.watcher.began(self.run, self.options.epochs, self.steps_per_epoch, self.progress)
            try:
                while self.progress.epoch < self.options.epochs and not self._out_of_patience():
                    self._epoch()
            finally:
                self.watcher.ended()
            if self.progress.epoch < self.options.epochs:
                self.watcher.say(f"Stopped after epoch {self.progress.epoch} of at most {self.options.epochs}: {self._why_it_ended()}.")
            if self.rules.result == "best" and self.progress.best_epoch is not None:
                self._load_best()
            if self.rules.batch_norm_after_training == "pooled_pass":
                self._pool_batch_norm()
            self.group.meet()
        return self._why_it_ended()

    def _begin_alike(self) -> None:
        """All processes must do the same from here, from the same weights: other machines may round those otherwise."""
        self.group.agree(f"{self.identity} {code_identity()} {self.progress.epoch} {self.progress.step_in_epoch}")
        self.group.copy(self.module.state_dict().values())

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """The precision of what is computed inside, and what batch norm calls a batch."""
        with ExitStack() as stack:
            stack.enter_context(autocast(self.engine))
            if self.group.size > 1 and self.options.norm_parts == 1:
                stack.enter_context(Synchronised(self.group))
            yield

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
        torch.manual_seed(derived_seed(self.options.seed, "dropout", step, *self.group.stream))
        share = self.group.share(batch)
        pictures, targets = self.feed.augmented(share, self.progress.epoch), self.feed.targets(share)
        with self._computing():
            logits = self.forward(pictures)
            loss = self._loss(logits.float(), targets)
        (loss * (len(share) / len(batch))).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            right = (logits.argmax(1) == targets).sum()
            sums = torch.stack([loss.detach() * len(share), right, torch.full_like(loss, len(share))])
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        self.group.add([*gradients, sums])
        self.solver.step(learn_rate(self.rules, self.options, step, self.steps_per_epoch))
        self.sums += sums.to(self.sums.dtype)
        self.progress.step_in_epoch += 1
        self.progress.pictures_shown += len(batch)
        if self.engine.device == "cpu" or step % CHECK_EVERY_STEPS == 0:
            self._refuse_non_finite()

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
        self._refuse_non_finite(weights_too=True)
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
        if self.group.leads:
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
        loss, right = 0.0, 0.0
        self.module.eval()
        with batch_statistics(self.module) if by_batch else nullcontext(), self._computing():
            for first in range(0, len(indices), self.options.batch_size):
                batch = self.group.share(indices[first : first + self.options.batch_size])
                if not (len(batch) or by_batch):  # a process without a picture is still waited for, where statistics are everybody's
                    continue
                logits, targets = self.forward(self.feed.pictures(batch)).float(), self.feed.targets(batch)
                loss += functional.cross_entropy(logits, targets, self.class_weights, reduction="sum").item()
                right += int((logits.argmax(1) == targets).sum())
        loss, right = self.group.total(loss, right)
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
            if self.group.leads:
                p.best_sha256 = checkpoint.save_best(self.folder, p.epoch, self.module.state_dict())
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
        if self.group.leads:
            tensors = safetensors.torch.load_file(checkpoint.best_path(self.folder, self.progress.best_epoch))
            self.module.load_state_dict(tensors)
        self.group.copy(self.module.state_dict().values())

    def _pool_batch_norm(self) -> None:
        torch.manual_seed(derived_seed(self.options.seed, "pooled pass", *self.group.stream))
        epoch = self.progress.epoch
        batches = training_batches(self.roles.fit, self.rules, self.options, epoch)
        with self._computing():
            pool_statistics(self.module, (self.feed.augmented(self.group.share(batch), epoch) for batch in batches), self.group)

    # --- never losing work ---------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of this moment, between two steps."""
        if not self.group.leads:
            return
        self.progress.solver_rate, self.progress.solver_steps = self.solver.rate, self.solver.steps
        self.progress.wall_s += self.seconds_since_asked()
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"solver.{name}": tensor for name, tensor in self.solver.tensors().items()} | {"sums": self.sums}
        # One more than the steps an epoch: its end has a place before its validation and one after it.
        checkpoint.save(self.folder, self.progress, tensors, self.progress.epoch * (self.steps_per_epoch + 1) + self.progress.step_in_epoch)
        self._saved_at = time.monotonic()

    def restore(self) -> bool:
        """Take up the newest whole checkpoint of the run; False where there is none, and training starts at the first step."""
        with self.group.one_before_others():
            found = checkpoint.load_newest(self.folder, self.watcher.say)
        if self.group.leads:
            self.run.truncate_history(found[0].epoch if found else 0)
        if found is None:
            return False
        self.progress, tensors = found
        self.module.load_state_dict(_under("module.", tensors))
        self.solver.restore(_under("solver.", tensors), self.progress.solver_rate, self.progress.solver_steps)
        self.sums = tensors["sums"].to(self.engine.device)
        return True

    def seconds_since_asked(self) -> float:
        """Seconds since this was last asked, or since the training was made."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before

    def _save_if_due(self) -> None:
        due = time.monotonic() - self._saved_at > SAVE_EVERY_S and self.progress.step_in_epoch < self.steps_per_epoch
        stop_signal = self.group.highest(self.stop_signal or 0)
        if due or stop_signal:
            self._refuse_non_finite(weights_too=True)
            self.save()
        if stop_signal:
            self.group.meet()  # nobody goes before everything is saved
            raise InterruptedTraining(
                f"Stopped in epoch {self.progress.epoch + 1}, after {self.progress.step_in_epoch} of its {self.steps_per_epoch} steps;"
                f" everything is saved. To go on: {self.group.launcher}tench resume {self.run.record.run_id}",
                stop_signal,
            )

    def _stop(self, number: int) -> None:
        """After Ctrl-C or SIGTERM the step in progress ends; then everything is saved."""
        self.stop_signal = number

    def _refuse_non_finite(self, weights_too: bool = False) -> None:
        """Before anything is saved the weights are looked at too: the step with the last finite loss may have spoilt them."""
        step = self.progress.epoch * self.steps_per_epoch + self.progress.step_in_epoch
        if not torch.isfinite(self.sums[0]):
            what = f"The loss became {self.sums[0].item()}"
        elif weights_too and not all(torch.isfinite(parameter).all() for parameter in self.module.parameters()):
            what = "A weight became infinite or nan"
        else:
            return
        raise TrainingError(
            f"{what} in epoch {self.progress.epoch + 1}, at step {step} or shortly before it: the learning rate of {self.solver.rate:g} is"
            f" too high for this network. Nothing of this step was saved. Take a rate a third as high (--learn-rate"
            f" {self.options.learn_rate / 3:.2g}), or smaller initial weights."
        )

    def _counted_steps(self) -> int:
        """Steps an epoch. Raises ConfigError where a batch would leave a process of the group without a picture, or batch norm with a
        single value."""
        batches = training_batches(self.roles.fit, self.rules, self.options, 0)
        if (smallest := min(len(batch) for batch in batches)) < self.group.size:
            raise ConfigError(
                f"{self.group.size} processes share every batch, and a batch has {smallest} pictures; take another --batch-size, or"
                f" {smallest} processes or fewer."
            )
        height, width = self.feed.pixels.shape[1:3]
        side = self.options.crop_px
        if smallest == 1:
            self._refuse_single_values(side or height, side or width, "to fit")
        if self.rules.validation_statistics == "batch" and 1 in (self.options.batch_size, len(self.roles.select) % self.options.batch_size):
            self._refuse_single_values(height, width, "in `select`")
        return len(batches)

    def _refuse_single_values(self, height_px: int, width_px: int, where: str) -> None:
        """Raise ConfigError where a batch of one picture gives a batch norm a single value: on maps of 1 x 1, or behind none."""
        one = torch.zeros(1, 3, height_px, width_px, dtype=torch.uint8, device="meta")
        try:
            copy.deepcopy(self.module).to("meta").train()(one)
        except ValueError as error:
            raise ConfigError(
                f"Of the pictures {where} there is a batch of one, which this network cannot take statistics of ({error}); take another"
                f" --batch-size than {self.options.batch_size}."
            ) from None

    def _no_sums(self) -> Tensor:
        """Loss, right answers and pictures of the epoch so far (float64, where the device has it)."""
        return torch.zeros(3, dtype=torch.float32 if self.engine.device == "mps" else torch.float64, device=self.engine.device)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _cuda_index(engine: Engine) -> list[torch.device]:
    return [torch.device(engine.device)] if engine.device.startswith("cuda") else []
