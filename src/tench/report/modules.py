"""Drawings of what is not a straight line: branches side by side as in Szegedy et al. 2015 (figure 2b), every row a labelled box."""

from collections.abc import Sequence
from dataclasses import replace

from tench.networks.layers import Branch, Concat, Conv, Inception, Residual
from tench.networks.rows import Row, Shape
from tench.report.canvas import LEADING, SMALL, Mark, Piece, Text, arrow, box, disc, line, stacked, text_width, wrapped

CELL_PX = 94
WIDEST_CELL_PX = 140
GAP_PX = 16
BAR_PX = 20

TONES = {
    "ImageInput": "input",
    **dict.fromkeys(("Conv", "Inception"), "convolution"),
    **dict.fromkeys(("MaxPool", "AvgPool", "Resize", "GlobalMaxPool", "GlobalAvgPool"), "pool"),
    "FullyConnected": "full",
    **dict.fromkeys(("Dropout", "BatchNorm", "ReLU", "LocalResponseNorm", "Scale"), "norm"),
    **dict.fromkeys(("SoftMax", "ClassOutput", "Concat", "Branch", "Residual"), "output"),
}
"""The colour of every kind of row."""


def size_text(shape: Shape) -> str:
    """Such as 224 × 224 × 64: height, width, channels."""
    return f"{shape[1]} × {shape[2]} × {shape[0]}"


def module(row: Concat | Inception, shape: Shape, axis: float | None = None) -> Piece:
    """The branches of a row for an input of `shape` (channels, height_px, width_px), side by side between a bar for what comes in and
    one for what goes out. The piece's axis is at `axis`, or in its middle."""
    paths = row.concat().paths(shape) if isinstance(row, Inception) else row.paths(shape)
    branches = [_branch([_plain(r) if isinstance(row, Inception) else r for _, r in path], shape) for path in paths]
    width = sum(branch.width for branch in branches) + 6 * (len(branches) - 1)
    height = max(branch.height for branch in branches)
    marks: list[Mark] = [*_bar(0, width, size_text(shape))]
    x = 0.0
    for branch in branches:
        top = BAR_PX + GAP_PX + height - branch.height
        marks += arrow((x + branch.axis, BAR_PX), (x + branch.axis, top))
        marks += branch.moved(x, top)
        marks += arrow((x + branch.axis, top + branch.height), (x + branch.axis, BAR_PX + 2 * GAP_PX + height))
        x += branch.width + 6
    end = BAR_PX + 2 * GAP_PX + height
    marks += _bar(end, width, f"Concat  {size_text(row.output_shape(shape))}")
    return Piece(width, end + BAR_PX, tuple(marks), width / 2 if axis is None else axis)


def bypassed(body: Piece, projection: bool, lane: float = 14) -> Piece:
    """`body` with the shortcut of a residual block on its left, added in a circle below; a box on the shortcut is its projection."""
    axis, end = body.axis + lane, body.height + 20
    marks: list[Mark] = [line((axis, 2), (4, 2), (4, end - 9), (axis - 7, end - 9)), line((axis, 0), (axis, 2))]
    if projection:
        marks.append(box(0, body.height / 2 - 8, 8, 16, "convolution"))
    plus = (disc(axis, end - 9, 7), line((axis - 4, end - 9), (axis + 4, end - 9)), line((axis, end - 13), (axis, end - 5)))
    marks += [*body.moved(lane, 0), *arrow((axis, body.height), (axis, end - 16)), *plus, line((axis, end - 2), (axis, end))]
    return Piece(body.width + lane, end, tuple(marks), axis)


def _plain(row: Row) -> Row:
    """A row inside an Inception without what the shorthand says of all: its name and its norm."""
    if isinstance(row, Branch):
        return replace(row, rows=tuple(_plain(inner) for inner in row.rows))
    return replace(row, name="", norm="batch") if isinstance(row, Conv) else row


def _bar(y: float, width: float, content: str) -> tuple[Mark, Mark]:
    return box(0, y, width, BAR_PX, "output"), Text(width / 2, y + 14, content, SMALL, "middle")


def _branch(rows: Sequence[Row], shape: Shape) -> Piece:
    pieces = []
    for i, row in enumerate(rows):
        pieces.append(_part(row, shape, rows[i + 1 :]))
        shape = row.output_shape(shape)
    return stacked(pieces, GAP_PX)


def _part(row: Row, shape: Shape, following: Sequence[Row]) -> Piece:
    if isinstance(row, Branch):
        return _branch(row.rows, shape)
    if isinstance(row, Concat | Inception):
        return module(row, shape)
    if isinstance(row, Residual):
        heading = _cell(row.text(following), size_text(row.output_shape(shape)), "output")
        return stacked([heading, bypassed(stacked([_gap(), _branch(row.rows, shape)]), row.shortcut == "projection")])
    return _cell(row.text(following), size_text(row.output_shape(shape)), TONES[row.kind])


def _gap() -> Piece:
    return Piece(0, GAP_PX, tuple(arrow((0, 0), (0, GAP_PX))), 0)


def _cell(content: str, size: str, tone: str) -> Piece:
    """A box with the row's text and, below it, the size that comes out."""
    width = min(WIDEST_CELL_PX, max(CELL_PX, *(text_width(word, SMALL) + 8 for word in (*content.split(), size))))
    lines = [*wrapped(content, SMALL, width - 6), size]
    height = len(lines) * SMALL * LEADING + 6
    texts = [Text(width / 2, 2 + SMALL * (1 + i * LEADING), text, SMALL, "middle") for i, text in enumerate(lines)]
    return Piece(width, height, (box(0, 0, width, height, tone), *texts), width / 2)
