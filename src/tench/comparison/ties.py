"""Which lines of a table cannot be told apart, as letters: runs that share one are tied."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from string import ascii_lowercase

from tench.comparison.pairs import Pair
from tench.comparison.results import ResultRow, ResultsTable

Runs = frozenset[str]


def with_ties(table: ResultsTable, pairs: Sequence[Pair]) -> ResultsTable:
    """The table with every run's letters: two runs share one if and only if their Holm-corrected McNemar p is 0.05 or more.

    Compact letter display (Piepho 2004, J. Comput. Graph. Stat. 13, 456), by the largest groups of runs of which no two differ.
    Runs that are in none of the `pairs` get no letter, and where there are more groups than letters none does.
    """
    order = [row.run_id for row in table.rows if row.kind == "run" and row.run_id]
    groups = sorted(_groups(pairs), key=lambda group: [order.index(run) for run in sorted(group, key=order.index)])
    if len(groups) > len(ascii_lowercase):
        return table
    letters = dict(zip(groups, ascii_lowercase, strict=False))
    return replace(table, rows=tuple(_lettered(row, letters) for row in table.rows))


def _lettered(row: ResultRow, letters: dict[Runs, str]) -> ResultRow:
    return replace(row, ties="".join(letter for group, letter in letters.items() if row.kind == "run" and row.run_id in group))


def _groups(pairs: Sequence[Pair]) -> list[Runs]:
    tied: dict[str, set[str]] = {run: set() for pair in pairs for run in (pair.a, pair.b)}
    for pair in pairs:
        if pair.p_holm >= 0.05:
            tied[pair.a].add(pair.b)
            tied[pair.b].add(pair.a)
    return list(_largest(frozenset(), set(tied), set(), tied))


def _largest(group: Runs, candidates: set[str], done: set[str], tied: dict[str, set[str]]) -> Iterator[Runs]:
    """The groups in which all are tied and to which none can be added (Bron and Kerbosch 1973, Commun. ACM 16, 575; with the pivot
    of Tomita, Tanaka and Takahashi 2006, Theor. Comput. Sci. 363, 28, or twenty runs that are all tied would take a million steps)."""
    if not candidates and not done:
        yield group
        return
    pivot = max(sorted(candidates | done), key=lambda run: len(candidates & tied[run]))
    for run in sorted(candidates - tied[pivot]):
        yield from _largest(group | {run}, candidates & tied[run], done & tied[run], tied)
        candidates = candidates - {run}
        done = done | {run}
