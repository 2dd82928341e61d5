"""Pictures and drawings in panels side by side: as HTML that stands alone, and as drawings for files. Computes but how to show things."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from html import escape, unescape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.report.canvas import LEADING, SMALL, TEXT, Drawing, Inset, Mark, Piece, Text, box, stacked, text_width, wrapped
from tench.report.pictures import png, png_uri
from tench.report.words import kept_together, number

CELL_PX = 38.0
SIGN = 20.0
"""Size of a sign between two panels."""
LABEL = 12.0
LABEL_PX = 72.0
"""A panel's words have at least so much room, however narrow it is."""
ROW_PX = 940.0
"""Room for a row of panels in a file, as on a wide page."""


@dataclass(frozen=True)
class Panel:
    """One part of a figure: a drawing or picture, with a few words below it, and perhaps another part below these."""

    content: str
    """HTML."""
    label: str
    width_px: float
    draw: Callable[[], Piece] = field(compare=False)
    """The content as a piece of a drawing that wide, for files."""
    below: "Panel | None" = None
    is_sign: bool = False

    @property
    def html(self) -> str:
        """The panel in a row of a page."""
        if self.is_sign:
            return f'<div style="align-self:center;font-size:1.3em">{self.content}</div>'
        words = (
            f'<div style="text-align:center;font-size:0.85em;line-height:1.3;margin:4px 0">{kept_together(escape(self.label))}</div>'
            if self.label
            else ""
        )
        inner = f"{self.content}{words}{self.below.html if self.below else ''}"
        return f'<div style="flex:0 1 {self.width_px:.0f}px;min-width:0">{inner}</div>'

    def piece(self) -> Piece:
        """The panel in a drawing."""
        parts = [self.draw(), *_label(self.label, self.width_px), *([self.below.piece()] if self.below else [])]
        return stacked([replace(part, axis=part.width / 2) for part in parts])


def _label(label: str, width_px: float) -> Iterator[Piece]:
    for text in (text for line in label.splitlines() for text in wrapped(line, LABEL, max(width_px, LABEL_PX))):
        width = text_width(text, LABEL)
        yield Piece(width, LABEL * LEADING, (Text(width / 2, LABEL, text, LABEL, "middle"),), width / 2)


@dataclass(frozen=True)
class Panels:
    """Panels side by side over a caption, which is HTML."""

    panels: tuple[Panel, ...]
    caption: str

    @property
    def html(self) -> str:
        """As many in a row as the page has room for."""
        row = "display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start"
        inner = "".join(panel.html for panel in self.panels)
        return (
            f'<figure class="guide-figure"><div style="{row}">{inner}</div><figcaption>{kept_together(self.caption)}</figcaption></figure>'
        )

    def drawing(self, title: str) -> Drawing:
        """For a file: as many in a row as a page has room for."""
        caption = unescape(re.sub(r"<[^>]+>", "", self.caption))
        return Drawing(side_by_side([(panel.piece(), panel.is_sign) for panel in self.panels]), title, caption)


def side_by_side(pieces: Iterable[tuple[Piece, bool]], widest_px: float = ROW_PX, gap: float = 12) -> Piece:
    """Pieces side by side in rows of at most `widest_px`, their tops in a line; those marked stand in the middle of their row."""
    lines: list[list[tuple[float, Piece, bool]]] = [[]]
    x = 0.0
    for piece, centred in pieces:
        if lines[-1] and x + piece.width > widest_px:
            lines.append([])
            x = 0.0
        lines[-1].append((x, piece, centred))
        x += piece.width + gap
    marks, y = list[Mark](), 0.0
    for line in lines:
        height = max(piece.height for _, piece, _ in line)
        for x, piece, centred in line:
            marks += piece.moved(x, y + ((height - piece.height) / 2 if centred else 0))
        y += height + gap
    return Piece(max(x + piece.width for line in lines for x, piece, _ in line), y - gap, tuple(marks), 0)


def picture(pixels: NDArray[Any], label: str, width_px: float, below: Panel | None = None) -> Panel:
    """A picture, uint8 (h, w) or (h, w, 3), `width_px` wide on the page, its pixels sharp."""
    style = "display:block;width:100%;image-rendering:pixelated"
    content = f'<img src="{png_uri(png(pixels))}" alt="{escape(label)}" style="{style}">'
    return Panel(content, label, width_px, lambda: inset(pixels, width_px), below)


def inset(pixels: NDArray[Any], width_px: float) -> Piece:
    """A picture as a piece of a drawing, `width_px` wide, its pixels sharp."""
    height = width_px * pixels.shape[0] / pixels.shape[1]
    whole = 'width="100%" height="100%" preserveAspectRatio="none" style="image-rendering:pixelated"'
    mark = Inset(0, 0, width_px, height, f'<image href="{png_uri(png(pixels))}" {whole}/>', pixels)
    return Piece(width_px, height, (mark,), width_px / 2)


def signed(values: NDArray[Any], largest: float) -> NDArray[np.uint8]:
    """Values from -largest to largest as greys from 0 to 255, 0 in the middle; what is beyond stays at the end."""
    greys: NDArray[np.uint8] = np.clip(127.5 + 127.5 * values / largest, 0, 255).round().astype(np.uint8)
    return greys


def grid(numbers: NDArray[Any], label: str, marked: tuple[int, int, int] | None = None, strong: float = 0, lang: str = "en") -> Panel:
    """A panel with `numbers`, (rows, columns), in a grid, with at most two decimals. `marked`: (row, column, side) of
    cells drawn in blue; `strong`: the number at which a cell is tinted fully."""
    rows, columns = numbers.shape
    marks: list[Mark] = []
    for (y, x), value in np.ndenumerate(numbers):
        marks += _cell(x, y, value.item(), strong, lang)
    if marked:
        row, column, side = marked
        marks.append(box(column * CELL_PX, row * CELL_PX, side * CELL_PX, side * CELL_PX, "convolution"))
    drawing = Drawing(Piece(columns * CELL_PX, rows * CELL_PX, tuple(marks), 0), label, f"{rows} × {columns}", 2)
    return drawn(drawing, label, drawing.size[0])


def drawn(drawing: Drawing, label: str, width_px: float) -> Panel:
    """A panel with a drawing."""
    return Panel(drawing.svg(), label, width_px, lambda: drawing.piece)


def _cell(x: int, y: int, value: float, strong: float, lang: str) -> Iterable[Mark]:
    tint = box(x * CELL_PX, y * CELL_PX, CELL_PX, CELL_PX, "panel")
    digits = next(n for n in (0, 1, 2) if n == 2 or value == round(value, n))
    shown = number(value, lang, digits).replace("\u202f", "")
    yield tint.tinted(0.3 * min(1, abs(value) / strong) if strong else 0)
    yield Text(
        (x + 0.5) * CELL_PX, (y + 0.5) * CELL_PX + 4, shown, (TEXT, SMALL, SMALL - 1.5)[(len(shown) > 3) + (len(shown) > 5)], "middle"
    )


def sign(text: str) -> Panel:
    """What stands between two panels, such as × or =."""
    width, size = text_width(text, SIGN), SIGN
    return Panel(escape(text), "", width, lambda: Piece(width, size, (Text(width / 2, 0.8 * size, text, size, "middle"),), 0), is_sign=True)


def paragraphs(texts: Iterable[str], formulas: Iterable[str] = ()) -> str:
    """Texts, which are HTML, and formulas after them."""
    lines = [f"<p>{kept_together(text)}</p>" for text in texts]
    lines += [f'<p class="formula" style="margin-left:2em"><i>{formula}</i></p>' for formula in formulas]
    return "\n".join(lines)
