"""What a study will train: every row and seed as a checked plan, before anything is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tench.comparison import NotRun
from tench.config import Engine, Recipe, Study, StudyRow, TransferOptions, load_recipe, row_side_px
from tench.data.sources import Source
from tench.errors import NotFoundError, UsageError
from tench.networks.pretrained import find_googlenet_weights
from tench.networks.reference import Network, network, with_rows_replaced
from tench.records import Run
from tench.training.plan import Plan
from tench.training.transfer import FROZEN_OPTIONS

NO_WEIGHTS = "no weights; do `tench weights get googlenet`, or give --weights FILE"


@dataclass(frozen=True)
class Choices:
    """What the user wants otherwise than the study's file says; None and empty: as the file has it."""

    recipe: str | None = None
    rows: Sequence[str] = ()
    size_px: int | None = None
    seeds: Sequence[int] = (0,)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of training, for every row: epochs, share, test_share, learn_rate, ..."""
    budget_s: float | None = None
    """Seconds: of what is not finished, only as much is run, in the study's order, as is forecast to fit."""


@dataclass(frozen=True)
class Entry:
    """One run of a study."""

    name: str
    kind: Literal["train", "transfer", "untrained"]
    row: StudyRow
    plan: Plan
    how: TransferOptions | None = None

    @property
    def steps(self) -> bool:
        """Whether it is trained step by step, so that it can be interrupted and gone on with."""
        return self.kind == "train" or (self.how is not None and self.how.method == "fine_tune")

    @cached_property
    def identity(self) -> str:
        """The identity of its run: equal for a run that was finished before."""
        return self.plan.identity(kind=self.kind, transfer=self.how.model_dump(mode="json") if self.how else None)

    def finished(self, runs: Sequence[Run]) -> Run | None:
        """Its finished run among `runs`, if there is one."""
        return next((run for run in runs if run.record.identity == self.identity and run.record.status == "finished"), None)

    def unfinished(self, runs: Sequence[Run]) -> Run | None:
        """A run of it among `runs` that was interrupted or killed and can be gone on with."""
        return next((run for run in runs if run.record.identity == self.identity and _waits(run)), None)

    def in_use(self, runs: Sequence[Run]) -> Run | None:
        """Its run that a process is making now."""
        return next((run for run in runs if run.record.identity == self.identity and run.in_use), None)

    def failed(self, runs: Sequence[Run]) -> Run | None:
        """A run of it among `runs` that failed, as it would again."""
        return next((run for run in runs if run.record.identity == self.identity and run.record.status == "failed"), None)

    @property
    def idle(self) -> str:
        """Options that cannot act before the last epoch has ended, such as "patience 5"; empty where there are none."""
        options = self.plan.options
        beyond = {"patience": 1, "drop_period": 0}  # the first validation always improves
        values = {key: getattr(options, key) for key in beyond} if self.steps else {}
        return ", ".join(f"{key} {value}" for key, value in values.items() if value and value + beyond[key] >= options.epochs)


def _waits(run: Run) -> bool:
    return run.record.status == "interrupted" or (run.record.status == "running" and not run.in_use)


def entries(study: Study, source: Source, engine: Engine, choices: Choices, weights: Path | None) -> tuple[list[Entry], list[NotRun]]:
    """All runs of `study` in its order, seed by seed, and the rows that cannot be run, with the reason.

    Raises NotFoundError for rows, networks or recipes that are not there, ConfigError for options that are not allowed.
    """
    found: list[Entry] = []
    missing: list[NotRun] = []
    for row in _chosen(study, choices.rows):
        of_network = with_rows_replaced(network(row.network), row.replace) if row.replace else network(row.network)
        if row.method != "train" and row.network == "googlenet" and find_googlenet_weights(weights) is None:
            missing.append(NotRun(row.name, NO_WEIGHTS, row.reported_accuracy))
            continue
        for seed in choices.seeds:
            make = _transfers if row.method == "transfer" else _training
            found += make(study, row, of_network, source, engine, choices, seed)
    return found, missing


def _chosen(study: Study, names: Sequence[str]) -> list[StudyRow]:
    known = [row.name for row in study.rows]
    strange = [name for name in names if name not in known]
    if strange:
        raise NotFoundError(f"The study '{study.name}' has no row {_quoted(strange)}; its rows are {_quoted(known)}.")
    return [row for row in study.rows if not names or row.name in names]


def _quoted(names: Sequence[str]) -> str:
    """A name may have commas itself."""
    return ", ".join(f"'{name}'" for name in names)


def trained_by(study: Study, choices: Choices) -> list[Recipe]:
    """The recipes of the chosen rows whose networks are trained, row by row."""
    return [_recipe(study, row, choices) for row in _chosen(study, choices.rows) if row.method != "transfer"]


def _recipe(study: Study, row: StudyRow, choices: Choices) -> Recipe:
    return load_recipe(choices.recipe or row.recipe or study.recipe)


def _training(study: Study, row: StudyRow, of_network: Network, source: Source, engine: Engine, choices: Choices, seed: int) -> list[Entry]:
    recipe = _recipe(study, row, choices)
    side = choices.size_px or (None if "size_px" in row.options else study.size_px)
    size = {"size_px": row_side_px(side, of_network.input_px)} if side else {}
    own = _shares(study, row, source) | study.options | row.options
    options = recipe.resolve(own, dict(choices.options) | size | {"seed": seed}, where=f"row {row.name}")
    plan = Plan(of_network, source, recipe, options, engine)
    if row.method == "fine_tune":
        return [Entry(row.name, "transfer", row, plan, TransferOptions(method="fine_tune"))]
    return [Entry(row.name, "train", row, plan)]


def _transfers(
    study: Study, row: StudyRow, of_network: Network, source: Source, engine: Engine, choices: Choices, seed: int
) -> list[Entry]:
    """The network with a new head, and, where every class is one of ImageNet's, the network as it is."""
    idle = [key for key in row.options if key not in FROZEN_OPTIONS]
    if idle:
        raise UsageError(f"Row {row.name} transfers a frozen network, whose head has no such options: {', '.join(idle)}. Leave them out.")
    if row.recipe:
        raise UsageError(f"Row {row.name} transfers a frozen network, which no recipe changes. Leave `recipe` out.")
    recipe = load_recipe("transfer")
    asked = {key: value for key, value in (study.options | row.options | dict(choices.options)).items() if key in FROZEN_OPTIONS}
    options = recipe.resolve(_shares(study, row, source) | asked | {"seed": seed}, where=f"row {row.name}")
    plan = Plan(of_network, source, recipe, options, engine)
    transferred = Entry(row.name, "transfer", row, plan, TransferOptions())
    if any(kind.imagenet_index is None for kind in source.classes):
        return [transferred]
    as_it_is = replace(plan, options=options.model_copy(update={"class_weights": "none"}))  # it has no loss
    return [Entry(f"{row.name}, untrained", "untrained", row, as_it_is), transferred]


def _shares(study: Study, row: StudyRow, source: Source) -> dict[str, float]:
    """The shares that bring the pictures down to the numbers the study names."""
    there = Counter(picture.split for picture in source.pictures)
    wanted = {
        "share": (row.training_pictures or study.training_pictures, there["train"]),
        "test_share": (study.test_pictures, there["val"]),
    }
    return {share: number / total for share, (number, total) in wanted.items() if number and number < total}
