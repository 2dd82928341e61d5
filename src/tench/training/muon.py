"""Muon: kernels of convolutions take steps whose singular values are all about 1, so that every direction learns at the same pace.

After K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024): the momentum of a kernel, flattened to a
matrix (outputs, inputs x height x width), is replaced by the nearest half-orthogonal matrix, found by Newton-Schulz iterations of a
quintic. As in Jordan's record runs on CIFAR-10, a kernel is brought back to the norm sqrt(outputs) before each step: batch norm
makes its scale meaningless, and a fixed one makes the rate mean the same at every step. All else is moved by SGDM.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tench.config import Options, Precision

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of a x + b x^3 + c x^5, which drives singular values of 0 to 1 into about 0.7 to 1.2 (Jordan et al. 2024)."""
ITERATIONS = 5


def half_orthogonal(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """About U V^T of `matrix` = U S V^T, shape (rows, columns), float32: singular values between about 0.7 and 1.2.

    Its products are of `dtype` numbers: bfloat16 is precise enough for values that may lie anywhere in that range.
    """
    a, b, c = QUINTIC
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = (wide / (wide.norm() + 1e-7)).to(dtype)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = (x if wide is matrix else x.T).float()
    return found


def iteration_flop(rows: int, columns: int) -> int:
    """Operations of one Newton-Schulz iteration on a matrix of that shape: two products with the matrix and one square."""
    short, long = min(rows, columns), max(rows, columns)
    return 4 * short * short * long + 2 * short**3


class Muon(torch.optim.Optimizer):
    """`groups` as `parameter_groups` makes them; where `kernels` holds, `options.kernel_rate` and `kernel_momentum` are theirs.
    `precision` is that of the iterations' products."""

    def __init__(self, groups: list[dict[str, Any]], options: Options, precision: Precision = "float32") -> None:
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        for group in groups:
            group["momentum"] = options.kernel_momentum if group["kernels"] else options.momentum
            if group["kernels"]:
                group["weight_decay"] = 0.0  # a kernel's norm is fixed
                group["rate_factor"] *= options.kernel_rate / options.learn_rate
        super().__init__(groups, {"lr": options.learn_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step with Nesterov's momentum: m = mu m + g, then along g + mu m."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient = weight.grad.add(weight, alpha=group["weight_decay"]) if group["weight_decay"] else weight.grad
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.mul_(group["momentum"]).add_(gradient)
                move = gradient.add(momentum, alpha=group["momentum"])
                if group["kernels"]:
                    weight.mul_(len(weight) ** 0.5 / weight.norm())
                    move = half_orthogonal(move.flatten(1), self.dtype).view(weight.shape)
                weight.add_(move, alpha=-group["lr"])

    def step_flop(self) -> int:
        """Operations of one step's Newton-Schulz iterations; all else is negligible beside a training step."""
        kernels = [weight for group in self.param_groups if group["kernels"] for weight in group["params"]]
        return sum(ITERATIONS * iteration_flop(len(weight), weight[0].numel()) for weight in kernels)
