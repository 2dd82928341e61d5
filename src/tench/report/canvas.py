"""Marks of a drawing, pieces made of marks, drawings made of pieces, as SVG. Its colours are variables: a page decides light or dark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from math import cos, sin, tau
from typing import Any, Literal

from numpy.typing import NDArray

Point = tuple[float, float]

COLOURS = {
    "input": "var(--ink, currentColor)",
    "convolution": "var(--blue, #0072b2)",
    "pool": "var(--orange, #d55e00)",
    "full": "var(--green, #009e73)",
    "norm": "var(--purple, #cc79a7)",
    "output": "var(--ink, currentColor)",
    "line": "var(--muted, currentColor)",
    "panel": "currentColor",
}
"""By tone; the hues are Okabe and Ito's, which the colour-blind tell apart."""

TEXT = 13.0
SMALL = 11.0
LEADING = 1.28
"""From line to line, in sizes of the text."""

_NARROW, _WIDE = frozenset("iIjlftr ,.:;'|()[]"), frozenset("mwMW×=+→%")


def text_width(content: str, size: float) -> float:
    """Pixels that `content` takes at most at `size` pixels, in the widest of the usual sans-serif faces (DejaVu Sans)."""
    return size * sum(0.4 if letter in _NARROW else 0.98 if letter in _WIDE else 0.64 for letter in content)


def wrapped(content: str, size: float, width: float) -> list[str]:
    """`content` in lines of at most `width` pixels, broken at spaces, and within a word only where it is too long for a line."""
    lines = [""]
    for word in content.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
        while text_width(lines[-1], size) > width:
            fits = max(n for n in range(1, len(lines[-1])) if n == 1 or text_width(lines[-1][:n], size) <= width)
            lines[-1:] = [lines[-1][:fits], lines[-1][fits:]]
    return lines


@dataclass(frozen=True)
class Text:
    """One line of text; `y` is its base line."""

    x: float
    y: float
    content: str
    size: float = TEXT
    anchor: Literal["start", "middle", "end"] = "start"
    quiet: bool = False
    bold: bool = False

    def moved(self, dx: float, dy: float) -> "Text":
        return replace(self, x=self.x + dx, y=self.y + dy)

    def svg(self) -> str:
        colour = "var(--muted, currentColor)" if self.quiet else "var(--ink, currentColor)"
        weight = ";font-weight:600" if self.bold else ""
        place = f'x="{self.x:.1f}" y="{self.y:.1f}" font-size="{self.size:g}" text-anchor="{self.anchor}"'
        return f'<text {place} style="fill:{colour}{weight}">{escape(self.content)}</text>'


@dataclass(frozen=True)
class Shape:
    """Straight lines from point to point: an area in the tint of its tone, or a line."""

    points: tuple[Point, ...]
    tone: str
    area: bool = True
    opacity: float = 0.22
    dashed: bool = False
    outlined: bool = True

    def moved(self, dx: float, dy: float) -> "Shape":
        return replace(self, points=tuple((x + dx, y + dy) for x, y in self.points))

    def tinted(self, opacity: float) -> "Shape":
        """With another opacity of its tint, from 0 to 1."""
        return replace(self, opacity=opacity)

    def svg(self) -> str:
        colour, points = COLOURS[self.tone], " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)
        fill = f"fill:{colour};fill-opacity:{self.opacity:g}" if self.area else "fill:none"
        stroke = f";stroke:{colour};stroke-linejoin:round" if self.outlined else ""
        dashes = ";stroke-dasharray:3 3" if self.dashed else ""
        return f'<{"polygon" if self.area else "polyline"} points="{points}" style="{fill}{stroke}{dashes}"/>'


@dataclass(frozen=True)
class Inset:
    """A picture or a chart in a drawing, its upper left corner at `x` and `y`."""

    x: float
    y: float
    width: float
    height: float
    inner: str
    """An SVG element that fills what it is put into."""
    pixels: NDArray[Any]
    """The same as uint8, (h, w) or (h, w, 3)."""

    def moved(self, dx: float, dy: float) -> "Inset":
        return replace(self, x=self.x + dx, y=self.y + dy)

    def svg(self) -> str:
        place = f'x="{self.x:.1f}" y="{self.y:.1f}" width="{self.width:.1f}" height="{self.height:.1f}"'
        return f"<svg {place}>{self.inner}</svg>"


Mark = Text | Shape | Inset


@dataclass(frozen=True)
class Piece:
    """A part of a drawing: marks between (0, 0) and (width, height). What flows through it comes in and leaves at `axis`."""

    width: float
    height: float
    marks: tuple[Mark, ...]
    axis: float

    def moved(self, dx: float, dy: float) -> tuple[Mark, ...]:
        """Its marks elsewhere."""
        return tuple(mark.moved(dx, dy) for mark in self.marks)

    def with_marks(self, *marks: Mark) -> "Piece":
        """The same with other marks behind its own."""
        return replace(self, marks=(*marks, *self.marks))


def box(x: float, y: float, width: float, height: float, tone: str) -> Shape:
    """A rectangle, `x` and `y` its upper left corner."""
    return Shape(((x, y), (x + width, y), (x + width, y + height), (x, y + height)), tone)


def line(*points: Point, dashed: bool = False) -> Shape:
    """A line in the colour of lines."""
    return Shape(points, "line", area=False, dashed=dashed)


def disc(x: float, y: float, radius: float) -> Shape:
    """A circle, for all practical purposes."""
    points = tuple((x + radius * cos(tau * i / 24), y + radius * sin(tau * i / 24)) for i in range(24))
    return Shape(points, "line", opacity=0)


def arrow(*points: Point) -> Iterator[Shape]:
    """A line with a head at its end, which must come from straight above."""
    x, y = points[-1]
    yield line(*points)
    yield Shape(((x - 3, y - 6), (x + 3, y - 6), (x, y)), "line", opacity=1)


def stacked(pieces: Sequence[Piece], gap: float = 0) -> Piece:
    """Pieces one below the other on one axis, joined by lines where there is a gap."""
    axis = max(piece.axis for piece in pieces)
    right = max(piece.width - piece.axis for piece in pieces)
    marks, y = list[Mark](), 0.0
    for above, piece in pairwise((None, *pieces)):
        assert piece is not None
        if above is not None and gap:
            marks += arrow((axis, y), (axis, y + gap))
            y += gap
        marks += piece.moved(axis - piece.axis, y)
        y += piece.height
    return Piece(axis + right, y, tuple(marks), axis)


@dataclass(frozen=True)
class Drawing:
    """A piece with a margin around it, and with words for those who cannot see it."""

    piece: Piece
    title: str
    description: str
    margin: float = 6

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) in pixels."""
        return self.piece.width + 2 * self.margin, self.piece.height + 2 * self.margin

    @property
    def marks(self) -> tuple[Mark, ...]:
        """In the order in which they are drawn."""
        return self.piece.moved(self.margin, self.margin)

    def svg(self) -> str:
        """The drawing as SVG text. It is as wide as its place lets it be, but never larger than 1.25 times its own size."""
        width, height = self.size
        body = "\n".join(mark.svg() for mark in self.marks)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(self.title)}"'
            f' style="width:100%;max-width:{1.25 * width:.0f}px;height:auto;font-family:var(--font, system-ui, sans-serif)">\n'
            f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>\n{body}\n</svg>\n"
        )
