"""The table of results: a line a run, the mean of several seeds, what was not run, and a title that names the data."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from tench.comparison.notes import data_line, notes, options_text, other_rules, stepwise
from tench.config import identifying
from tench.errors import UsageError
from tench.records import Run, RunRecord, Score

SortKey = Literal["top1", "reported", "unseen", "name", "epochs", "time", "parameters", "macs"]


@dataclass(frozen=True)
class NotRun:
    """A row that was asked for and could not be run; `reason` says why and what to do, such as "no weights; do ..."."""

    name: str
    reason: str
    reported_top1: float | None = None


@dataclass(frozen=True)
class ResultRow:
    """One line of the table. Shares are 0 to 1, times seconds; what does not apply is None."""

    name: str
    kind: Literal["run", "mean", "not run"]
    """`mean`: of the runs that differ in their seed only; its low and high are the lowest and highest of them."""
    run_id: str | None = None
    data: str = ""
    """The data's name and the beginning of its hash."""
    network: str | None = None
    recipe: str | None = None
    optimizer: str | None = None
    learn_rate: float | None = None
    patience: int | None = None
    drop_period: int | None = None
    drop_rate_factor: float | None = None
    augment: bool | None = None
    size_px: int | None = None
    seed: int | None = None
    runs: int = 1
    """How many runs are in the line."""
    options: str = ""
    """The options above in short, for reading."""
    reported_top1: float | None = None
    correct: int | None = None
    n: int | None = None
    top1: float | None = None
    ties: str = ""
    """Letters: lines that share one cannot be told apart (`ties.with_ties`); empty where that was not looked at."""
    top1_low: float | None = None
    """Of the Wilson 95 % interval, like `top1_high`."""
    top1_high: float | None = None
    unseen: Score | None = None
    """Score on pictures that the pretraining never saw."""
    epochs: float | None = None
    train_s: float | None = None
    parameters: int | None = None
    macs: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultsTable:
    """Rows in their order, with a title that says which pictures they were scored on and warnings that belong below."""

    title: str
    rows: tuple[ResultRow, ...]
    warnings: tuple[str, ...] = ()


def results_table(runs: Iterable[Run | RunRecord], by: SortKey = "top1", not_run: Sequence[NotRun] = ()) -> ResultsTable:
    """The table of `runs`, sorted by `by` (scores from high to low, all else upwards; what has no value last).

    Runs that differ in their seed only stand together under a line with their mean and range. Rows in `not_run` come last.
    Raises UsageError for a key that is not known.
    """
    if by not in _SORT_VALUE:
        raise UsageError(f"The table cannot be sorted by '{by}'; take one of {', '.join(_SORT_VALUE)}.")
    records = [run.record if isinstance(run, Run) else run for run in runs]
    blocks = sorted((_block(group, by) for group in by_arm(records)), key=lambda block: _order(by)(block[0]))
    rows = [row for block in blocks for row in block]
    rows += [
        ResultRow(name=row.name, kind="not run", reported_top1=row.reported_top1, notes=(f"not run: {row.reason}",)) for row in not_run
    ]
    sets = sorted({data_line(record) for record in records})
    return ResultsTable(_title(sets), tuple(rows), tuple(_warnings(records, sets)))


def by_arm(records: Iterable[RunRecord]) -> list[list[RunRecord]]:
    """The records in arms, in their order: those of one arm differ in their seed only."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[f"{same_but_for_seed_and_precision(record)} {record.precision}"].append(record)
    return list(groups.values())


def same_but_for_seed_and_precision(record: RunRecord) -> str:
    """What records have in common that differ in their seed, or in the precision of their products, only."""
    options = {key: value for key, value in identifying(record.options).items() if key != "seed"}
    parts: list[Any] = [record.kind, record.row, record.network.name, record.network.text, record.network.weights_sha256]
    parts += [record.recipe, record.rules, options, record.transfer, data_line(record), record.data.share]
    return json.dumps(parts, sort_keys=True)


def _block(records: list[RunRecord], by: SortKey) -> list[ResultRow]:
    """The lines of runs that differ in their seed only, a mean before them where there are several."""
    rows = sorted((_row(record) for record in records), key=_order(by))
    scored = [row for row in rows if row.top1 is not None]
    seeds = {row.seed for row in scored}
    return [_mean(scored), *rows] if len(seeds) == len(scored) > 1 else rows


def _row(record: RunRecord) -> ResultRow:
    result, options, network = record.result, record.options, record.network
    columns: dict[str, Any] = {}
    if stepwise(record):
        columns |= {key: options.get(key) for key in _OPTION_COLUMNS}
    if result:
        columns |= {key: getattr(result, key) for key in _RESULT_COLUMNS}
    return ResultRow(
        name=record.row or network.name,
        kind="run",
        run_id=record.run_id,
        data=f"{record.data.name} {record.data.sha256[:8]}",
        network=network.name,
        recipe=record.recipe,
        size_px=network.input_px,
        seed=record.seed if record.kind in ("train", "transfer") else None,
        options=options_text(record),
        reported_top1=record.reported_accuracy,
        parameters=network.parameters,
        macs=network.macs,
        notes=notes(record),
        **columns,
    )


_OPTION_COLUMNS = ("optimizer", "learn_rate", "patience", "drop_period", "drop_rate_factor", "augment")
_RESULT_COLUMNS = ("correct", "n", "top1", "top1_low", "top1_high", "unseen", "epochs", "train_s")


def _mean(rows: list[ResultRow]) -> ResultRow:
    top1 = [row.top1 for row in rows if row.top1 is not None]
    return replace(
        rows[0],
        kind="mean",
        run_id=None,
        seed=None,
        runs=len(rows),
        correct=None,
        top1=fmean(top1),
        top1_low=min(top1),
        top1_high=max(top1),
        unseen=None,
        epochs=_mean_of(row.epochs for row in rows),
        train_s=_mean_of(row.train_s for row in rows),
        notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
    )


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _downwards(value: float | None) -> float | None:
    return None if value is None else -value


_SORT_VALUE: dict[str, Callable[[ResultRow], Any]] = {
    "top1": lambda row: _downwards(row.top1),
    "reported": lambda row: _downwards(row.reported_top1),
    "unseen": lambda row: _downwards(row.unseen.top1 if row.unseen else None),
    "name": lambda row: row.name,
    "epochs": lambda row: row.epochs,
    "time": lambda row: row.train_s,
    "parameters": lambda row: row.parameters,
    "macs": lambda row: row.macs,
}


def _order(by: SortKey) -> Callable[[ResultRow], tuple[bool, Any, str, int]]:
    value = _SORT_VALUE[by]
    return lambda row: ((found := value(row)) is None, 0 if found is None else found, row.name, row.seed or 0)


def _title(sets: list[str]) -> str:
    if not sets:
        return "No runs"
    return sets[0] if len(sets) == 1 else "Different data, not comparable with each other: " + "; ".join(sets)


def _warnings(records: list[RunRecord], sets: list[str]) -> Iterable[str]:
    if len(sets) > 1:
        yield "These runs were scored on different pictures: compare lines of the same data only."
    if any(record.data.is_demo for record in records):
        yield "Demo pictures are drawn by tench: scores on them say nothing about photographs."
    yield from (rules.sentence for rules in other_rules(records))
