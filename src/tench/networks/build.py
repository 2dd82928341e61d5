"""From a table to a torch module: one child a row, called as the row is called."""

from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tench.config import Preprocessing
from tench.errors import TableError
from tench.networks import layers
from tench.networks.initial import initialise
from tench.networks.rows import NamedRows, Row, Shape, named
from tench.networks.table import Table


class Normalise(nn.Module):
    """RGB pixels of 0-255, shape (n, 3, height, width), to what the network was trained on: (x - mean) / std, BGR where it must be.

    `mean` has shape (3, 1, 1), or (3, height, width) for a mean picture, which begins as zeros and is set by training or loading.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.flips_channels = preprocessing.channels == "BGR"
        mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
        picture = (3, preprocessing.height_px, preprocessing.width_px)
        self.register_buffer("mean", torch.zeros(picture) if preprocessing.per_pixel_mean else mean)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype)
        return ((x.flip(1) if self.flips_channels else x) - self.mean) / self.std


class Scale(nn.Module):
    """x * factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return str(self.factor)


class LocalResponseNorm(nn.Module):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta.

    torch's own squares and pools in five dimensions, out of any fast memory layout, and is exported to ONNX wrongly; here the
    neighbours are summed as shifted slices, and for the usual beta of 3/4 two square roots stand in for a power.
    """

    def __init__(self, row: layers.LocalResponseNorm) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = row.size, row.alpha, row.beta, row.k

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        squares = functional.pad(x * x, (0, 0, 0, 0, self.size // 2, (self.size - 1) // 2))
        total = squares[:, :channels]
        for first in range(1, self.size):
            total = total + squares[:, first : first + channels]
        divisor = total * (self.alpha / self.size) + self.k
        if self.beta == 0.75:
            root = divisor.sqrt()
            return x / (root * root.sqrt())
        return x / divisor.pow(self.beta)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class FullyConnected(nn.Module):
    """Linear, perhaps ReLU: (n, channels, height, width) to (n, units, 1, 1), so that any row may follow."""

    def __init__(self, inputs: int, row: layers.FullyConnected) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, row.units, bias=row.bias)
        self.relu = _activation(row.activation)

    def forward(self, x: Tensor) -> Tensor:
        flat: Tensor = self.relu(self.linear(x.flatten(1)))
        return flat[:, :, None, None]


class Concat(nn.Sequential):
    """Its children's outputs for the same input, laid together along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class Residual(nn.Module):
    """shortcut(x) + body(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.shortcut(x) + self.body(x)
        return total


class TableNetwork(nn.Sequential):
    """A built table. Called with x of shape (n, 3, height, width), RGB 0-255, uint8 or float, it gives logits of shape (n, classes)."""

    def __init__(self, table: Table, preprocessing: Preprocessing, rows: nn.Sequential) -> None:
        super().__init__()
        self.table = table
        self.preprocessing = preprocessing
        _add(self, "normalise", Normalise(preprocessing))
        for name, module in rows.named_children():
            _add(self, name, module)

    @property
    def head(self) -> nn.Linear:
        """The last fully connected layer."""
        row = self[self.table.head_index]
        assert isinstance(row, FullyConnected)
        return row.linear

    def features(self, x: Tensor) -> Tensor:
        """What goes into the head, shape (n, head.in_features)."""
        for i in range(self.table.head_index):
            x = self[i](x)
        return x.flatten(1)

    def answers(self, features: Tensor) -> Tensor:
        """Logits (n, classes) from what goes into the head, (n, head.in_features)."""
        for row in list(self)[self.table.head_index :]:
            features = row(features)
        return features.flatten(1)


def build(
    table: Table, preprocessing: Preprocessing, initial_weights: str = "he", seed: int = 0, at_own_size: Table | None = None
) -> TableNetwork:
    """The module of `table`, float32, on torch's default device (on `meta`: without weights).

    `initial_weights` is one of `networks.initial.DRAWS`; they depend on `seed` alone, and torch's own random state is left as it is.
    `at_own_size`: the table as it was before it was brought to another size, where it was.
    Raises UsageError for other initial weights, TableError for a row whose name torch needs itself.
    """
    device = torch.get_default_device()
    with torch.device("meta"):
        rows = _rows(table)
        own = _rows(at_own_size) if at_own_size else None
    if device.type != "meta":
        rows.to_empty(device=device)
        initialise(rows, initial_weights, seed, own)
    return TableNetwork(table, preprocessing, rows)


def _rows(table: Table) -> nn.Sequential:
    return _sequence(nn.Sequential(), named(table.rows[1:]), table.rows[0].output_shape((3, 0, 0)))


def _sequence(module: nn.Sequential, path: NamedRows, shape: Shape) -> nn.Sequential:
    """`module` with the modules of a path of rows, whose input has `shape`, added one after the other."""
    for name, row in path:
        _add(module, name, _module(row, shape))
        shape = row.output_shape(shape)
    return module


def _add(parent: nn.Sequential, name: str, module: nn.Module) -> None:
    if name in dir(parent):
        raise TableError(f"A row called {name} cannot be built, because torch uses that name itself; give the row another name=.")
    parent.add_module(name, module)


def _activation(name: str | None) -> nn.Module:
    """In place: what it overwrites is the fresh output of its own layer, which nothing else reads."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.Identity()


