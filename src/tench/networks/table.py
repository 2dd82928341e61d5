"""Networks as tables: one row a line, `Conv, 3x3, 64, stride=2`, blocks indented. docs/networks.md describes the notation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import NoReturn

from tench.config import builtin_names
from tench.errors import NotFoundError, TableError
from tench.networks.facts import LayerFacts, layer_facts
from tench.networks.layers import BatchNorm, Block, ClassOutput, Dropout, FullyConnected, ImageInput, Scale, SoftMax
from tench.networks.reader import read_header, read_lines, read_rows
from tench.networks.rows import Row, named, place

ORIGINS = ("own", "published", "reconstructed", "classical", "tench")
INDENT = "  "


@dataclass(frozen=True)
class Table:
    """A network, row by row. Making one checks it: raises TableError that names file, line, row and what is allowed."""

    name: str
    origin: str
    rows: tuple[Row, ...]
    source: str = field(default="", compare=False)
    """The file it was read from, for messages; without one, the name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", self.source or self.name)
        object.__setattr__(self, "rows", _settled(self.rows))
        if not self.name.isprintable() or self.name != self.name.strip() or not self.name or set(self.name) & set("[],=#"):
            raise TableError(
                f"{self.source}: the name {self.name!r} cannot be written; begin with a line [name], without any of [ ] , = #."
            )
        if self.origin not in ORIGINS:
            raise TableError(f"{self.source}: the origin {self.origin!r} is not known; allowed are {', '.join(ORIGINS)}.")
        self._check_ends()
        self._check_head()
        self._check_names(self.rows)
        self.layers()

    @property
    def published(self) -> bool:
        """Whether these very rows are in print."""
        return self.origin in ("published", "classical")

    @property
    def input(self) -> ImageInput:
        """The first row."""
        assert isinstance(self.rows[0], ImageInput)
        return self.rows[0]

    @property
    def output(self) -> ClassOutput:
        """The last row."""
        assert isinstance(self.rows[-1], ClassOutput)
        return self.rows[-1]

    @property
    def input_px(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        return self.input.size_px

    @property
    def n_classes(self) -> int:
        return self.output.classes

    @property
    def head_index(self) -> int:
        """Where in `rows` the last FullyConnected is; what goes into it are the features."""
        return max((i for i, row in enumerate(self.rows) if isinstance(row, FullyConnected)), default=-1)

    @property
    def head(self) -> FullyConnected:
        """The last FullyConnected."""
        row = self.rows[self.head_index]
        assert isinstance(row, FullyConnected)
        return row

    @property
    def parameters(self) -> int:
        return sum(facts.parameters for facts in self.layers() if facts.depth == 0)

    @property
    def macs(self) -> int:
        """Multiply-adds for one picture: convolutions and fully connected layers, without biases."""
        return sum(facts.macs for facts in self.layers() if facts.depth == 0)

    @property
    def receptive_field_px(self) -> int:
        """Of the last row whose values still have a place in the picture: before the first global pool or FullyConnected."""
        top = [facts for facts in self.layers() if facts.depth == 0]
        whole = next(i for i, facts in enumerate(top) if facts.kind in ("FullyConnected", "GlobalAvgPool", "GlobalMaxPool"))
        return top[whole - 1].receptive_field_px

    @property
    def norm_after_dropout(self) -> bool:
        """Whether a batch norm comes after a dropout: its statistics, collected in training, are then of thinned values, whose variances
        are larger than those it meets afterwards (Li et al. 2019, "variance shift", CVPR)."""
        rows = [*_flat(self.rows)]
        first = next((i for i, row in enumerate(rows) if isinstance(row, Dropout)), len(rows))
        return any(isinstance(row, BatchNorm) or getattr(row, "norm", "none") == "batch" for row in rows[first:])

    def resized(self, px: int) -> "Table":
        """The same rows for pictures of `px` x `px`. Raises TableError where they do not fit."""
        return replace(self, rows=(replace(self.input, size_px=(px, px)), *self.rows[1:]))

    def with_classes(self, n: int) -> "Table":
        """The same network for `n` classes: another last FullyConnected and ClassOutput."""
        at = self.head_index
        head, end = replace(self.head, units=n), replace(self.output, classes=n)
        return replace(self, rows=(*self.rows[:at], head, *self.rows[at + 1 : -1], end))

    def layers(self) -> list[LayerFacts]:
        """The facts of every row, in the order of the table."""
        return list(self._facts)

    @cached_property
    def _facts(self) -> tuple[LayerFacts, ...]:
        return layer_facts(self.rows, self.source)

    def _fail(self, row: Row, why: str) -> NoReturn:
        after = next((i for i, other in enumerate(self.rows, 1) if other is row), len(self.rows))
        raise TableError(f"{place(self.source, row, self.rows[after:])}: {why}.")

    def _check_ends(self) -> None:
        if not self.rows:
            raise TableError(f"{self.source}: the table is empty; begin with a row such as 'ImageInput, 224x224'.")
        for kind, at, example in ((ImageInput, 0, "ImageInput, 224x224"), (ClassOutput, -1, "ClassOutput, 10")):
            if not isinstance(self.rows[at], kind):
                where = "begins" if at == 0 else "ends"
                self._fail(self.rows[at], f"a table {where} with {kind.__name__}; write a row such as '{example}' there")
        for row in self.rows[1:-1]:
            if isinstance(row, ImageInput | ClassOutput):
                self._fail(row, "ImageInput is the first row, ClassOutput the last, and neither stands anywhere else")

    def _check_head(self) -> None:
        if self.head_index < 0:
            self._fail(self.rows[-1], f"a FullyConnected is missing before it; write 'FullyConnected, {self.n_classes}'")
        for row in self.rows[self.head_index + 1 : -1]:
            if not isinstance(row, Dropout | Scale | SoftMax):
                self._fail(row, "after the last FullyConnected only Dropout, Scale, SoftMax and ClassOutput may stand")
        for row in self.rows[:-2]:
            if isinstance(row, SoftMax):
                self._fail(row, "SoftMax stands directly before ClassOutput and nowhere else")
        if self.head.units != self.n_classes:
            self._fail(self.head, f"it gives {self.head.units} values, but ClassOutput says {self.n_classes}; make the two equal")
        if self.head.activation != "none":
            self._fail(self.head, "the last FullyConnected gives the logits and takes no ReLU; leave out activation=")

    def _check_names(self, rows: Sequence[Row]) -> None:
        seen = set[str]()
        for name, row in named(rows):
            if name in seen:
                self._fail(row, f"the name {name} is already taken by a row above; choose another name=")
            seen.add(name)
            if isinstance(row, Block):
                self._check_names(row.rows)


def _flat(rows: Sequence[Row]) -> Iterator[Row]:
    for row in rows:
        yield row
        if isinstance(row, Block):
            yield from _flat(row.rows)


def _settled(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with every FullyConnected's activation said, as its place implies it."""
    settled = list(rows)
    for i, row in enumerate(rows):
        if isinstance(row, FullyConnected) and row.activation is None:
            settled[i] = replace(row, **row.implied(rows[i + 1 :]))
        elif isinstance(row, Block):
            settled[i] = replace(row, rows=_settled(row.rows))
    return tuple(settled)


def parse(text: str, source: str = "<text>") -> Table:
    """The table that `text` writes down. `source` is its file, for messages, and its stem the name if no heading gives one.

    Raises TableError that names source, line and row, and what is allowed there.
    """
    lines = read_lines(text, source)
    name, origin = Path(source.strip("<>")).stem, "own"
    if lines and lines[0].text.startswith("["):
        name, origin = read_header(lines.pop(0))
    return Table(name, origin, read_rows(lines), source)


def write(table: Table) -> str:
    """`table` in the notation, so that parse(write(table)) == table."""
    heading = f"[{table.name}]" if table.origin == "own" else f"[{table.name}, origin={table.origin}]"
    return "\n".join([heading, *_written(table.rows, "")]) + "\n"


def _written(rows: Sequence[Row], indent: str) -> Iterator[str]:
    for i, row in enumerate(rows):
        yield indent + row.text(rows[i + 1 :]) + (":" if isinstance(row, Block) else "")
        if isinstance(row, Block):
            yield from _written(row.rows, indent + INDENT)


def load_table(path: str | Path) -> Table:
    """The table in a file. Raises NotFoundError, or TableError where it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise NotFoundError(f"{path} is not there, or is no file; check the path of the network table.") from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}. Check the path of the network table.") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is no text in UTF-8, so it is no network table; see docs/networks.md for the notation.") from None
    return parse(text, str(path))


def builtin_tables() -> list[str]:
    """Names of the networks tench brings along, sorted."""
    return builtin_names("networks/tables", ".net")


def builtin_table(name: str) -> Table:
    """One of `builtin_tables()` by its name. Raises NotFoundError."""
    if name not in builtin_tables():
        raise NotFoundError(f"There is no built-in network '{name}'; take one of {', '.join(builtin_tables())}.")
    return load_table(Path(str(resources.files("tench").joinpath("networks", "tables", f"{name}.net"))))
