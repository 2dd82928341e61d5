"""A network drawn from its table, top to bottom, by tench itself. No torch, and nothing that is not in the table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import sqrt

from tench.networks.layers import Concat, Inception, Residual
from tench.networks.rows import Row, Shape
from tench.networks.table import Table
from tench.report.canvas import LEADING, SMALL, TEXT, Drawing, Mark, Piece, Text, box, line, stacked, text_width, wrapped
from tench.report.canvas import Shape as Outline
from tench.report.guide_texts import guide_texts
from tench.report.modules import TONES, bypassed, module, size_text

AXIS_PX = 62
WORDS_PX = 262
WIDEST_PX = 120
BETWEEN_STAGES = ("ImageInput", "MaxPool", "AvgPool", "GlobalMaxPool", "GlobalAvgPool")
THIN = ("Dropout", "BatchNorm", "ReLU", "LocalResponseNorm", "Scale", "SoftMax")


def network_drawing(table: Table, lang: str = "en") -> Drawing:
    """The drawing of `table`, its words in `lang` ("en" or "pl"); the rows keep the words of the notation.

    Blocks are as wide as the maps and as high as the channels, both by their square root; rows between two pools lie on one panel.
    An Inception is one block with its numbers, and the first of them follows in full. Colours are the CSS variables --ink, --muted,
    --blue, --orange, --green and --purple, each with a value of its own where a page does not set it.
    """
    words = guide_texts(lang)["drawing"]
    trunk = _Trunk(max(table.input_px))
    parts = [_stages(trunk, table.rows)]
    for row, shape in _first_inception(table.rows):
        parts += [_heading(words["in_full"].format(name=row.name or row.kind)), module(row, shape, AXIS_PX)]
    parts.append(_note(words["scale"]))
    height, width = table.input_px
    description = words["description"].format(
        height=height,
        width=width,
        classes=table.n_classes,
        rows=len(table.rows),
        kinds=", ".join(dict.fromkeys(r.kind for r in table.rows)),
    )
    return Drawing(stacked(parts), words["title"].format(name=table.name), description)


def _first_inception(rows: Sequence[Row]) -> Iterator[tuple[Inception, Shape]]:
    shape: Shape = (0, 0, 0)
    for row in rows:
        if isinstance(row, Inception):
            yield row, shape
            return
        shape = row.output_shape(shape)


def _stages(trunk: "_Trunk", rows: Sequence[Row]) -> Piece:
    """All rows in order; those between two pools on one panel."""
    pieces = list(zip(trunk.pieces(rows, (0, 0, 0)), rows, strict=True))
    left = max(piece.axis for piece, _ in pieces)
    right = max(piece.width - piece.axis for piece, _ in pieces)
    stages = []
    for between, group in groupby(pieces, lambda pair: pair[1].kind in BETWEEN_STAGES):
        stage = _widened(stacked([piece for piece, _ in group]), left + 6, right)
        panel = replace(box(0, 1, stage.width, stage.height - 2, "panel"), opacity=0.05, outlined=False)
        stages.append(stage if between else stage.with_marks(panel))
    return stacked(stages)


def _widened(piece: Piece, left: float, right: float) -> Piece:
    return Piece(left + right, piece.height, piece.moved(left - piece.axis, 0), left)


@dataclass(frozen=True)
class _Trunk:
    """Rows one below the other: blocks in proportion on the left, words on the right."""

    input_px: int

    def pieces(self, rows: Sequence[Row], shape: Shape) -> Iterator[Piece]:
        for i, row in enumerate(rows):
            yield self._piece(row, shape, rows[i + 1 :])
            shape = row.output_shape(shape)

    def _piece(self, row: Row, shape: Shape, following: Sequence[Row]) -> Piece:
        after = row.output_shape(shape)
        text = row.text(following)
        if isinstance(row, Residual):
            body = stacked(list(self.pieces(row.rows, shape)))
            return stacked([self._beside((), 0, text, after), bypassed(body, row.shortcut == "projection")])
        if isinstance(row, Concat):
            return stacked([self._beside((), 0, text, after), module(row, shape, AXIS_PX), _gap(6)])
        height, marks = self._block(row, shape, after)
        return self._beside(marks, height, text, after)

    def _beside(self, block: Sequence[Mark], height: float, text: str, shape: Shape) -> Piece:
        """A block, its top centre at (0, 0), beside its words; the line through it goes on above and below."""
        words, words_height = _words(text, size_text(shape))
        whole = max(height, words_height) + 8
        top = (whole - height) / 2
        ends = [line((AXIS_PX, 0), (AXIS_PX, top)), line((AXIS_PX, top + height), (AXIS_PX, whole))]
        moved = [mark.moved(AXIS_PX, top) for mark in block]
        placed = [word.moved(AXIS_PX + WIDEST_PX / 2 + 10, (whole - words_height) / 2) for word in words]
        return Piece(AXIS_PX + WIDEST_PX / 2 + 10 + WORDS_PX, whole, (*ends, *moved, *placed), AXIS_PX)

    def _block(self, row: Row, before: Shape, after: Shape) -> tuple[float, list[Mark]]:
        """(height, marks) of a row's block."""
        tone, width = TONES[row.kind], self._width(after)
        if row.kind in BETWEEN_STAGES[1:]:
            return 16, [_tapered(self._width(before), width, 16, tone)]
        height = 6 if row.kind in THIN else 9 if after[1:] == (1, 1) else 6 + 1.1 * sqrt(after[0])
        if isinstance(row, Inception):
            return height, list(_slices(row, width, height))
        return height, [replace(_tapered(width, width, height, tone), dashed=row.kind == "Dropout")]

    def _width(self, shape: Shape) -> float:
        """Of maps by their width, of values without place by their number, of which 4,096 fill the room."""
        share = shape[0] / 4096 if shape[1:] == (1, 1) else shape[2] / self.input_px
        return 10 + (WIDEST_PX - 10) * min(1, sqrt(share))


