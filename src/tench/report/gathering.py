"""What a report is of: the runs asked for, in arms (runs that differ in their seed only), and how they compare."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from tench.comparison import ArmsComparison, Pair, ResultsTable, compare_pairs, compare_seeds, data_line, results_table, with_ties
from tench.comparison.notes import options_text
from tench.comparison.results import by_arm
from tench.config import runs_folder
from tench.errors import NotFoundError, RecordError, UsageError
from tench.records import Run, RunRecord, list_runs, load_run

MOST_PAIRED = 20
"""Runs that are compared two by two; of more, one of each arm."""


@dataclass(frozen=True)
class Arm:
    """A network as it was trained, in all its seeds."""

    name: str
    runs: tuple[Run, ...]
    """Seeds rising."""

    @property
    def shown(self) -> Run:
        """The run that is looked at closely."""
        return self.runs[0]

    @property
    def record(self) -> RunRecord:
        return self.shown.record

    @property
    def key(self) -> str:
        """What it is called in links of the page."""
        return f"run-{self.record.identity[:8]}"

    @property
    def top1(self) -> float:
        """Mean over its runs, 0 to 1."""
        return fmean(run.record.result.top1 for run in self.runs if run.record.result)

    @property
    def has_predictions(self) -> bool:
        """Whether the answers of all its runs to single pictures were kept."""
        return all((run.folder / "predictions.npz").is_file() for run in self.runs)


@dataclass(frozen=True)
class Material:
    """Finished runs in arms, the best first, their table, and what was asked for and cannot be shown."""

    arms: tuple[Arm, ...]
    table: ResultsTable
    pairs: tuple[Pair, ...]
    across_seeds: tuple[ArmsComparison, ...]
    unfinished: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Run]:
        return [run for arm in self.arms for run in arm.runs]

    @property
    def on_same_pictures(self) -> list[list[Arm]]:
        """The arms, sorted by the pictures they were scored on."""
        sets: dict[str, list[Arm]] = defaultdict(list)
        for arm in self.arms:
            sets[data_line(arm.record)].append(arm)
        return list(sets.values())


def gather(references: Sequence[str], folder: Path | None = None) -> Material:
    """What `references` name: ids or folders of runs, folders that hold runs, names of studies; none: all of the runs folder.

    Raises NotFoundError where a reference names nothing, UsageError where no run is finished, RecordError where a run named by itself
    is damaged; damaged ones in a folder of runs are noted.
    """
    runs, damaged = _found(references, folder or runs_folder())
    finished = [run for run in runs if run.record.result]
    if not finished:
        raise UsageError("There is no finished run to report on. Train one (`tench train NETWORK`), or name a folder that holds runs.")
    arms = _arms(finished)
    paired = _paired(arms)
    pairs = tuple(pair for group in paired for pair in compare_pairs(group))
    return Material(
        arms=arms,
        table=with_ties(results_table(finished), pairs),
        pairs=pairs,
        across_seeds=tuple(_across_seeds(arms)),
        unfinished=tuple(run.id for run in runs if not run.record.result),
        damaged=damaged,
    )


def _found(references: Sequence[str], folder: Path) -> tuple[list[Run], tuple[str, ...]]:
    """(runs without doubles, the names of damaged ones)."""
    if not references:
        listing = list_runs(folder)
        return list(listing.runs), tuple(_damaged(folder))
    found: dict[str, Run] = {}
    damaged: list[str] = []
    for reference in references:
        place = _folder_of_runs(reference)
        found |= {run.id: run for run in (list_runs(place).runs if place else _named(reference, folder))}
        damaged += _damaged(place) if place else []
    return list(found.values()), tuple(damaged)


def _folder_of_runs(reference: str) -> Path | None:
    """The folder that holds runs, itself or in its `runs`, where `reference` is one."""
    places = [path for path in (Path(reference), Path(reference) / "runs") if path.is_dir()]
    return next((path for path in places if any(path.glob("*/record.json"))), None)


def _named(reference: str, folder: Path) -> Iterable[Run]:
    """The runs of a study of that name, else the run that is called so."""
    of_study = [run for run in list_runs(folder).runs if run.record.study == reference]
    try:
        return of_study or [load_run(reference, folder)]
    except NotFoundError as error:
        raise NotFoundError(f"{error} No study of that name has runs there either, and it is no folder that holds runs.") from None


def _damaged(folder: Path) -> Iterable[str]:
    for path in sorted(folder.glob("*/record.json")):
        try:
            Run.read(path.parent)
        except RecordError:
            yield path.parent.name


def _arms(runs: Sequence[Run]) -> tuple[Arm, ...]:
    by_id = {run.id: run for run in runs}
    of_arms = by_arm(run.record for run in runs)
    groups = [[by_id[record.run_id] for record in sorted(arm, key=lambda record: record.seed)] for arm in of_arms]
    names = _names([group[0].record for group in groups])
    arms = [Arm(name, tuple(group)) for name, group in zip(names, groups, strict=True)]
    return tuple(sorted(arms, key=lambda arm: (-arm.top1, arm.name)))


def _names(records: Sequence[RunRecord]) -> list[str]:
    """A name for each, as short as tells them apart."""
    names = [record.row or record.network.name for record in records]
    longer = (
        lambda record: f"{record.network.input_px} px",
        lambda record: f"{record.network.input_px} px, {record.recipe}",
        options_text,
        lambda record: record.run_id,
    )
    base = list(names)
    for more in longer:
        several = {name for name, count in Counter(names).items() if count > 1}
        names = [f"{short} ({more(record)})" if name in several else name for name, short, record in zip(names, base, records, strict=True)]
    return names


def _paired(arms: Sequence[Arm]) -> list[list[Run]]:
    """Runs to compare two by two, a list for each set of pictures: all of them, or where they are many one of each arm."""
    sets: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        if arm.has_predictions:
            sets[data_line(arm.record)].append(arm)
    many = sum(len(arm.runs) for arm in arms) > MOST_PAIRED
    return [[run for arm in group for run in (arm.runs[:1] if many else arm.runs)] for group in sets.values()]


def _across_seeds(arms: Sequence[Arm]) -> Iterable[ArmsComparison]:
    """Every two arms scored on the same pictures that have at least two seeds in common."""
    for a, b in combinations(arms, 2):
        shares = [{run.record.seed: run.record.result.top1 for run in arm.runs if run.record.result} for arm in (a, b)]
        one_run_a_seed = len(shares[0]) == len(a.runs) and len(shares[1]) == len(b.runs)
        if data_line(a.record) == data_line(b.record) and one_run_a_seed and len(shares[0].keys() & shares[1].keys()) > 1:
            yield compare_seeds(shares[0], shares[1], a.name, b.name)
