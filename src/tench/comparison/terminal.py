"""A table as wide as the terminal it is shown in: what there is no room for is left out and named, never squeezed to a letter a line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

WORDS_WIDTH = 22
"""Characters below which a column of words is not squeezed."""


@dataclass(frozen=True)
class Fitting:
    """A table for a rich console. Text in brackets is shown, never taken for markup."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: frozenset[str]
    """Headings of columns that are read, not compared: to the left, and broken where they are long."""
    whole: frozenset[str] = frozenset()
    """Those of them that are never broken, such as ids."""
    spare: Sequence[str] = ()
    """Headings of columns that may be left out, the first ones first."""
    below: str | None = None
    """A column that, where there is no room for it, comes as lines below: it says what must not go unsaid."""
    warnings: Sequence[str] = ()
    styles: Sequence[str] = ()
    """A style a line, or none at all."""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        kept, missing = list(self.headings), []
        for heading in [self.below, *self.spare] if self.below else self.spare:
            if self._least(kept) <= options.max_width:
                break
            if heading in kept:
                kept.remove(heading)
                missing.append(heading)
        yield self._drawn(kept)
        told = list(self._told()) if self.below in missing else []
        unsaid = [heading for heading in missing if heading != self.below]
        if unsaid:
            told.append(f"No room here for: {', '.join(unsaid)}. A wider terminal shows all; so does --format csv, where there is one.")
        for line in [*told, *self.warnings]:
            yield Text(line, style="italic dim")

    def _least(self, kept: Sequence[str]) -> int:
        """Characters that the table needs with these columns: their widths, and the lines and spaces between."""
        return sum(self._width(heading) for heading in kept) + 3 * len(kept) + 1

    def _width(self, heading: str) -> int:
        """Of a column: all of a figure, and of words WORDS_WIDTH at least; of its heading the longest word."""
        place = list(self.headings).index(heading)
        longest = max((len(line[place]) for line in self.lines), default=0)
        least = min(WORDS_WIDTH, longest) if heading in self.words - self.whole else longest
        return max([least, *map(len, heading.split())])

    def _told(self) -> Iterable[str]:
        """The column `below`, each of its texts once, with the first cells of the lines it is said of."""
        place = list(self.headings).index(self.below or "")
        said: dict[str, list[str]] = {}
        for line in self.lines:
            if line[place]:
                said.setdefault(line[place], []).append(line[0])
        return (f"{', '.join(names)}: {text}" for text, names in said.items())

    def _drawn(self, kept: Sequence[str]) -> "Table":
        from rich.table import Table
        from rich.text import Text

        drawn = Table(title=Text(self.title) if self.title else None, title_justify="left")
        places = [list(self.headings).index(heading) for heading in kept]
        for heading in kept:
            width, breaks = self._width(heading), heading in self.words - self.whole
            justify: Literal["left", "right"] = "left" if heading in self.words else "right"
            fixed, least = (None, width) if breaks else (width, None)
            drawn.add_column(heading, justify=justify, overflow="fold", width=fixed, min_width=least)
        for line, style in zip(self.lines, self.styles or [""] * len(self.lines), strict=True):
            drawn.add_row(*(Text(line[place]) for place in places), style=style)
        return drawn