@singledispatch
def _module(row: Row, shape: Shape) -> nn.Module:
    """The module of one row whose input has `shape`."""
    raise NotImplementedError(row.kind)


@_module.register
def _(row: layers.Conv, shape: Shape) -> nn.Module:
    module = nn.Sequential()
    conv = nn.Conv2d(shape[0], row.channels, row.kernel, row.stride, row.padding_px, groups=row.groups, bias=row.bias)
    module.add_module("conv", conv)
    if row.norm == "batch":
        module.add_module("norm", nn.BatchNorm2d(row.channels))
    module.add_module("relu", _activation(row.activation))
    return module


@_module.register
def _(row: layers.MaxPool, shape: Shape) -> nn.Module:
    return nn.MaxPool2d(row.kernel, row.stride_px(), row.padding, ceil_mode=row.ceil)


@_module.register
def _(row: layers.AvgPool, shape: Shape) -> nn.Module:
    return nn.AvgPool2d(row.kernel, row.stride_px(), row.padding, ceil_mode=row.ceil)


@_module.register
def _(row: layers.GlobalMaxPool, shape: Shape) -> nn.Module:
    return nn.AdaptiveMaxPool2d(1)


@_module.register
def _(row: layers.GlobalAvgPool, shape: Shape) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


@_module.register
def _(row: layers.Resize, shape: Shape) -> nn.Module:
    return nn.Upsample(row.size, mode="bilinear", align_corners=False)


@_module.register
def _(row: layers.FullyConnected, shape: Shape) -> nn.Module:
    return FullyConnected(shape[0] * shape[1] * shape[2], row)


@_module.register
def _(row: layers.Dropout, shape: Shape) -> nn.Module:
    return nn.Dropout(row.share)


@_module.register
def _(row: layers.BatchNorm, shape: Shape) -> nn.Module:
    return nn.BatchNorm2d(shape[0])


@_module.register
def _(row: layers.ReLU, shape: Shape) -> nn.Module:
    """Not in place: a shortcut or another branch may read the same input."""
    return nn.ReLU()


@_module.register
def _(row: layers.LocalResponseNorm, shape: Shape) -> nn.Module:
    return LocalResponseNorm(row)


@_module.register
def _(row: layers.Scale, shape: Shape) -> nn.Module:
    return Scale(row.factor)


@_module.register
def _(row: layers.SoftMax, shape: Shape) -> nn.Module:
    return nn.Identity()


@_module.register
def _(row: layers.ClassOutput, shape: Shape) -> nn.Module:
    return nn.Flatten()


@_module.register
def _(row: layers.Branch, shape: Shape) -> nn.Module:
    return _sequence(nn.Sequential(), named(row.rows), shape)


@_module.register
def _(row: layers.Concat, shape: Shape) -> nn.Module:
    module = Concat()
    for name, branch in named(row.rows):
        _add(module, name, _module(branch, shape))
    return module


@_module.register
def _(row: layers.Inception, shape: Shape) -> nn.Module:
    return _module(row.concat(), shape)


@_module.register
def _(row: layers.Residual, shape: Shape) -> nn.Module:
    projection = row.projection(shape)
    shortcut = _module(projection, shape) if projection else nn.Identity()
    return Residual(_sequence(nn.Sequential(), named(row.rows), shape), shortcut)


def count_on_module(module: nn.Module, size: int | tuple[int, int]) -> tuple[int, int]:
    """(parameters, MACs for one picture of `size` pixels), counted by torch on the module itself, where it is and in evaluation mode.

    MACs are half of what torch's flop counter finds: those of convolutions and matrix products.
    """
    height, width = (size, size) if isinstance(size, int) else size
    parameters = list(module.parameters())
    modes = [(part, part.training) for part in module.modules()]
    device = parameters[0].device if parameters else torch.get_default_device()
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            module.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        for part, mode in modes:
            part.training = mode
    return sum(p.numel() for p in parameters), counter.get_total_flops() // 2
