"""Drawings as files: SVG with colours and a size of its own, PNG by matplotlib, mark by mark; and charts within drawings."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tench.report.canvas import COLOURS, Drawing, Inset, Mark, Piece, Shape, Text
from tench.report.plotting import INK, MUTED, VARIABLES, png_file, styled, svg_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 96
"""Pixels of a drawing to the inch, as in CSS."""


def svg_and_png(name: str, drawing: Drawing) -> list[tuple[str, bytes]]:
    """(file name, content) of a drawing as SVG and as PNG."""
    with styled(name):
        return [(f"{name}.svg", _svg(drawing).encode()), (f"{name}.png", png_file(_figure(drawing)))]


def _svg(drawing: Drawing) -> str:
    width, height = drawing.size
    size = f'width="{width:.0f}" height="{height:.0f}" font-family="DejaVu Sans, sans-serif"'
    return _plain(re.sub(r'style="width:100%[^"]*"', size, drawing.svg(), count=1))


def _plain(text: str) -> str:
    """Style without variables and without the page's ink."""
    for colour, variable in VARIABLES.items():
        text = text.replace(variable, colour)
    return text.replace("currentColor", INK)


def _figure(drawing: Drawing) -> "Figure":
    """The drawing on a matplotlib figure, a data unit a pixel."""
    from matplotlib.figure import Figure

    width, height = drawing.size
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _draw(axes, drawing.marks)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return figure


def _draw(axes: "Axes", marks: Sequence[Mark]) -> None:
    """Later marks lie on earlier ones."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Polygon

    for order, mark in enumerate(marks):
        if isinstance(mark, Text):
            size_pt, weight = mark.size * 72 / DOTS_PER_INCH, "bold" if mark.bold else "normal"
            anchor = {"start": "left", "middle": "center", "end": "right"}[mark.anchor]
            words = axes.text(mark.x, mark.y, mark.content, fontsize=size_pt, ha=anchor, va="baseline", weight=weight, zorder=order)
            words.set(color=MUTED if mark.quiet else INK, parse_math=False)
        elif isinstance(mark, Shape):
            colour = _plain(COLOURS[mark.tone])
            face = to_rgba(colour, mark.opacity) if mark.area else "none"
            edge = colour if mark.outlined else "none"
            dashes = (0, (4, 4)) if mark.dashed else "-"
            patch = Polygon(mark.points, closed=mark.area, fc=face, ec=edge, lw=0.75, ls=dashes, joinstyle="round", zorder=order)
            axes.add_patch(patch)
        else:
            extent = (mark.x, mark.x + mark.width, mark.y + mark.height, mark.y)
            sharp = mark.pixels.shape[1] < mark.width
            axes.imshow(
                mark.pixels, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest" if sharp else "antialiased", zorder=order
            )


def figure_inset(figure: "Figure", width_px: float) -> Piece:
    """A chart as a piece of a drawing, `width_px` wide. Belongs into the `styled` block in which the chart was made."""
    text = svg_file(figure)
    text = re.sub(r' (width|height)="[\d.]+pt"', r' \1="100%"', text[text.index("<svg") :], count=2)
    pixels = np.asarray(Image.open(io.BytesIO(png_file(figure))).convert("RGB"))
    height = width_px * pixels.shape[0] / pixels.shape[1]
    return Piece(width_px, height, (Inset(0, 0, width_px, height, text, pixels),), width_px / 2)
