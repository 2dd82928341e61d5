"""A study carried out: what is finished is not run again, what was interrupted goes on, and one failure does not stop the rest."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from tench.comparison import NotRun, duration
from tench.config import Engine, Study
from tench.data.roles import roles
from tench.data.sources import Source
from tench.errors import InterruptedTraining, RecordError, TenchError, TrainingError
from tench.explain.exhibits import exhibit_or_say
from tench.records import Run, list_runs
from tench.records.run import RECORD
from tench.studies.cluster import Carry, Cluster, on_cluster
from tench.studies.entries import Choices, Entry, entries
from tench.studies.forecast import Forecast, forecast
from tench.studies.outcome import Outcome
from tench.studies.publish import publish, refuse_to_lose
from tench.training.feed import training_batches
from tench.training.loop import Watcher
from tench.training.train import resume, train
from tench.training.transfer import resume_fine_tuning, transfer, untrained


def run_study(
    study: Study,
    source: Source,
    runs: Path,
    engine: Engine,
    choices: Choices | None = None,
    weights: Path | None = None,
    watcher: Watcher | None = None,
    anyway: bool = False,
    exhibits: bool = True,
    cluster: Cluster | None = None,
    save: Path | None = None,
) -> Outcome:
    """Train and score every row of `study` on `source`; runs are kept under `runs`, each with its exhibits unless those are not wanted.

    With a `cluster` they go on there, several at a time; else here, one after the other. `save`: a folder to publish them in (`publish`).
    All rows are checked before the first is trained. Raises NotFoundError, ConfigError and UsageError then, InterruptedTraining when
    stopped.
    """
    watcher = watcher or Watcher()
    wanted, not_run = entries(study, source, engine, choices or Choices(), weights)
    before = list_runs(runs).runs
    to_do = [entry for entry in wanted if not entry.finished(before)]
    _refuse_too_large_batches(to_do)
    _say_idle(to_do, watcher)
    _say_other_precision(wanted, to_do, before, watcher)
    expected = forecast(to_do)
    _say_forecast(to_do, len(wanted), expected, watcher)
    beyond = _beyond_budget(to_do, expected, choices.budget_s if choices else None, watcher)
    wanted = [entry for entry in wanted if entry not in beyond]
    if save:
        refuse_to_lose(save, [entry.identity for entry in wanted])
    not_run += [
        NotRun(f"{entry.name}, seed {entry.plan.options.seed}", "beyond the budget", entry.row.reported_accuracy) for entry in beyond
    ]
    titles = {entry.identity: _title(number, len(wanted), entry) for number, entry in enumerate(wanted, start=1)}
    make = partial(_make, about=(study.name, weights, anyway, exhibits))
    where = (wanted, titles, make, before, runs, watcher)
    ended = _on(cluster, *where) if cluster else _here(*where)
    found = {entry.identity: result for entry, result in ended}
    done: list[Run] = []
    for entry in wanted:
        result = found[entry.identity]
        if isinstance(result, TenchError):
            not_run.append(NotRun(entry.name, f"failed: {result}", entry.row.reported_accuracy))
        else:
            # Made by another row, study or command perhaps: here it stands for this row. Its record on disk stays as it is.
            done.append(Run(result.folder, result.record.model_copy(update=_about(entry, study.name))))
    outcome = Outcome(study, tuple(done), tuple(not_run))
    if save:
        publish(outcome, save)
        watcher.say(f"Written to {save}: table.md, table.csv, table.json and the records of {len(done)} runs.")
    return outcome


def _title(number: int, of: int, entry: Entry) -> str:
    return f"[{number}/{of}] {entry.name}" + (f", seed {entry.plan.options.seed}" if entry.steps else "")


Ended = Iterator[tuple[Entry, Run | TenchError]]


def _here(wanted: Sequence[Entry], titles: dict[str, str], make: Carry, before: Sequence[Run], runs: Path, watcher: Watcher) -> Ended:
    """The runs of all entries, one after the other: found, gone on with, or made."""
    done: list[Run] = []
    for entry in wanted:
        title = titles[entry.identity]
        if found := entry.finished([*done, *before]):
            watcher.say(f"{title}: finished before, as {found.id}")
            yield entry, found
            continue
        watcher.say(title)
        try:
            done.append(make(entry, runs, watcher))
            yield entry, done[-1]
        except InterruptedTraining:
            raise
        except TenchError as error:
            watcher.say(f"{title} failed: {error}")
            yield entry, error


def _on(
    cluster: Cluster, wanted: Sequence[Entry], titles: dict[str, str], make: Carry, before: Sequence[Run], runs: Path, watcher: Watcher
) -> Ended:
    """The same on a cluster, several at a time, each identity once."""
    to_do: dict[str, Entry] = {}
    for entry in wanted:
        if found := entry.finished(before):
            watcher.say(f"{titles[entry.identity]}: finished before, as {found.id}")
            yield entry, found
        elif failed := entry.failed(before):
            yield entry, TrainingError(_failed_before(failed))
        elif busy := entry.in_use(before):
            yield entry, TrainingError(f"{busy.id} is being trained by another process; when that has ended, the same command finds it.")
        else:
            to_do.setdefault(entry.identity, entry)
    if not to_do:
        return
    for entry, result in on_cluster(cluster, [(titles[key], entry) for key, entry in to_do.items()], make, before, runs, watcher):
        how = f"failed: {result}" if isinstance(result, TenchError) else f"finished, as {result.id}"
        watcher.say(f"{titles[entry.identity]} {how}")
        yield entry, result


def _about(entry: Entry, study: str) -> dict[str, Any]:
    """What its record says of the study."""
    about: dict[str, Any] = {"study": study, "row": entry.name}
    if entry.kind != "untrained":
        about |= {"reported_accuracy": entry.row.reported_accuracy, "reported_correct": entry.row.reported_correct}
    return about


def _failed_before(run: Run) -> str:
    return f"{run.record.failure} (before, as {run.id}; to try it again: tench runs delete {run.id})"


def _make(entry: Entry, runs: Path, watcher: Watcher, about: tuple[str, Path | None, bool, bool]) -> Run:
    """The entry's run, made under `runs` or gone on with there, with its exhibits; `about`: study, weights, anyway, exhibits."""
    study, weights, anyway, exhibits = about
    run = _trained(entry, runs, watcher, study, weights, anyway)
    if exhibits:
        exhibit_or_say(run, entry.plan.source, entry.plan.engine, watcher)
    return run