def _tapered(top: float, bottom: float, height: float, tone: str) -> Outline:
    return Outline(((-top / 2, 0), (top / 2, 0), (bottom / 2, height), (-bottom / 2, height)), tone)


def _slices(row: Inception, width: float, height: float) -> Iterator[Outline]:
    """The four branches by their share of the channels that go out, the pool's in the colour of pools."""
    shares = (row.n1x1, row.n3x3, row.n5x5, row.pool)
    x = -width / 2
    for share, opacity, tone in zip(shares, (0.1, 0.28, 0.46, 0.28), ("convolution",) * 3 + ("pool",), strict=True):
        part = width * share / sum(shares)
        yield replace(box(x, 0, part, height, tone), opacity=opacity)
        x += part


def _words(text: str, size: str) -> tuple[list[Text], float]:
    """(lines, height) of a row's text: kind and positionals with the size on their right, or below where it does not fit; then keys."""
    parts = text.split(", ")
    plain = ", ".join(part for part in parts if "=" not in part)
    beside = text_width(plain, TEXT) + text_width(size, SMALL) + 14 <= WORDS_PX
    keys = ", ".join(part for part in parts if "=" in part)
    y = TEXT
    lines = [Text(0, y, plain, TEXT, bold=True)]
    y += 0 if beside else SMALL * LEADING
    lines.append(Text(WORDS_PX - 6, y, size, SMALL, "end", quiet=True))
    for content in wrapped(keys, SMALL, WORDS_PX - 8) if keys else ():
        y += SMALL * LEADING
        lines.append(Text(0, y, content, SMALL, quiet=True))
    return lines, y + 0.3 * SMALL


def _heading(content: str) -> Piece:
    return Piece(AXIS_PX + WORDS_PX, 40, (Text(0, 28, content, TEXT, bold=True),), AXIS_PX)


def _note(content: str) -> Piece:
    lines = wrapped(content, SMALL, AXIS_PX + WIDEST_PX / 2 + WORDS_PX)
    marks = tuple(Text(0, 18 + i * SMALL * LEADING, text, SMALL, quiet=True) for i, text in enumerate(lines))
    return Piece(AXIS_PX + WIDEST_PX / 2 + WORDS_PX, 18 + len(lines) * SMALL * LEADING, marks, AXIS_PX)


def _gap(height: float) -> Piece:
    return Piece(2 * AXIS_PX, height, (line((AXIS_PX, 0), (AXIS_PX, height)),), AXIS_PX)
