"""Batch norm's statistics: those of the batch while validating, R2018b's pass over the training set at the end, and over several
processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from tench.training.group import Group


def norms(module: nn.Module) -> list[_BatchNorm]:
    """The batch norms of `module` that keep running statistics."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises by the statistics of the batch, and its running ones stay untouched."""
    layers = norms(module)
    kept = [(layer.running_mean, layer.running_var, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        # A batch norm without running statistics uses the batch's, in eval mode too (and dropout stays off).
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    try:
        yield
    finally:
        for layer, (mean, variance, tracked) in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var, layer.num_batches_tracked = mean, variance, tracked


@torch.no_grad()
def pool_statistics(module: nn.Module, batches: Iterable[Tensor], group: Group | None = None) -> None:
    """R2018b's end of training: one pass over `batches` in train mode sets every batch norm's running mean and variance to
    the pooled E[x] and E[x^2] - E[x]^2 (biased) of its inputs. Sums are float64, counted over pictures and places; where there is a
    `group`, over the batches of all its processes."""
    sums = {layer: _Sums(layer) for layer in norms(module)}
    handles = [layer.register_forward_pre_hook(lambda layer, args: sums[layer].add(args[0])) for layer in sums]
    module.train()
    try:
        with batch_statistics(module):
            for batch in batches:
                module(batch)
    finally:
        for handle in handles:
            handle.remove()
    for layer, found in sums.items():
        if group:
            group.add([found.total, found.squares, found.count])
        found.write_into(layer)


class _Sums:
    """Sum, sum of squares and count of one layer's inputs, a channel each."""

    def __init__(self, layer: _BatchNorm) -> None:
        device = layer.running_mean.device if layer.running_mean is not None else None
        self.total = torch.zeros(layer.num_features, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.total)
        self.count = torch.zeros_like(self.total[:1])

    def add(self, x: Tensor) -> None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        wide = x.double()
        self.total += wide.sum(axes)
        self.squares += wide.square().sum(axes)
        self.count += x.numel() // x.shape[1]

    def write_into(self, layer: _BatchNorm) -> None:
        assert layer.running_mean is not None and layer.running_var is not None
        mean = self.total / self.count
        layer.running_mean.copy_(mean)
        layer.running_var.copy_((self.squares / self.count - mean.square()).clamp_(min=0))


# --- over several processes ------------------------------------------------------------------------------------------


class Synchronised(TorchFunctionMode):
    """Inside, whatever batch norm normalises by the statistics of its batch takes those of all the group's shares of it together.

    The network stays as it is, names of tensors included: what is replaced is the function that its batch norms call. torch's own
    SyncBatchNorm is for GPUs alone.
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        called = partial(synchronised_batch_norm, self.group) if function is functional.batch_norm else function
        return called(*args, **(kwargs or {}))


def synchronised_batch_norm(
    group: Group,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` of this process's share `x`, (n, channels, ...), of a batch; n may differ between processes."""
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    mean, variance, count = _statistics(x, group)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    normalised: Tensor = _Normalise.apply(x, weight, bias, mean, variance, count, eps, group)
    return normalised


@torch.no_grad()
def _statistics(x: Tensor, group: Group) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel over all shares, at least float32, and how many values a channel has.

    Each process takes its own mean and variance about it, which is exact where the mean is large beside the spread; what is added up,
    sum, sum of squares and count, is float64, which is wide enough for the difference of two large squares.
    """
    wide = _wide(x)
    count = torch.full((1,), x.numel() / x.shape[1], dtype=torch.float64, device=x.device)
    sums = torch.zeros(2, x.shape[1], dtype=torch.float64, device=x.device)
    if x.numel():
        mean, variance = (found.double() for found in torch.batch_norm_update_stats(wide, None, None, 0.0))
        sums = count * torch.stack([mean, variance + mean.square()])
    group.add([sums, count])
    mean, square = sums / count
    return mean.to(wide.dtype), (square - mean.square()).clamp_(min=0).to(wide.dtype), count


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance are functions of all shares."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        group: Group,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.group = eps, group
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """What torch gives where mean and variance are constants, less what flows back through them: of each channel the means, over
        all shares, of the gradient and of the gradient times the normalised value. Those of weight and bias are this share's."""
        (gradient,) = gradients
        x, weight, mean, variance, count = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_bias, of_weight]).double()
        ctx.group.add([sums])
        along = (-1, *[1] * (x.ndim - 2))
        mean_gradient, mean_product = (found.to(mean.dtype).view(along) for found in sums / count)
        inverse = (variance + ctx.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight
        through = (_wide(x) - mean.view(along)) * (inverse.view(along) * mean_product) + mean_gradient
        of_x = (_wide(of_x) - through * scale.view(along)).to(x.dtype)
        return of_x, None if weight is None else of_weight, None if weight is None else of_bias, None, None, None, None, None


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