def _trained(entry: Entry, runs: Path, watcher: Watcher, study: str, weights: Path | None, anyway: bool) -> Run:
    there = _there(entry, runs)
    about = _about(entry, study)
    if failed := entry.failed(there):
        raise TrainingError(_failed_before(failed))
    begun = entry.unfinished(there)
    if begun and entry.steps:
        go_on = resume if entry.kind == "train" else partial(resume_fine_tuning, weights=weights)
        return go_on(begun, entry.plan, watcher=watcher, anyway=anyway)
    if entry.row.note:
        about["notes"] = (entry.row.note,)
    if entry.kind == "train":
        return train(entry.plan, runs, watcher, anyway, threads=entry.plan.engine.threads, **about)
    if entry.how is None:
        return untrained(entry.plan, runs, weights, watcher, **about)
    return transfer(entry.plan, entry.how, runs, weights, watcher, anyway, **about)


def _there(entry: Entry, runs: Path) -> list[Run]:
    """Runs of the entry under `runs`: those whose folders end as its identity begins, so that of many the others need not be read."""
    found = []
    for record in runs.glob(f"*-{entry.identity[:8]}/{RECORD}"):
        with suppress(RecordError):  # damaged: `tench runs` names it
            found.append(Run.read(record.parent))
    return found


def _refuse_too_large_batches(to_do: Sequence[Entry]) -> None:
    for plan in (entry.plan for entry in to_do if entry.steps):
        training_batches(roles(plan.source, plan.rules, plan.options).fit, plan.rules, plan.options, epoch=0)


def _say_idle(to_do: Sequence[Entry], watcher: Watcher) -> None:
    rows: dict[tuple[int, str], list[str]] = {}
    for entry in to_do:
        rows.setdefault((entry.plan.options.epochs, entry.idle), []).append(entry.name)
    for (epochs, idle), names in rows.items():
        if idle:
            watcher.say(f"Within {epochs} epochs {idle} cannot act: {', '.join(dict.fromkeys(names))}.")


def _say_other_precision(wanted: Sequence[Entry], to_do: Sequence[Entry], before: Sequence[Run], watcher: Watcher) -> None:
    """A study that goes on on another machine may have seeds of a row in two precisions, which are two recipes to a comparison."""
    here = {entry.name: entry.plan.engine.precision for entry in to_do if entry.steps}
    found = [(entry.name, run.record.precision) for entry in wanted if (run := entry.finished(before))]
    if other := dict.fromkeys(f"{name} ({precision})" for name, precision in found if here.get(name, precision) != precision):
        watcher.say(
            f"Runs to be made are computed in another precision than the finished ones of {', '.join(other)}: `tench compare` takes the two"
            " for two recipes. To make them one, run these rows by themselves (--rows) with --precision as it was; bfloat16 is slow on a"
            " processor without units for it."
        )


def _beyond_budget(to_do: Sequence[Entry], expected: Forecast, budget_s: float | None, watcher: Watcher) -> list[Entry]:
    """The entries from the first one that the forecast no longer sees end within the budget."""
    if budget_s is None:
        return []
    ends = accumulate(expected.seconds, initial=expected.decoding_s)
    fitting = sum(end <= budget_s for end in islice(ends, 1, None))
    if fitting < len(to_do):
        watcher.say(
            f"The budget of {duration(budget_s)} is enough for {fitting} of these runs; the same command later goes on with the others."
        )
    return list(to_do[fitting:])


def _say_forecast(to_do: Sequence[Entry], wanted: int, expected: Forecast, watcher: Watcher) -> None:
    if not to_do:
        return watcher.say(f"All {wanted} runs of the study are finished." if wanted else "No row of the study can be run.")
    # Patience may end a training earlier, and features may have been kept from before.
    shorter = any(not entry.steps or entry.plan.options.patience for entry in to_do)
    most = "at most about" if shorter else "about"
    return watcher.say(
        f"Runs to be made: {len(to_do)} of {wanted}, {most} {duration(expected.total_s)}, {duration(expected.decoding_s)} of it"
        f" decoding, at {expected.flop_per_s / 1e9:.0f} GFLOP/s, measured just now. Other work on this machine makes it longer."
    )
