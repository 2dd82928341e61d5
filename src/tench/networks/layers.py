"""The kinds of rows a network table may have: what each holds, gives and costs. `KINDS` names them all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from tench.errors import TableError
from tench.networks.rows import Field, NamedRows, Row, Shape, named, slide
from tench.networks.values import (
    ACTIVATION,
    COUNT,
    MARGIN,
    NORM,
    NUMBER,
    PADDING,
    PICTURE,
    POSITIVE,
    SHARE,
    SIZE,
    STRIDE,
    YES_NO,
    Pair,
    choice,
)


@dataclass(frozen=True)
class ImageInput(Row):
    """Where the pictures come in: three channels, 0-255."""

    size_px: Annotated[Pair, PICTURE]
    top_level_only: ClassVar[bool] = True

    def output_shape(self, shape: Shape) -> Shape:
        return 3, *self.size_px


@dataclass(frozen=True)
class Conv(Row):
    """Convolution, then batch norm, then ReLU, as the study has it; each of the three can be chosen."""

    kernel: Annotated[Pair, SIZE]
    channels: Annotated[int, COUNT]
    stride: Annotated[Pair, STRIDE] = (1, 1)
    padding: Annotated[Literal["same", "valid"] | Pair, PADDING] = "same"
    groups: Annotated[int, COUNT] = 1
    bias: Annotated[bool, YES_NO] = True
    norm: Annotated[Literal["batch", "none"], NORM] = "batch"
    activation: Annotated[Literal["relu", "none"], ACTIVATION] = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding == "same" and not all(side % 2 for side in self.kernel):
            raise TableError("padding=same needs a kernel of odd height and width; write padding=valid or padding=N")
        if self.channels % self.groups:
            raise TableError(f"{self.channels} channels cannot be shared out over {self.groups} groups; take a groups that divides them")

    @property
    def padding_px(self) -> Pair:
        """Zeros on every side, (height, width). `same` is half the kernel, so that ceil(side / stride) pixels come out."""
        if isinstance(self.padding, str):
            return (self.kernel[0] // 2, self.kernel[1] // 2) if self.padding == "same" else (0, 0)
        return self.padding

    def output_shape(self, shape: Shape) -> Shape:
        if shape[0] % self.groups:
            raise TableError(f"the {shape[0]} channels that come in cannot be shared out over {self.groups} groups")
        return self.channels, *slide(shape, self.kernel, self.stride, self.padding_px)

    def weights(self, shape: Shape) -> int:
        """Kernel weights alone, without biases and batch norm."""
        return self.channels * (shape[0] // self.groups) * prod(self.kernel)

    def parameters(self, shape: Shape) -> int:
        return self.weights(shape) + self.channels * (self.bias + 2 * (self.norm == "batch"))

    def macs(self, shape: Shape) -> int:
        return self.weights(shape) * prod(self.output_shape(shape)[1:])

    def stride_px(self) -> Pair:
        return self.stride

    def receptive_field(self, before: Field, shape: Shape) -> Field:
        return before.through(self.kernel, self.stride)


@dataclass(frozen=True)
class _Pool(Row):
    kernel: Annotated[Pair, SIZE]
    stride: Annotated[Pair | None, STRIDE] = None
    """None becomes the kernel's size."""
    padding: Annotated[Pair, MARGIN] = (0, 0)
    ceil: Annotated[bool, YES_NO] = False
    """Whether a last window that is only partly filled counts (Caffe) or not (MATLAB)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "stride", self.stride_px())
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise TableError("the padding of a pool may be at most half its window")

    def output_shape(self, shape: Shape) -> Shape:
        return shape[0], *slide(shape, self.kernel, self.stride_px(), self.padding, self.ceil)

    def stride_px(self) -> Pair:
        return self.stride or self.kernel

    def receptive_field(self, before: Field, shape: Shape) -> Field:
        return before.through(self.kernel, self.stride_px())

    def implied(self, following: Sequence[Row]) -> Mapping[str, Any]:
        return {"stride": self.kernel}


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest value of every window."""


@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of every window, zeros of the padding included."""


@dataclass(frozen=True)
class _Whole(Row):
    """A row whose values look at all that comes in; where it only pools, each at its own channel."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape[0], 1, 1

    def receptive_field(self, before: Field, shape: Shape) -> Field:
        return before.through(shape[1:], (1, 1))


@dataclass(frozen=True)
class GlobalMaxPool(_Whole):
    """The largest value of every channel."""


@dataclass(frozen=True)
class GlobalAvgPool(_Whole):
    """The mean of every channel."""


