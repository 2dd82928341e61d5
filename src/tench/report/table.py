"""The table of results as the page shows it: the study's columns, figures to sort by, intervals as bars on one scale."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tench.comparison import ResultRow, ResultsTable
from tench.report.words import NONE, Words


@dataclass(frozen=True)
class Bar:
    """An interval and the value in it, as per cent of the scale's length."""

    left: float
    width: float
    at: float
    words: str


@dataclass(frozen=True)
class Cell:
    """What stands in a place of the table."""

    text: str
    sort: float | str
    """What the column is sorted by."""
    bar: Bar | None = None
    foreign: bool = False
    """Whether there is something in the text that was not translated."""


@dataclass(frozen=True)
class Column:
    """A column: its heading, and whether it holds numbers, which stand on the right."""

    key: str
    heading: str
    numbers: bool


@dataclass(frozen=True)
class Line:
    """A line of the table; `kind` as a ResultRow's, and `inner` where it stands below its mean."""

    kind: str
    inner: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class View:
    """The table in blocks that stay together when it is sorted: a mean with its runs, or a run alone."""

    columns: tuple[Column, ...]
    blocks: tuple[tuple[Line, ...], ...]


class _Writer:
    """Writes the cells of rows in one language, bars on one scale."""

    def __init__(self, table: ResultsTable, words: Words) -> None:
        self.words = words
        self.first, self.last = _scale(table)

    def name(self, row: ResultRow, inner: bool) -> Cell:
        seed = self.words("table.seed", seed=str(row.seed)) if row.seed is not None else ""
        mean = self.words("table.mean", n=row.runs) if row.kind == "mean" else ""
        name = self.words.said("names", row.name).text if row.name == row.network else row.name
        return Cell(seed if inner else ", ".join(part for part in (name, mean or seed) if part), name)

    def text(self, value: str | None) -> Cell:
        return Cell(value or NONE, value or "")

    def number(self, value: float | None, text: str | None = None) -> Cell:
        return Cell(self.words.plain(value) if text is None else text, -math.inf if value is None else value)

    def yes_or_no(self, value: bool | None) -> Cell:
        return Cell(NONE if value is None else self.words("table.yes" if value else "table.no"), -1 if value is None else int(value))

    def interval(self, row: ResultRow) -> Cell:
        if row.top1 is None or row.top1_low is None or row.top1_high is None:
            return Cell(NONE, -1)
        low, high = self.words.percent(row.top1_low), self.words.percent(row.top1_high)
        left, at, right = (100 * (share - self.first) / (self.last - self.first) for share in (row.top1_low, row.top1, row.top1_high))
        ends = {"first": self.words.percent(self.first, 0), "last": self.words.percent(self.last, 0)}
        bar = Bar(left, right - left, at, self.words("table.range_bar", low=low, high=high, **ends))
        return Cell(self.words("table.from_to", low=low, high=high), row.top1, bar)

    def unseen(self, row: ResultRow) -> Cell:
        if row.unseen is None:
            return Cell(NONE, -1)
        return Cell(self.words("table.of", share=self.words.percent(row.unseen.top1), n=row.unseen.n), row.unseen.top1)

    def notes(self, row: ResultRow) -> Cell:
        notes = [self.words.said("notes", note) for note in row.notes]
        text = "; ".join(note.text for note in notes)
        return Cell(text, text, foreign=any(note.foreign for note in notes))


def _scale(table: ResultsTable) -> tuple[float, float]:
    """Shares at the ends of all bars: whole twentieths below the lowest and above the highest."""
    lows = [row.top1_low for row in table.rows if row.top1_low is not None]
    highs = [row.top1_high for row in table.rows if row.top1_high is not None]
    return math.floor(20 * min(lows, default=0)) / 20, math.ceil(20 * max(highs, default=1)) / 20


_COLUMNS: tuple[tuple[str, bool, Callable[[_Writer, ResultRow], Cell]], ...] = (
    ("data", False, lambda to, row: to.text(to.words.said("names", row.data).text)),
    ("reported", True, lambda to, row: to.number(row.reported_top1, to.words.percent(row.reported_top1))),
    ("top1", True, lambda to, row: to.number(row.top1, to.words.percent(row.top1))),
    ("interval", False, lambda to, row: to.interval(row)),
    ("tied", False, lambda to, row: to.text(row.ties)),
    ("optimizer", False, lambda to, row: to.text((row.optimizer or "").upper())),
    ("learn_rate", True, lambda to, row: to.number(row.learn_rate)),
    ("patience", True, lambda to, row: to.number(row.patience)),
    ("drop_period", True, lambda to, row: to.number(row.drop_period)),
    ("drop_rate_factor", True, lambda to, row: to.number(row.drop_rate_factor if row.drop_period else None)),
    ("augment", False, lambda to, row: to.yes_or_no(row.augment)),
    ("size_px", True, lambda to, row: to.number(row.size_px)),
    ("unseen", True, lambda to, row: to.unseen(row)),
    ("epochs", True, lambda to, row: to.number(row.epochs, to.words.plain(None if row.epochs is None else round(row.epochs, 1)))),
    ("train_s", True, lambda to, row: to.number(row.train_s, to.words.duration(row.train_s))),
    ("parameters", True, lambda to, row: to.number(row.parameters, to.words.large(row.parameters))),
    ("macs", True, lambda to, row: to.number(row.macs, to.words.large(row.macs))),
    ("notes", False, lambda to, row: to.notes(row)),
)


def view(table: ResultsTable, words: Words) -> View:
    """`table` for the page. Columns that are empty throughout are left out, that of the data too where there is one set only."""
    writer = _Writer(table, words)
    rows = list(_in_place(table.rows))
    cells = {key: [cell(writer, row) for row, _ in rows] for key, _, cell in _COLUMNS}
    one_data = len({row.data for row in table.rows}) == 1
    kept = [(key, numbers) for key, numbers, _ in _COLUMNS if any(cell.text not in ("", NONE) for cell in cells[key])]
    kept = [(key, numbers) for key, numbers in kept if key != "data" or not one_data]
    columns = [Column("network", words("table.network"), False)]
    columns += [Column(key, words(f"table.{key}"), numbers) for key, numbers in kept]
    lines = [Line(row.kind, inner, (writer.name(row, inner), *(cells[key][i] for key, _ in kept))) for i, (row, inner) in enumerate(rows)]
    return View(tuple(columns), tuple(_blocks(lines)))


def _in_place(rows: Sequence[ResultRow]) -> Iterator[tuple[ResultRow, bool]]:
    """Each row, and whether it stands below its mean."""
    left = 0
    for row in rows:
        yield row, left > 0
        left = row.runs if row.kind == "mean" else left - 1


def _blocks(lines: Sequence[Line]) -> Iterator[tuple[Line, ...]]:
    block: list[Line] = []
    for line in lines:
        if block and not line.inner:
            yield tuple(block)
            block = []
        block.append(line)
    yield tuple(block)
