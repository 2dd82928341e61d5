"""Pictures, drawings and captions as HTML that stands alone: everything inlined, nothing computed but how to show it."""

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.report.canvas import SMALL, TEXT, Mark, Piece, Text, box, svg
from tench.report.pictures import png, png_uri

CELL_PX = 38.0


def number(value: float, lang: str, digits: int = 0, sign: bool = False) -> str:
    """`value` with so many decimals: thousands set apart by a narrow space, a true minus, a decimal comma in Polish."""
    rounded = round(value, digits) + 0.0  # no minus before a zero
    text = f"{rounded:{'+' if sign else ''},.{digits}f}".replace(",", "\u202f").replace("-", "\u2212")
    return text.replace(".", ",") if lang == "pl" else text


def picture(pixels: NDArray[Any], label: str, width_px: float, below: str = "") -> str:
    """A panel with a picture, uint8 (h, w) or (h, w, 3), `width_px` wide on the page, its pixels sharp; `below`: HTML under its label."""
    style = "display:block;width:100%;image-rendering:pixelated"
    return panel(f'<img src="{png_uri(png(pixels))}" alt="{escape(label)}" style="{style}">', label, width_px, below)


def signed(values: NDArray[Any], largest: float) -> NDArray[np.uint8]:
    """Values from -largest to largest as greys from 0 to 255, 0 in the middle; what is beyond stays at the end."""
    greys: NDArray[np.uint8] = np.clip(127.5 + 127.5 * values / largest, 0, 255).round().astype(np.uint8)
    return greys


def grid(numbers: NDArray[Any], label: str, marked: tuple[int, int, int] | None = None, strong: float = 0, lang: str = "en") -> str:
    """A panel with `numbers`, (rows, columns), in a grid, with at most two decimals. `marked`: (row, column, side) of
    cells drawn in blue; `strong`: the number at which a cell is tinted fully."""
    rows, columns = numbers.shape
    marks: list[Mark] = []
    for (y, x), value in np.ndenumerate(numbers):
        marks += _cell(x, y, value.item(), strong, lang)
    if marked:
        row, column, side = marked
        marks.append(box(column * CELL_PX, row * CELL_PX, side * CELL_PX, side * CELL_PX, "convolution"))
    piece = Piece(columns * CELL_PX, rows * CELL_PX, tuple(marks), 0)
    return panel(svg(piece, label, f"{rows} × {columns}", 2), label, piece.width + 4)


def _cell(x: int, y: int, value: float, strong: float, lang: str) -> Iterable[Mark]:
    tint = box(x * CELL_PX, y * CELL_PX, CELL_PX, CELL_PX, "panel")
    digits = next(n for n in (0, 1, 2) if n == 2 or value == round(value, n))
    shown = number(value, lang, digits).replace("\u202f", "")
    yield tint.tinted(0.3 * min(1, abs(value) / strong) if strong else 0)
    yield Text(
        (x + 0.5) * CELL_PX, (y + 0.5) * CELL_PX + 4, shown, (TEXT, SMALL, SMALL - 1.5)[(len(shown) > 3) + (len(shown) > 5)], "middle"
    )


def sign(text: str) -> str:
    """What stands between two panels, such as × or =."""
    return f'<div style="align-self:center;font-size:1.3em">{escape(text)}</div>'


def panel(content: str, label: str, width_px: float, below: str = "") -> str:
    """One part of a figure: a drawing or picture with a few words below it, and perhaps more HTML below these."""
    words = f'<div style="text-align:center;font-size:0.85em;line-height:1.3">{escape(label)}</div>' if label else ""
    return f'<div style="flex:0 1 {width_px:.0f}px;min-width:0">{content}{words}{below}</div>'


def figure(panels: Iterable[str], caption: str) -> str:
    """Panels side by side, as many as the page has room for, over a caption, which is HTML."""
    row = "display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start"
    return f'<figure class="guide-figure"><div style="{row}">{"".join(panels)}</div><figcaption>{caption}</figcaption></figure>'


def paragraphs(texts: Iterable[str], formulas: Iterable[str] = ()) -> str:
    """Texts, which are HTML, and formulas after them."""
    lines = [f"<p>{text}</p>" for text in texts]
    lines += [f'<p class="formula" style="margin-left:2em"><i>{formula}</i></p>' for formula in formulas]
    return "\n".join(lines)