@dataclass(frozen=True)
class Resize(Row):
    """Every map brought to this size by bilinear interpolation, half-pixel centres, without antialiasing."""

    size: Annotated[Pair, SIZE]

    def output_shape(self, shape: Shape) -> Shape:
        return shape[0], *self.size

    def receptive_field(self, before: Field, shape: Shape) -> Field:
        """Two neighbours of each side are looked at; the distance between two outputs is no whole number of pixels, so it is rounded up."""
        size = tuple(r + j for r, j in zip(before.size, before.jump, strict=True))
        jump = tuple(-(-j * side // to) for j, side, to in zip(before.jump, shape[1:], self.size, strict=True))
        return Field((size[0], size[1]), (jump[0], jump[1]))


@dataclass(frozen=True)
class FullyConnected(_Whole):
    """Every output from every input, then ReLU unless it is the last; gives (units, 1, 1)."""

    units: Annotated[int, COUNT]
    bias: Annotated[bool, YES_NO] = True
    activation: Annotated[Literal["relu", "none"] | None, ACTIVATION] = None
    """None until the row stands in a table: then what its place says."""

    def output_shape(self, shape: Shape) -> Shape:
        return self.units, 1, 1

    def parameters(self, shape: Shape) -> int:
        return self.macs(shape) + self.units * self.bias

    def macs(self, shape: Shape) -> int:
        return prod(shape) * self.units

    def implied(self, following: Sequence[Row]) -> Mapping[str, Any]:
        after = next((row for row in following if not isinstance(row, Dropout | Scale)), None)
        return {"activation": "none" if isinstance(after, SoftMax | ClassOutput) else "relu"}


@dataclass(frozen=True)
class Dropout(Row):
    """In training, sets this share of values to 0 and divides the others by 1 - share (inverted dropout)."""

    share: Annotated[float, SHARE]


@dataclass(frozen=True)
class BatchNorm(Row):
    """Batch normalisation with scale and offset, epsilon 1e-5."""

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0]


@dataclass(frozen=True)
class ReLU(Row):
    """max(0, x)."""


@dataclass(frozen=True)
class LocalResponseNorm(Row):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta (Krizhevsky et al. 2012; alpha as in Caffe and torch)."""

    size: Annotated[int, COUNT]
    alpha: Annotated[float, POSITIVE] = 1e-4
    beta: Annotated[float, POSITIVE] = 0.75
    k: Annotated[float, POSITIVE] = 1.0


@dataclass(frozen=True)
class Scale(Row):
    """Multiplies by a constant."""

    factor: Annotated[float, NUMBER]


@dataclass(frozen=True)
class SoftMax(Row):
    """A row for the eye: the built network gives logits, and the loss takes their softmax."""

    top_level_only: ClassVar[bool] = True


@dataclass(frozen=True)
class ClassOutput(Row):
    """The end of the table: how many classes there are."""

    classes: Annotated[int, COUNT]
    top_level_only: ClassVar[bool] = True


class _Composite(Row):
    """A row made of rows: it costs what they cost."""

    def parameters(self, shape: Shape) -> int:
        return sum(row.parameters(at) for path in self.paths(shape) for row, at in _along(path, shape))

    def macs(self, shape: Shape) -> int:
        return sum(row.macs(at) for path in self.paths(shape) for row, at in _along(path, shape))

    def receptive_field(self, before: Field, shape: Shape) -> Field:
        return _widest([_field_behind(path, before, shape) for path in self.paths(shape)])


@dataclass(frozen=True)
class Block(_Composite):
    """A row that holds rows, written indented below it."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rows:
            raise TableError(f"{self.kind} has no rows; write them below it, indented")

    def stride_px(self) -> Pair:
        strides = [row.stride_px() for row in self.rows]
        return prod(height for height, _ in strides), prod(width for _, width in strides)


@dataclass(frozen=True)
class Branch(Block):
    """One path of a Concat that has several rows, one after the other."""

    def output_shape(self, shape: Shape) -> Shape:
        return _end(named(self.rows), shape)

    def paths(self, shape: Shape) -> Iterator[NamedRows]:
        yield named(self.rows)


class _SideBySide(_Composite):
    """Paths whose channels are laid one after the other."""

    def output_shape(self, shape: Shape) -> Shape:
        shapes = [_end(path, shape) for path in self.paths(shape)]
        if len({(height, width) for _, height, width in shapes}) > 1:
            raise TableError(f"its branches give {_sizes(shapes)}; heights and widths must be equal to be laid together")
        return sum(channels for channels, _, _ in shapes), *shapes[0][1:]


@dataclass(frozen=True)
class Concat(Block, _SideBySide):
    """Every row (or Branch) works on the same input; their channels are laid one after the other, in the order of the rows."""

    def stride_px(self) -> Pair:
        return self.rows[0].stride_px()

    def paths(self, shape: Shape) -> Iterator[NamedRows]:
        yield from ((pair,) for pair in named(self.rows))


@dataclass(frozen=True)
class Residual(Block):
    """shortcut(x) + body(x). The rows are the body and carry their own ReLUs: none follows the sum, unless a row ReLU does."""

    shortcut: Annotated[Literal["identity", "projection"], choice("identity", "projection")] = "identity"

    def projection(self, shape: Shape) -> Conv | None:
        """The convolution on the shortcut (He et al. 2016, option B): 1x1, the body's channels and stride, batch norm, no bias."""
        if self.shortcut == "identity":
            return None
        channels = _end(named(self.rows), shape)[0]
        return Conv((1, 1), channels, self.stride_px(), bias=False, activation="none", line=self.line)

    def output_shape(self, shape: Shape) -> Shape:
        projection = self.projection(shape)
        shapes = [_end(named(self.rows), shape), projection.output_shape(shape) if projection else shape]
        if shapes[0] != shapes[1]:
            remedy = "keep the size in the body" if projection else "change the body, or write 'Residual, shortcut=projection:'"
            raise TableError(f"body and shortcut give {_sizes(shapes)}, which cannot be added; {remedy}")
        return shapes[0]

    def paths(self, shape: Shape) -> Iterator[NamedRows]:
        yield tuple((f"body.{name}", row) for name, row in named(self.rows))
        if projection := self.projection(shape):
            yield (("shortcut", projection),)


@dataclass(frozen=True)
class Inception(_SideBySide):
    """GoogLeNet's module (Szegedy et al. 2015), short for a Concat of four branches. Numbers are output channels."""

    n1x1: Annotated[int, replace(COUNT, key="1x1")]
    n3x3_reduce: Annotated[int, replace(COUNT, key="3x3_reduce")]
    n3x3: Annotated[int, replace(COUNT, key="3x3")]
    n5x5_reduce: Annotated[int, replace(COUNT, key="5x5_reduce")]
    n5x5: Annotated[int, replace(COUNT, key="5x5")]
    pool: Annotated[int, replace(COUNT, key="pool")]
    norm: Annotated[Literal["batch", "none"], NORM] = "batch"

    def concat(self) -> Concat:
        """What this row is short for."""

        def conv(name: str, side: int, channels: int) -> Conv:
            return Conv((side, side), channels, norm=self.norm, name=name, line=self.line)

        return Concat(
            (
                conv("1x1", 1, self.n1x1),
                Branch((conv("3x3_reduce", 1, self.n3x3_reduce), conv("3x3", 3, self.n3x3))),
                Branch((conv("5x5_reduce", 1, self.n5x5_reduce), conv("5x5", 5, self.n5x5))),
                Branch((MaxPool((3, 3), (1, 1), (1, 1), line=self.line), conv("pool_proj", 1, self.pool))),
            )
        )

    def paths(self, shape: Shape) -> Iterator[NamedRows]:
        return self.concat().paths(shape)


def _along(path: NamedRows, shape: Shape) -> Iterator[tuple[Row, Shape]]:
    """Each row of a path with the shape of its input."""
    for _, row in path:
        yield row, shape
        shape = row.output_shape(shape)


def _end(path: NamedRows, shape: Shape) -> Shape:
    for _, row in path:
        shape = row.output_shape(shape)
    return shape


def _field_behind(path: NamedRows, field: Field, shape: Shape) -> Field:
    for row, at in _along(path, shape):
        field = row.receptive_field(field, at)
    return field


def _widest(fields: Sequence[Field]) -> Field:
    def largest(pairs: Sequence[Pair]) -> Pair:
        return max(height for height, _ in pairs), max(width for _, width in pairs)

    return Field(largest([f.size for f in fields]), largest([f.jump for f in fields]))


def _sizes(shapes: Sequence[Shape]) -> str:
    return " and ".join(f"{height}x{width}x{channels}" for channels, height, width in shapes)


KINDS: dict[str, type[Row]] = {
    kind.__name__: kind
    for kind in (
        *(ImageInput, Conv, MaxPool, AvgPool, Resize, GlobalMaxPool, GlobalAvgPool, FullyConnected, Dropout, BatchNorm, ReLU),
        *(LocalResponseNorm, Scale, SoftMax, ClassOutput, Inception, Residual, Concat, Branch),
    )
}
"""Every kind the notation knows, by its name."""
