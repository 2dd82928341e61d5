"""One training, from a network and pictures to a finished run folder, and the way on for one that was interrupted."""

import copy
import dataclasses
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from tench.config import Engine, Layout, Preprocessing
from tench.data.roles import roles
from tench.errors import InterruptedTraining, LostProcess, RecordError, ResumeError, TenchError, TrainingError, UsageError
from tench.inference import log_probabilities
from tench.records import Run, RunRecord, create_run, make_folder
from tench.records.run import RECORD, read_record
from tench.runtime import launched, own_device, own_threads
from tench.training.facts import differences, record_of, went_on_in
from tench.training.feed import training_batches
from tench.training.group import Group, joined
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
    what it starts from. `about` goes into the record (study, row, reported_accuracy, ...). Of several processes, which `torchrun`
    started, each takes its part; the first has the finished run for an answer, the others the run as it was when it began. Raises
    TrainingError where memory will not suffice (unless `anyway`) or the loss is not finite, InterruptedTraining after Ctrl-C or
    SIGTERM, with everything saved, LostProcess where another of the processes is gone.
    """
    watcher = watcher or Watcher()
    with joined() as group:
        if group.leads:  # before pictures are decoded, and before the engine's trial takes a step of such batches
            make_folder(runs)
            size = Preprocessing(height_px=plan.px, width_px=plan.px)
            warn_or_refuse(plan, plan.network.build(len(plan.source.classes), size), runs, watcher, anyway)
        plan = _with_engine(plan, {"layout": layout, "compiled": compiled, "threads": threads}, watcher)
        with group.one_before_others(on_each_machine=True):
            prepared = prepare(plan)
        record = record_of(plan, prepared, "train", **about)
        if not group.leads:
            return take_part(plan, prepared, Run(runs / record.run_id, record), group)
        return carry_out(plan, prepared, begin(plan, record, runs), watcher, group=group)


def _with_engine(plan: Plan, asked: dict[Field, Any], watcher: Watcher) -> Plan:
    """`plan` with the engine's fields as `asked`, or where that is None as a trial proposes."""
    engine = plan.engine.model_copy(update={field: value for field, value in asked.items() if value is not None})
    fit = roles(plan.source, plan.rules, plan.options).fit
    steps = plan.options.epochs * len(training_batches(fit, plan.rules, plan.options, 0))
    plan = dataclasses.replace(plan, engine=engine)
    # Of several processes each would choose for itself, and they would disturb each other.
    free = [field for field, value in asked.items() if value is None and engine.processes == 1]
    return dataclasses.replace(plan, engine=proposed(plan, free, steps, watcher.say))


def begin(plan: Plan, record: RunRecord, runs: Path) -> Run:
    """Make the run's folder under `runs`, and note beside the record where on this machine its network and pictures are."""
    places: dict[str, str | Path] = {"network": plan.network.reference}
    if plan.source.location:
        places["data"] = plan.source.location.resolve()
    if plan.source.seen_list:
        places["seen_hashes"] = plan.source.seen_list
    return create_run(runs, record, places)


def resume(run: Run, plan: Plan, watcher: Watcher | None = None, anyway: bool = False) -> Run:
    """Go on with an interrupted run, exactly. `plan` must be the run's own; what a trial chose of its engine is taken from the record.

    Raises ResumeError with the differences where the pictures, options, engine, code or versions are others now, unless
    `anyway`; then the record says what differed.
    """
    with joined() as group:
        plan = dataclasses.replace(plan, engine=_engine_now(run.record, plan.engine))
        if group.leads:
            refuse_changes(run, plan, anyway)
        with group.one_before_others(on_each_machine=True):
            prepared = prepare(plan)
        if not group.leads:
            return take_part(plan, prepared, run, group, resuming=True)
        return carry_out(plan, prepared, run, watcher or Watcher(), resuming=True, group=group)


