"""What a report is of: the runs asked for, in arms (runs that differ in their seed only), and how they compare."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tench.comparison import ArmsComparison, Pair, ResultsTable, compare_pairs, data_line, results_table, with_ties
from tench.comparison.arms import Arm, arms_of, compare_arms, told_apart
from tench.config import runs_folder
from tench.errors import NotFoundError, UsageError
from tench.records import Listing, Run, folder_of_runs, list_runs, load_run
from tench.report.words import Words

MOST_PAIRED = 20
"""Runs that are compared two by two; of more, one of each arm."""
ENGLISH = Words("en")


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


def gather(references: Sequence[str], folder: Path | None = None, words: Words = ENGLISH) -> Material:
    """What `references` name: ids or folders of runs, folders that hold runs, names of studies; none: all of the runs folder.

    Arms are named in the language of `words`. Raises NotFoundError where a reference names nothing, UsageError where no run is finished,
    RecordError where a run named by itself is damaged; damaged ones in a folder of runs are noted.
    """
    runs, damaged = _found(references, folder or runs_folder())
    finished = told_apart([run for run in runs if run.record.result])
    if not finished:
        raise UsageError("There is no finished run to report on. Train one (`tench train NETWORK`), or name a folder that holds runs.")
    arms = tuple(replace(arm, name=_name(arm, words)) for arm in arms_of(finished))
    paired = _paired(arms)
    pairs = tuple(pair for group in paired for pair in compare_pairs(group))
    return Material(
        arms=arms,
        table=with_ties(results_table(finished), pairs),
        pairs=pairs,
        across_seeds=compare_arms(arms),
        unfinished=tuple(run.id for run in runs if not run.record.result),
        damaged=damaged,
    )


def _name(arm: Arm, words: Words) -> str:
    """The arm's name: a row's or a network's, with the options by which it is told apart."""
    network, row = arm.record.network.name, arm.record.row
    name = row or words.said("names", network).text
    options = arm.name.removeprefix(row or network)[2:-1]
    return f"{name} ({', '.join(words.said('options', option).text for option in options.split(', '))})" if options else name


def _found(references: Sequence[str], folder: Path) -> tuple[list[Run], tuple[str, ...]]:
    """(runs, the names of damaged ones)."""
    if not references:
        listing = list_runs(folder)
        return list(listing.runs), tuple(listing.damaged)
    found: list[Run] = []
    damaged: list[str] = []
    for reference in references:
        place = folder_of_runs(reference)
        listing = list_runs(place) if place else Listing(tuple(_named(reference, folder)), {})
        found += listing.runs
        damaged += listing.damaged
    return found, tuple(damaged)


def _named(reference: str, folder: Path) -> Iterable[Run]:
    """The runs of a study of that name, else the run that is called so."""
    of_study = [run for run in list_runs(folder).runs if run.record.study == reference]
    try:
        return of_study or [load_run(reference, folder)]
    except NotFoundError as error:
        raise NotFoundError(f"{error} No study of that name has runs there either, and it is no folder that holds runs.") from None


def _paired(arms: Sequence[Arm]) -> list[list[Run]]:
    """Runs to compare two by two, a list for each set of pictures: all of them, or where they are many one of each arm."""
    sets: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        if arm.has_predictions:
            sets[data_line(arm.record)].append(arm)
    many = sum(len(arm.runs) for arm in arms) > MOST_PAIRED
    return [[run for arm in group for run in (arm.runs[:1] if many else arm.runs)] for group in sets.values()]
