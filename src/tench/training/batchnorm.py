"""Batch norm's statistics: those of the batch while validating, and R2018b's pass over the training set at the end."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


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
def pool_statistics(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """R2018b's end of training: one pass over `batches` in train mode sets every batch norm's running mean and variance to
    the pooled E[x] and E[x^2] - E[x]^2 (biased) of its inputs. Sums are float64, counted over pictures and places."""
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
        found.write_into(layer)


class _Sums:
    """Sum, sum of squares and count of one layer's inputs, a channel each."""

    def __init__(self, layer: _BatchNorm) -> None:
        device = layer.running_mean.device if layer.running_mean is not None else None
        self.total = torch.zeros(layer.num_features, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.total)
        self.count = 0

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
