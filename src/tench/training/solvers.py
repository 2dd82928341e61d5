"""SGDM and ADAM under either set of rules, on torch's fused kernels.

R2018b's rules differ from torch's in two places, and both can be had by setting torch's numbers before a step:
- SGDM keeps the rate inside its velocity (v = m v - rate g). torch keeps b = m b + g and steps by rate b, so v = -rate b: when the
  rate changes from r to s, R2018b keeps v, which means multiplying b by r / s.
- ADAM adds epsilon before the bias correction of v: sqrt(v) + eps, divided by sqrt(1 - beta2^t). That is torch's step with
  eps / sqrt(1 - beta2^t) in place of eps.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from tench.config import Options, Precision, Rules
from tench.training.muon import Muon

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(module: nn.Module, rules: Rules, l2: float, rate_factors: dict[str, float] | None = None) -> list[dict[str, Any]]:
    """Parameters that learn, grouped by whether L2 acts on them, by their rate factor (1 where `rate_factors` has no entry), and
    by whether they are kernels of convolutions (without groups or with).

    L2 acts on kernels and matrices, on batch norm's scale and offset if the rules say so, and never on biases.
    """
    factors = rate_factors or {}
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for owner_name, owner in module.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            of_norm = isinstance(owner, NORMS)
            decays = rules.l2_on == "weights_and_norm" if of_norm else name != "bias" and parameter.ndim > 1
            full_name = f"{owner_name}.{name}".lstrip(".")
            key = (l2 if decays else 0.0, factors.get(full_name, 1.0), isinstance(owner, nn.Conv2d) and name == "weight")
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": found, "weight_decay": decay, "rate_factor": factor, "kernels": kernels}
        for (decay, factor, kernels), found in groups.items()
    ]


class Solver:
    """One optimizer: `step(rate)` moves the weights along their gradients and forgets the gradients."""

    def __init__(
        self,
        module: nn.Module,
        rules: Rules,
        options: Options,
        rate_factors: dict[str, float] | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.rules = rules
        self.steps = 0
        self.rate: float | None = None
        groups = parameter_groups(module, rules, options.l2, rate_factors)
        self.optimizer: torch.optim.Optimizer
        if options.optimizer == "sgdm":
            nesterov = rules.nesterov and options.momentum > 0
            self.optimizer = torch.optim.SGD(groups, lr=options.learn_rate, momentum=options.momentum, nesterov=nesterov, fused=True)
        elif options.optimizer == "muon":
            self.optimizer = Muon(groups, options, precision)
        else:
            kind = torch.optim.AdamW if rules.adam_l2 == "decoupled" else torch.optim.Adam
            self.optimizer = kind(groups, lr=options.learn_rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)

    def step(self, rate: float) -> None:
        """One step at `rate`, under the rules; then the gradients are gone."""
        self._take_rate(rate)
        self.steps += 1
        if self.rules.adam_epsilon == "before_correction":
            self._take_epsilon(ADAM_EPSILON / math.sqrt(1 - ADAM_BETAS[1] ** self.steps))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _take_rate(self, rate: float) -> None:
        if rate != self.rate:
            if self.rules.momentum_form == "rate_inside" and self.rate and rate:
                self._scale_momentum(self.rate / rate)
            self.rate = rate
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["rate_factor"]

    def _scale_momentum(self, factor: float) -> None:
        for state in self.optimizer.state.values():
            if state.get("momentum_buffer") is not None:
                state["momentum_buffer"].mul_(factor)

    def _take_epsilon(self, epsilon: float) -> None:
        for group in self.optimizer.param_groups:
            if "eps" in group:
                group["eps"] = epsilon

    def step_flop(self) -> int:
        """Operations of one step beyond what is negligible: Muon's iterations."""
        return self.optimizer.step_flop() if isinstance(self.optimizer, Muon) else 0

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state by `<parameter number>.<name>`: all that a checkpoint needs beside `rate` and `steps`."""
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items() if value is not None}

    def restore(self, tensors: dict[str, Tensor], rate: float | None, steps: int) -> None:
        """Take up the state that `tensors`, `rate` and `steps` described."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".", 1)
            like = parameters[int(index)]
            # Fused kernels walk weights and state alike, so the state must lie in memory as the weights do.
            laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            state.setdefault(int(index), {})[name] = laid_out
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.steps = steps
        self.rate = None
        if rate is not None:
            # Set without _take_rate's scaling: the stored momentum already belongs to this rate.
            self.rate = rate
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["rate_factor"]
