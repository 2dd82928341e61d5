"""From the text of a network table to its rows. Every complaint names file, line, row and what is allowed."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from tench.errors import TableError
from tench.networks.layers import KINDS, Block, Branch, Concat
from tench.networks.rows import Entry, Row

DEEPEST = 6
"""Blocks within blocks; no network needs more."""


@dataclass(frozen=True)
class Line:
    """One line that says something: without its comment, and without the spaces it begins with."""

    source: str
    number: int
    indent: int
    text: str

    def fail(self, why: str) -> NoReturn:
        raise TableError(f"{self.source}, line {self.number}, row '{self.text}': {why}.")


def read_lines(text: str, source: str) -> list[Line]:
    """The lines of `text` that are neither blank nor comment."""
    lines = []
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        content = raw.split("#", 1)[0].rstrip()
        line = Line(source, number, len(content) - len(content.lstrip(" ")), content.strip())
        if content.lstrip(" ") != line.text:
            line.fail("it begins with a tab or the like; indent with spaces")
        if line.text:
            lines.append(line)
    return lines


def read_header(line: Line) -> tuple[str, str]:
    """(name, origin) of a first line `[name]` or `[name, origin=...]`."""
    found = re.fullmatch(r"\[\s*([^\[\],=]+?)\s*(?:,\s*origin\s*=\s*(\w+)\s*)?\]", line.text)
    if not found or line.indent:
        line.fail("it is not a heading; allowed is [name] or [name, origin=published]")
    return found[1], found[2] or "own"


def read_rows(lines: Sequence[Line]) -> tuple[Row, ...]:
    """The rows of a table, those of blocks within their block."""
    return _Reader(list(lines)).rows(indent=0, depth=0)


class _Reader:
    """Takes lines from the front, one block at a time."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.next = 0

    def rows(self, indent: int, depth: int, parent: type[Row] | None = None) -> tuple[Row, ...]:
        rows = []
        while (line := self._peek()) and line.indent >= indent:
            if line.indent > indent:
                line.fail("it is indented further than the row above; only rows inside a block (Residual:, Concat:, Branch:) are")
            self.next += 1
            rows.append(self._row(line, depth, parent))
        return tuple(rows)

    def _peek(self) -> Line | None:
        return self.lines[self.next] if self.next < len(self.lines) else None

    def _row(self, line: Line, depth: int, parent: type[Row] | None) -> Row:
        parts = [part.strip() for part in line.text.removesuffix(":").split(",")]
        kind = _kind(line, parts[0], parent)
        values = _values(line, kind, parts[1:])
        if issubclass(kind, Block) != line.text.endswith(":"):
            holds = issubclass(kind, Block)
            line.fail(f"{kind.__name__} {'holds rows: end the line with a colon' if holds else 'holds no rows: leave out the colon'}")
        if issubclass(kind, Block):
            values["rows"] = self._inside(line, kind, depth)
        try:
            return kind(**values, line=line.number)
        except TableError as error:
            line.fail(str(error))

    def _inside(self, line: Line, kind: type[Row], depth: int) -> tuple[Row, ...]:
        first = self._peek()
        if not first or first.indent <= line.indent:
            line.fail(f"{kind.__name__} is empty; write its rows below it, indented")
        if depth >= DEEPEST:
            line.fail(f"blocks are nested deeper than the {DEEPEST} levels allowed")
        rows = self.rows(first.indent, depth + 1, kind)
        after = self._peek()
        if after and after.indent > line.indent:
            after.fail("its indentation fits no row above; rows of one block begin in the same column")
        return rows


def _kind(line: Line, word: str, parent: type[Row] | None) -> type[Row]:
    if word.startswith("["):
        line.fail("a second heading; a file holds one network")
    if word not in KINDS:
        near = difflib.get_close_matches(word.lower(), [name.lower() for name in KINDS], n=1)
        meant = next((f" (did you mean {name}?)" for name in KINDS if near and name.lower() == near[0]), "")
        line.fail(f"the kind '{word}' is not known{meant}; allowed are {', '.join(KINDS)}")
    kind = KINDS[word]
    if kind is Branch and parent is not Concat:
        line.fail("a Branch stands directly inside a Concat and nowhere else")
    if parent and kind.top_level_only:
        line.fail(f"{word} stands in the table itself, not inside a block")
    return kind


def _values(line: Line, kind: type[Row], parts: Sequence[str]) -> dict[str, Any]:
    """The fields that the parts after the kind give."""
    known = kind.entries()
    pairs = [tuple(side.strip() for side in part.split("=", 1)) for part in parts if "=" in part]
    plain = [part for part in parts if "=" not in part]
    if any("=" in part for part in parts[: len(plain)]):
        line.fail(f"values without a key come before those with one; {usage(kind)}")
    positionals = [entry for entry in known if entry.positional]
    if len(plain) != len(positionals):
        line.fail(f"{len(positionals)} values without a key are needed, {len(plain)} given; {usage(kind)}")
    values = {entry.field: _value(line, entry, text) for entry, text in zip(positionals, plain, strict=True)}
    for key, text in pairs:
        entry = _entry(line, kind, key)
        if entry.field in values:
            line.fail(f"the key {key} is given twice; keep one")
        values[entry.field] = _value(line, entry, text)
    if missing := [entry.key for entry in known if entry.required and entry.field not in values]:
        line.fail(f"{', '.join(missing)} must be given; {usage(kind)}")
    return values


def _entry(line: Line, kind: type[Row], key: str) -> Entry:
    keys = {entry.key: entry for entry in kind.entries() if not entry.positional}
    if key not in keys:
        near = difflib.get_close_matches(key, keys, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        line.fail(f"the key '{key}' is not known{meant}; {usage(kind)}")
    return keys[key]


def _value(line: Line, entry: Entry, text: str) -> Any:
    try:
        return entry.form.read(text)
    except ValueError:
        line.fail(f"{entry.key} is '{text}'; allowed is {entry.form.allowed}")


def usage(kind: type[Row]) -> str:
    """What a row of `kind` may say: `allowed is: Conv, kernel, channels [stride=, ...]`."""
    needed = [entry.key if entry.positional else f"{entry.key}=" for entry in kind.entries() if entry.positional or entry.required]
    optional = ", ".join(f"{entry.key}=" for entry in kind.entries() if not (entry.positional or entry.required))
    return f"allowed is: {', '.join([kind.__name__, *needed])} [{optional}]"
