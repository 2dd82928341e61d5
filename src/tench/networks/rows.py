"""What every row of a network table is: a frozen, checked value that can be written, and answers for shapes and counts.

Shapes are (channels, height_px, width_px). Multiply-adds (MACs) are those of convolutions and fully connected layers, without
their biases; parameters are counted as MATLAB counts them: biases of convolutions, scale and offset of batch norm included.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, get_type_hints

from tench.errors import TableError
from tench.networks.values import NAME, Form, Pair

Shape = tuple[int, int, int]
NamedRows = tuple[tuple[str, "Row"], ...]


@dataclass(frozen=True)
class Field:
    """What one output value sees of the input picture: its extent, and how far apart two neighbours look; both (height, width) in px."""

    size: Pair = (1, 1)
    jump: Pair = (1, 1)

    def through(self, kernel: Pair, stride: Pair) -> "Field":
        """The field behind a window: r + (k - 1) j, then j s (Araujo et al., Distill 2019)."""
        (r_h, r_w), (j_h, j_w) = self.size, self.jump
        return Field((r_h + (kernel[0] - 1) * j_h, r_w + (kernel[1] - 1) * j_w), (j_h * stride[0], j_w * stride[1]))


@dataclass(frozen=True)
class Entry:
    """How one field of a row is written."""

    field: str
    key: str
    form: Form
    default: Any
    positional: bool

    @property
    def required(self) -> bool:
        return self.default is MISSING


@dataclass(frozen=True)
class Row:
    """One row: frozen, comparable, checked. Fields without default are the row's positionals, the others its keys.

    Raises TableError on a value that the notation does not allow.
    """

    name: Annotated[str, NAME] = field(default="", kw_only=True)
    line: int = field(default=0, compare=False, repr=False, kw_only=True)
    """Where the row was read; 0 when it was not read from a file."""

    top_level_only: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for entry in self.entries():
            value = getattr(self, entry.field)
            if value != entry.default and not _holds(entry.form, value):
                raise TableError(f"{entry.key} is {value!r}; allowed is {entry.form.allowed}")

    @property
    def kind(self) -> str:
        return type(self).__name__

    @classmethod
    @cache
    def entries(cls) -> tuple[Entry, ...]:
        """What such a row says in the notation: positionals, keys, and the name last."""
        hints = get_type_hints(cls, include_extras=True)
        forms = {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}
        found = [
            Entry(f.name, form.key or f.name, form, f.default, positional=f.default is MISSING and not form.key)
            for f in fields(cls)
            if (form := forms.get(f.name))
        ]
        return tuple(sorted(found, key=lambda entry: entry.field == "name"))

    def output_shape(self, shape: Shape) -> Shape:
        """The shape this row gives for an input of `shape`. Raises TableError where they do not fit."""
        return shape

    def parameters(self, shape: Shape) -> int:
        """Learnt numbers for an input of `shape`."""
        return 0

    def macs(self, shape: Shape) -> int:
        """Multiply-adds for one picture of `shape`."""
        return 0

    def stride_px(self) -> Pair:
        """By how much the row thins out its input: (height, width)."""
        return 1, 1

    def receptive_field(self, before: Field, shape: Shape) -> Field:
        return before

    def paths(self, shape: Shape) -> Iterator[NamedRows]:
        """The sequences of rows inside this one, each of which starts from its input; none for a plain row."""
        return iter(())

    def implied(self, following: Sequence["Row"]) -> Mapping[str, Any]:
        """Values that need not be written because other fields or the `following` rows say them."""
        return {}

    def text(self, following: Sequence["Row"] = ()) -> str:
        """The row as the notation has it, without what is a default anyway. `following`: the rows after it."""
        implied = self.implied(following)
        parts = [self.kind]
        for entry in self.entries():
            value = getattr(self, entry.field)
            if entry.positional:
                parts.append(entry.form.write(value))
            elif value != implied.get(entry.field, entry.default):
                parts.append(f"{entry.key}={entry.form.write(value)}")
        return ", ".join(parts)


def _holds(form: Form, value: Any) -> bool:
    try:
        return bool(form.read(form.write(value)) == value)
    except (ValueError, TypeError, IndexError):
        return False


def named(rows: Sequence[Row]) -> NamedRows:
    """Each row with its name: its own, or kind and number (`conv_2`)."""
    pairs, numbers = [], dict[str, int]()
    for row in rows:
        numbers[row.kind] = numbers.get(row.kind, 0) + 1
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", row.kind.replace("ReLU", "Relu")).lower()
        pairs.append((row.name or f"{kind}_{numbers[row.kind]}", row))
    return tuple(pairs)


def place(source: str, row: Row, following: Sequence[Row] = ()) -> str:
    """Where a row is, for messages: file, line where it has one, and the row itself, which the rows `following` come after."""
    line = f"line {row.line}, " if row.line else ""
    return f"{source}, {line}row '{row.text(following)}'"


def _windows(side_px: int, kernel: int, stride: int, padding: int, ceil: bool = False) -> int:
    """How many windows fit along a side; 0 or less: none. The ceil rule is Caffe's and torch's."""
    room = side_px + 2 * padding - kernel
    if room < 0 or not ceil:
        return room // stride + 1
    windows = -(-room // stride) + 1
    return windows - 1 if (windows - 1) * stride >= side_px + padding else windows


def slide(shape: Shape, kernel: Pair, stride: Pair, padding: Pair, ceil: bool = False) -> Pair:
    """(height, width) of what a window gives that slides over `shape`. Raises TableError if it is larger than the input."""
    sides = [_windows(side, k, s, p, ceil) for side, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)]
    if min(sides) < 1:
        raise TableError(
            f"a window of {kernel[0]}x{kernel[1]} does not fit into the {shape[1]}x{shape[2]} pixels that are left here,"
            " and less than 1 pixel would remain. Take larger pictures, or leave out a pool or a stride before this row"
        )
    return sides[0], sides[1]