def _engine_now(record: RunRecord, engine: Engine) -> Engine:
    """The engine of a run that goes on: what a trial chose as it was, but for other processes than before, which share the cores anew."""
    engine = engine.model_copy(update={field: record.engine[field] for field in get_args(Field)})
    size = launched().size
    if size != Engine.model_validate(record.engine).processes:
        engine = engine.model_copy(update={"processes": size, "threads": own_threads()})
    return engine.model_copy(update={"device": own_device(engine.device)})


def refuse_changes(run: Run, plan: Plan, anyway: bool) -> None:
    """Raise ResumeError unless the run can go on exactly as it began; with `anyway`, write down what has changed."""
    with run.held():
        _refuse_finished(run)
        found = differences(run.record, plan)
        if found and not anyway:
            raise ResumeError(
                f"{run.id} cannot go on exactly as it began: {'; '.join(found)}."
                " Bring that back, or go on all the same by --anyway (recorded)."
            )
        if found:
            run.update(notes=(*run.record.notes, "resumed although " + "; ".join(found)))
        if changes := went_on_in(run.record, plan):
            run.update(**changes)


def _refuse_finished(run: Run) -> None:
    """Raise ResumeError where the run is finished, by its record as it is now: another process may have gone on with it."""
    run.record = read_record(run.folder / RECORD)
    if run.record.status == "finished":
        raise ResumeError(f"{run.id} is finished; there is nothing to go on with. See it by `tench runs show {run.id}`.")


def take_part(plan: Plan, prepared: Prepared, run: Run, group: Group, resuming: bool = False) -> Run:
    """What a process does that is not the first of its training: every step, and nothing in the run's folder."""
    training = Training(plan, prepared, run, Watcher(), group=group)
    try:
        if resuming:
            training.restore()
        training.to_the_end()
    except LostProcess as error:
        raise _with_the_way_on(error, run, group) from error
    return run


def _with_the_way_on(error: LostProcess, run: Run, group: Group) -> LostProcess:
    return LostProcess(f"{error} What was saved before is kept. To go on: {group.launcher}tench resume {run.id}")


def carry_out(
    plan: Plan,
    prepared: Prepared,
    run: Run,
    watcher: Watcher,
    resuming: bool = False,
    rate_factors: dict[str, float] | None = None,
    group: Group | None = None,
) -> Run:
    """Train, score the test pictures once, and write the result into the run's folder; the first process of a `group` does."""
    group = group or Group()
    if group.size != launched().size:
        raise UsageError("Only trainings from scratch are shared by several processes; start this one without torchrun.")
    with run.held():
        _refuse_finished(run)
        try:
            training = Training(plan, prepared, run, watcher, rate_factors, group)
            run.update(status="running", failure=None)
            if resuming:
                training.restore()
            why = training.to_the_end()
            _finish(plan, prepared, run, training, why)
        except InterruptedTraining:
            run.update(status="interrupted")
            raise
        except LostProcess as error:
            run.update(status="interrupted")
            raise _with_the_way_on(error, run, group) from error
        except RecordError as error:  # the disk is full, or a file of the run was damaged: the training itself did not fail
            with suppress(RecordError):
                run.update(status="interrupted")
            raise RecordError(f"{error} What was saved before is kept; then go on by `tench resume {run.id}`.") from error
        except (MemoryError, RuntimeError) as error:
            if not _ran_out_of_memory(error):
                raise
            run.update(status="interrupted")
            smaller = max(1, plan.options.batch_size // 2)
            raise TrainingError(
                f"Memory ran out in {run.id} with batches of {plan.options.batch_size}. What was saved is kept: free some memory and"
                f" `tench resume {run.id}`, or train again with --batch-size {smaller}."
            ) from error
        except TenchError as error:
            run.update(status="failed", failure=str(error))
            raise
    return run


def _ran_out_of_memory(error: BaseException) -> bool:
    """On the CPU torch says so in words alone."""
    words = ("can't allocate memory", "not enough memory", "bad_alloc")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


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
