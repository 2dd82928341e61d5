"""A table of results for the terminal, as CSV, JSON and Markdown; the same figures in each."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from tench.comparison.pairs import Pair
from tench.comparison.results import ResultRow, ResultsTable
from tench.comparison.terminal import Fitting
from tench.comparison.together import Comparison
from tench.records import Score

if TYPE_CHECKING:
    from rich.console import RenderableType

NONE = "-"


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f}"


def _interval(row: ResultRow) -> str:
    if row.top1 is None:
        return NONE
    low, high = _percent(row.top1_low), _percent(row.top1_high)
    return f"{_percent(row.top1)} (range {low} to {high})" if row.kind == "mean" else f"{_percent(row.top1)} ({low} to {high})"


def _unseen(score: Score | None) -> str:
    return NONE if score is None else f"{_percent(score.top1)} ({_percent(score.low)} to {_percent(score.high)}) of {score.n:,}"


def _name(row: ResultRow) -> str:
    if row.kind == "mean":
        return f"{row.name}, mean of {row.runs} seeds"
    return row.name if row.seed is None else f"{row.name}, seed {row.seed}"


def duration(seconds: float | None) -> str:
    """Seconds for reading: "42 s", "3 min 05 s", "2 h 07 min"."""
    if seconds is None:
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _large(count: int | None) -> str:
    if count is None:
        return NONE
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.2f} M"


_COLUMNS: tuple[tuple[str, Callable[[ResultRow], str]], ...] = (
    ("network", _name),
    ("data", lambda row: row.data or NONE),
    ("optimizer", lambda row: (row.optimizer or NONE).upper()),
    ("options", lambda row: row.options or NONE),
    ("report %", lambda row: _percent(row.reported_top1)),
    ("top-1 % (95 % interval)", _interval),
    ("tied", lambda row: row.ties),
    ("never seen in pretraining %", lambda row: _unseen(row.unseen)),
    ("epochs", lambda row: NONE if row.epochs is None else f"{round(row.epochs, 1):g}"),
    ("time", lambda row: duration(row.train_s)),
    ("parameters", lambda row: _large(row.parameters)),
    ("MACs", lambda row: _large(row.macs)),
    ("notes", lambda row: "; ".join(row.notes)),
)


def _cells(table: ResultsTable) -> tuple[list[str], list[list[str]]]:
    """Headings and text of every line; the data's column only where there are several, and no column that is empty throughout."""
    one_data = len({row.data for row in table.rows if row.data}) < 2
    columns = [(heading, cell) for heading, cell in _COLUMNS if heading != "data" or not one_data]
    texts = {heading: [cell(row) for row in table.rows] for heading, cell in columns}
    kept = [heading for heading, cells in texts.items() if heading == "network" or any(cell not in ("", NONE) for cell in cells)]
    return kept, [[texts[heading][line] for heading in kept] for line in range(len(table.rows))]


def as_rich(table: ResultsTable) -> "RenderableType":
    """The table for a rich console, with its title above and its warnings below."""
    headings, lines = _cells(table)
    return Fitting(
        title=table.title,
        headings=headings,
        lines=lines,
        words=frozenset(("network", "data", "optimizer", "options", "notes")),
        spare=("MACs", "parameters", "optimizer", "options", "never seen in pretraining %", "epochs", "time", "report %"),
        below="notes",
        warnings=table.warnings,
        styles=[_STYLES.get(row.kind, "") for row in table.rows],
    )


_STYLES = {"mean": "bold", "not run": "dim"}


def as_markdown(table: ResultsTable) -> str:
    """The table in Markdown, title above, warnings below."""
    headings, lines = _cells(table)
    return f"**{escaped(table.title)}**\n\n" + markdown_rows(headings, lines) + "".join(f"\n{escaped(text)}\n" for text in table.warnings)


def markdown_rows(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "".join("| " + " | ".join(cell if cell == "---" else escaped(cell) for cell in row) + " |\n" for row in rows)


def escaped(text: str) -> str:
    """Class and file names may hold anything: no cell ends early, and no HTML passes through."""
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(mark, safe)
    return text


def as_csv(table: ResultsTable) -> str:
    """Every field of every line, unrounded, a line a row; shares 0 to 1, times seconds. The data are in their own column."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, [name for name in _plain_fields() if name != "unseen"] + [f"unseen_{name}" for name in Score.model_fields]
    )
    writer.writeheader()
    for row in table.rows:
        values = _plain(row)
        unseen = values.pop("unseen") or {}
        writer.writerow(values | {"notes": "; ".join(row.notes)} | {f"unseen_{name}": value for name, value in unseen.items()})
    return text.getvalue()


def as_json(table: ResultsTable | Comparison) -> str:
    """The title, every field of every line and the warnings; of a comparison its pairs too, each with its sentence."""
    comparison = table if isinstance(table, Comparison) else None
    table = table.table if isinstance(table, Comparison) else table
    values: dict[str, Any] = {"title": table.title, "rows": [_plain(row) for row in table.rows], "warnings": list(table.warnings)}
    if comparison is not None:
        values["pairs"] = [asdict(pair) | {"difference": pair.difference, "sentence": pair.sentence} for pair in comparison.pairs]
        values["arms"] = [asdict(arms) | {"half_width": arms.half_width, "sentence": arms.sentence} for arms in comparison.arms]
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)


def _plain_fields() -> list[str]:
    return [field.name for field in fields(ResultRow)]


def _plain(row: ResultRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _plain_fields()}
    return values | {"unseen": row.unseen.model_dump() if row.unseen else None}


_PAIR_HEADINGS = (
    "first",
    "second",
    "pictures",
    "first %",
    "second %",
    "difference (95 % interval)",
    "only first right",
    "only second right",
    "p",
    "p (Holm)",
)


def _p(p: float) -> str:
    return f"{p:.2g}" if p else "< 1e-300"  # 0: smaller than floating-point numbers go


def _how_many(pairs: Sequence[Pair]) -> str:
    return "one pair" if len(pairs) == 1 else f"{len(pairs)} pairs"


def _pair_cells(pair: Pair) -> list[str]:
    shares = [_percent(pair.a_correct / pair.n), _percent(pair.b_correct / pair.n)]
    shares += [f"{100 * pair.difference:+.2f} ({100 * pair.low:+.2f} to {100 * pair.high:+.2f})"]
    return [pair.a, pair.b, f"{pair.n:,}", *shares, f"{pair.only_a:,}", f"{pair.only_b:,}", _p(pair.p), _p(pair.p_holm)]


_PAIRS_TITLE = "These trained networks, two by two: exact McNemar, p corrected by Holm for {}. Other seeds may turn out otherwise."


def pairs_as_rich(pairs: Sequence[Pair]) -> "RenderableType":
    """All pairs for a rich console."""
    return Fitting(
        title=_PAIRS_TITLE.format(_how_many(pairs)),
        headings=_PAIR_HEADINGS,
        lines=[_pair_cells(pair) for pair in pairs],
        words=frozenset(("first", "second")),
        spare=("first %", "second %", "p", "pictures", "only first right", "only second right"),
        styles=["bold" if pair.p_holm < 0.05 else "" for pair in pairs],
    )


def pairs_as_markdown(pairs: Sequence[Pair]) -> str:
    """All pairs in Markdown, with what was found in words below."""
    sentences = "".join(f"- {escaped(pair.sentence)}\n" for pair in pairs)
    return (
        f"**{_PAIRS_TITLE.format(_how_many(pairs))}**\n\n"
        + markdown_rows(_PAIR_HEADINGS, [_pair_cells(pair) for pair in pairs])
        + "\n"
        + sentences
    )
