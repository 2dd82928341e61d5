"""One training, from a network and pictures to a finished run folder, and the way on for one that was interrupted."""

import copy
import dataclasses
import shutil
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from tench.config import Layout
from tench.data.roles import roles
from tench.errors import InterruptedTraining, ResumeError, TenchError, TrainingError
from tench.inference import log_probabilities
from tench.records import Run, RunRecord, create_run
from tench.training.facts import differences, record_of
from tench.training.feed import training_batches
from tench.training.loop import Training, Watcher
from tench.training.outcome import finish, predictions, to_score
from tench.training.plan import Plan, Prepared, prepare
from tench.training.resources import needs, refuse_what_does_not_fit
from tench.training.trial import Field, proposed


def train(
    plan: Plan,
    runs: Path,
    watcher: Watcher | None = None,
    anyway: bool = False,
    layout: Layout | None = None,
    compiled: bool | None = None,
    threads: int | None = None,
    **about: Any,
) -> Run:
    """Train `plan` to its end in a new run folder under `runs`; returns the finished run.

    `layout`, `compiled` and `threads` are the engine's where they are given; else a trial may choose them, and the plan's engine is
    what it starts from. `about` goes into the record (study, row, reported_accuracy, ...). Raises TrainingError where memory will
    not suffice (unless `anyway`) or the loss is not finite, InterruptedTraining after Ctrl-C or SIGTERM, with everything saved.
    """
    watcher = watcher or Watcher()
    plan = _with_engine(plan, {"layout": layout, "compiled": compiled, "threads": threads}, watcher)
    prepared = prepare(plan)
    runs.mkdir(parents=True, exist_ok=True)
    warn_or_refuse(plan, prepared.module, runs, watcher, anyway)
    run = begin(plan, record_of(plan, prepared, "train", **about), runs)
    return carry_out(plan, prepared, run, watcher)


def _with_engine(plan: Plan, asked: dict[Field, Any], watcher: Watcher) -> Plan:
    """`plan` with the engine's fields as `asked`, or where that is None as a trial proposes."""
    engine = plan.engine.model_copy(update={field: value for field, value in asked.items() if value is not None})
    fit = roles(plan.source, plan.rules, plan.options).fit
    steps = plan.options.epochs * len(training_batches(fit, plan.rules, plan.options, 0))
    plan = dataclasses.replace(plan, engine=engine)
    free = [field for field, value in asked.items() if value is None]
    return dataclasses.replace(plan, engine=proposed(plan, free, steps, watcher.say))


def begin(plan: Plan, record: RunRecord, runs: Path) -> Run:
    """Make the run's folder under `runs`, and note beside the record where on this machine its network and pictures are."""
    run = create_run(runs, record)
    places: dict[str, str | Path] = {"network": plan.network.reference}
    if plan.source.location:
        places["data"] = plan.source.location.resolve()
    if plan.source.seen_list:
        places["seen_hashes"] = plan.source.seen_list
    run.update_local(**places)
    return run


def resume(run: Run, plan: Plan, watcher: Watcher | None = None, anyway: bool = False) -> Run:
    """Go on with an interrupted run, exactly. `plan` must be the run's own; what a trial chose of its engine is taken from the record.

    Raises ResumeError with the differences where the pictures, options, engine, code or versions are others now, unless
    `anyway`; then the record says what differed.
    """
    chosen = {field: run.record.engine[field] for field in get_args(Field)}
    plan = dataclasses.replace(plan, engine=plan.engine.model_copy(update=chosen))
    refuse_changes(run, plan, anyway)
    return carry_out(plan, prepare(plan), run, watcher or Watcher(), resuming=True)


def refuse_changes(run: Run, plan: Plan, anyway: bool) -> None:
    """Raise ResumeError unless the run can go on exactly as it began; with `anyway`, write down what has changed."""
    if run.record.status == "finished":
        raise ResumeError(f"{run.id} is finished; there is nothing to go on with. See it by `tench runs show {run.id}`.")
    found = differences(run.record, plan)
    if found and not anyway:
        raise ResumeError(
            f"{run.id} cannot go on exactly as it began: {'; '.join(found)}. Bring that back, or go on all the same by --anyway (recorded)."
        )
    if found:
        run.update(notes=(*run.record.notes, "resumed although " + "; ".join(found)))


def carry_out(
    plan: Plan, prepared: Prepared, run: Run, watcher: Watcher, resuming: bool = False, rate_factors: dict[str, float] | None = None
) -> Run:
    """Train, score the test pictures once, and write the result into the run's folder."""
    with run.held():
        try:
            training = Training(plan, prepared, run, watcher, rate_factors)
            run.update(status="running")
            if resuming:
                training.restore()
            why = training.to_the_end()
            _finish(plan, prepared, run, training, why)
        except (InterruptedTraining, torch.OutOfMemoryError, MemoryError) as error:
            run.update(status="interrupted")
            if isinstance(error, InterruptedTraining):
                raise
            smaller = max(1, plan.options.batch_size // 2)
            raise TrainingError(
                f"Memory ran out in {run.id} with batches of {plan.options.batch_size}. What was saved is kept: free some memory and"
                f" `tench resume {run.id}`, or train again with --batch-size {smaller}."
            ) from error
        except TenchError as error:
            run.update(status="failed", failure=str(error))
            raise
    return run


def _finish(plan: Plan, prepared: Prepared, run: Run, training: Training, why: str) -> None:
    beside = run.record.network.weights_sha256 is not None or plan.options.leave_unseen_out
    indices = to_score(prepared.roles, beside)
    answers = log_probabilities(prepared.module, prepared.feed.pixels, indices, plan.engine)
    p, history = training.progress, run.history()
    line = history[p.best_epoch if plan.rules.result == "best" and p.best_epoch is not None else -1]
    finish(
        run,
        prepared.module,
        predictions(plan.source, prepared.roles, answers.log_probabilities, beside),
        select_top1=line["select_top1"],
        select_loss=line["select_loss"],
        epochs=len(history),
        best_epoch=None if p.best_epoch is None else p.best_epoch + 1,
        stopped_because=why,
        train_s=p.train_s,
        wall_s=p.wall_s + training.seconds_since_asked(),
        pictures_shown=p.pictures_shown,
        training_flop=training_flop(plan, p.pictures_shown),
        solver_flop=float(training.solver.step_flop() * training.solver.steps),
        scored_by=answers.engine,
    )
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def training_flop(plan: Plan, pictures_shown: int) -> float:
    """What the steps cost by the table: a forward pass is 2 operations a multiply-add, a backward pass twice that."""
    return 6.0 * plan.network.counts(len(plan.source.classes), plan.step_px).macs * pictures_shown


def warn_or_refuse(plan: Plan, module: nn.Module, runs: Path, watcher: Watcher, anyway: bool) -> None:
    """Estimate memory and disk before step 1: refuse what will not fit, unless `anyway`, and warn of a disk too small."""
    estimate = needs(copy.deepcopy(module).to("meta"), plan.options, plan.step_px, plan.step_px)
    try:
        warning = refuse_what_does_not_fit(estimate, plan.options, plan.engine, runs)
    except TrainingError as error:
        if not anyway:
            raise
        warning = str(error)
    if warning:
        watcher.say(warning)
