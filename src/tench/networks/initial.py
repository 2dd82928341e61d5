"""The weights a network starts from."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tench.errors import UsageError

Draw = Callable[[Tensor, torch.Generator, float], object]

DRAWS: dict[str, Draw] = {
    "normal_0.01": lambda weight, generator, _: nn.init.normal_(weight, std=0.01, generator=generator),
    "normal_0.01_scaled": lambda weight, generator, shrunk: nn.init.normal_(weight, std=0.01 * math.sqrt(shrunk), generator=generator),
    "glorot": lambda weight, generator, _: nn.init.xavier_uniform_(weight, generator=generator),
    "he": lambda weight, generator, _: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator),
}
"""R2018b's N(0, 0.01^2); the same, but where smaller pictures leave a layer fewer inputs, its weights are as much larger as keeps the
spread of what it puts out; R2019a's Glorot: uniform within sqrt(6 / (fan_in + fan_out)); He et al. 2015: N(0, 2 / fan_in)."""


def initialise(module: nn.Module, initial_weights: str, seed: int, at_own_size: nn.Module | None = None) -> None:
    """Fill every weight of `module` from `seed` alone; biases become 0, batch norm's scale 1, its offset 0, its statistics fresh.

    `at_own_size` is the same network for pictures of the size it was made for (on `meta` is enough); without it `module` is taken to
    be that. Numbers are drawn on the CPU, so that every device starts alike, and torch's own random state is left as it is.
    Raises UsageError if `initial_weights` is none of `DRAWS`.
    """
    if initial_weights not in DRAWS:
        raise UsageError(f"There are no initial weights '{initial_weights}'; take one of {', '.join(DRAWS)}.")
    generator = torch.Generator().manual_seed(seed)
    own_size = dict((at_own_size or module).named_modules())
    for name, part in module.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
        elif isinstance(part, nn.Conv2d | nn.Linear):
            own = own_size[name]
            assert isinstance(own, nn.Conv2d | nn.Linear)
            _fill(part, DRAWS[initial_weights], generator, shrunk=own.weight[0].numel() / part.weight[0].numel())


def _fill(part: nn.Conv2d | nn.Linear, draw: Draw, generator: torch.Generator, shrunk: float) -> None:
    with torch.no_grad():
        weight = torch.empty_like(part.weight, device="cpu")
        draw(weight, generator, shrunk)
        part.weight.copy_(weight)
        if part.bias is not None:
            part.bias.zero_()
