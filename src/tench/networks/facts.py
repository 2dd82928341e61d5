"""What follows from the rows of a table alone: sizes, parameters, multiply-adds and receptive field of every row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tench.errors import TableError
from tench.networks.rows import Field, NamedRows, Row, Shape, named, place


@dataclass(frozen=True)
class LayerFacts:
    """What follows from one row at its place. Rows inside a block come after the block's own row, which counts them all."""

    index: int
    """From 1, over all rows, nested ones too."""
    depth: int
    """0 for the table's own rows; totals are sums over these."""
    path: str
    """Where the built network keeps it: `conv_1`, `inception_3a.branch_1.3x3`."""
    text: str
    kind: str
    input_shape: Shape
    output_shape: Shape
    """(channels, height_px, width_px)"""
    parameters: int
    macs: int
    receptive_field_px: int
    """Pixels of the input picture that one value sees along the longer side, padding included, so it may exceed the picture."""


def layer_facts(rows: Sequence[Row], source: str) -> tuple[LayerFacts, ...]:
    """The facts of all rows in order. Raises TableError that names `source`, line and row where a row does not fit its input."""
    return tuple(replace(facts, index=i) for i, facts in enumerate(_Walk(source).along(named(rows), (0, 0, 0), Field()), 1))


@dataclass(frozen=True)
class _Walk:
    """One walk down the rows, or into a block: `depth` blocks deep, whose path in the built network is `prefix`."""

    source: str
    depth: int = 0
    prefix: str = ""

    def along(self, path: NamedRows, shape: Shape, seen: Field) -> Iterator[LayerFacts]:
        for i, (name, row) in enumerate(path):
            inside = self._inside(name, row, shape, seen)
            following = [other for _, other in path[i + 1 :]]
            before, shape = shape, self._output_shape(row, shape, following)
            seen = row.receptive_field(seen, before)
            costs = row.parameters(before), row.macs(before)
            yield LayerFacts(0, self.depth, self.prefix + name, row.text(following), row.kind, before, shape, *costs, max(seen.size))
            yield from inside

    def _inside(self, name: str, row: Row, shape: Shape, seen: Field) -> list[LayerFacts]:
        deeper = _Walk(self.source, self.depth + 1, f"{self.prefix}{name}.")
        return [facts for path in row.paths(shape) for facts in deeper.along(path, shape, seen)]

    def _output_shape(self, row: Row, shape: Shape, following: Sequence[Row]) -> Shape:
        try:
            return row.output_shape(shape)
        except TableError as error:
            raise TableError(f"{place(self.source, row, following)}: {error}.") from None
