"""Each rule of the solvers against a step computed by hand."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tench.config import Options, Rules
from tench.training.muon import ITERATIONS, half_orthogonal, iteration_flop
from tench.training.solvers import Solver, parameter_groups

R2018B = Rules(l2_on="weights_and_norm", adam_l2="coupled", momentum_form="rate_inside", adam_epsilon="before_correction")
GRADIENTS = [0.5, -0.2, 0.3, 0.1]


class OneWeight(nn.Module):
    """One weight, 1 x 1, so that a step can be computed by hand."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.fill_(value)

    @property
    def value(self) -> float:
        return self.linear.weight.item()

    def give_gradient(self, gradient: float) -> None:
        self.linear.weight.grad = torch.full_like(self.linear.weight, gradient)


def stepped(rules: Rules, options: Options, rates: list[float]) -> list[float]:
    """The weight after each of the steps with GRADIENTS at `rates`."""
    module = OneWeight()
    solver = Solver(module, rules, options)
    values = []
    for gradient, rate in zip(GRADIENTS, rates, strict=True):
        module.give_gradient(gradient)
        solver.step(rate)
        values.append(module.value)
    return values


def test_sgdm_of_r2018b_keeps_the_rate_inside_the_velocity() -> None:
    options, rates = Options(optimizer="sgdm", momentum=0.9, l2=0.01), [0.1, 0.1, 0.05, 0.05]
    w, v, expected = 1.0, 0.0, []
    for gradient, rate in zip(GRADIENTS, rates, strict=True):
        v = 0.9 * v - rate * (gradient + 0.01 * w)
        w += v
        expected.append(w)
    assert stepped(R2018B, options, rates) == pytest.approx(expected, rel=1e-6)


def test_modern_sgdm_applies_the_new_rate_to_the_whole_velocity() -> None:
    options, rates = Options(optimizer="sgdm", momentum=0.9, l2=0.01), [0.1, 0.1, 0.05, 0.05]
    w, b, expected = 1.0, 0.0, []
    for gradient, rate in zip(GRADIENTS, rates, strict=True):
        b = 0.9 * b + gradient + 0.01 * w
        w -= rate * b
        expected.append(w)
    assert stepped(Rules(), options, rates) == pytest.approx(expected, rel=1e-6)
    assert stepped(R2018B, options, rates)[2:] != pytest.approx(expected[2:], rel=1e-4)
    assert stepped(R2018B, options, [0.1] * 4) == pytest.approx(stepped(Rules(), options, [0.1] * 4), rel=1e-6)


def test_nesterov_looks_ahead() -> None:
    options = Options(optimizer="sgdm", momentum=0.9, l2=0)
    w, b, expected = 1.0, 0.0, []
    for gradient in GRADIENTS:
        b = 0.9 * b + gradient
        w -= 0.1 * (gradient + 0.9 * b)
        expected.append(w)
    assert stepped(Rules(nesterov=True), options, [0.1] * 4) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_adam_of_r2018b_adds_epsilon_before_the_correction(scale: float) -> None:
    """With gradients near epsilon its place decides the step: there the two forms differ by far more than rounding."""
    module, options = OneWeight(), Options(optimizer="adam", learn_rate=0.01, l2=0)
    solver = Solver(module, R2018B, options)
    w = w_torch = 1.0
    m = v = 0.0
    for t, gradient in enumerate(GRADIENTS, start=1):
        module.give_gradient(gradient * scale)
        solver.step(0.01)
        m, v = 0.9 * m + 0.1 * gradient * scale, 0.999 * v + 0.001 * (gradient * scale) ** 2
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        w -= 0.01 * math.sqrt(c2) / c1 * m / (math.sqrt(v) + 1e-8)
        w_torch -= 0.01 * m / c1 / (math.sqrt(v / c2) + 1e-8)
        assert module.value == pytest.approx(w, abs=3e-7)
    if scale < 1:
        assert abs(w - w_torch) > 1e-3


def test_l2_is_coupled_for_adam_in_r2018b_and_decoupled_in_modern() -> None:
    options = Options(optimizer="adam", learn_rate=0.01, l2=0.1)
    coupled, decoupled = OneWeight(), OneWeight()
    for module, rules in ((coupled, R2018B), (decoupled, Rules())):
        solver = Solver(module, rules, options)
        module.give_gradient(0.0)
        solver.step(0.01)
    # Coupled: the gradient is l2 * w, and Adam's first step is the rate, whatever its size. Decoupled: w *= 1 - rate * l2.
    assert coupled.value == pytest.approx(1 - 0.01, abs=1e-5)
    assert decoupled.value == pytest.approx(1 - 0.01 * 0.1, abs=1e-7)


def test_l2_acts_on_weights_and_by_the_rules_on_norms_but_never_on_biases() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    of_rules = {}
    for name, rules in (("r2018b", R2018B), ("modern", Rules())):
        groups = parameter_groups(module, rules, 1e-4)
        decays = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
        of_rules[name] = {n: decays[id(p)] for n, p in module.named_parameters()}
    expected = {"0.weight": 1e-4, "0.bias": 0.0, "1.weight": 1e-4, "1.bias": 1e-4, "3.weight": 1e-4, "3.bias": 0.0}
    assert of_rules["r2018b"] == expected
    assert of_rules["modern"] == expected | {"1.weight": 0.0, "1.bias": 0.0}


def test_rate_factors_multiply_the_rate_of_their_parameters_only() -> None:
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    before = [p.item() for p in module.parameters()]
    solver = Solver(module, Rules(), Options(optimizer="sgdm", l2=0, momentum=0), {"1.weight": 10.0})
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    solver.step(0.01)
    moved = [b - p.item() for b, p in zip(before, module.parameters(), strict=True)]
    assert moved == pytest.approx([0.01, 0.1], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgdm", "adam"])
@pytest.mark.parametrize("rules", [R2018B, Rules()], ids=["r2018b", "modern"])
def test_a_restored_solver_goes_on_bit_for_bit_across_a_drop(optimizer: str, rules: Rules) -> None:
    options = Options(optimizer=optimizer, l2=0.01)
    rates, generator = [0.1, 0.1, 0.05, 0.05, 0.02], torch.Generator().manual_seed(1)
    gradients = [torch.randn(4, 3, 3, 3, generator=generator) for _ in rates]

    def conv() -> nn.Conv2d:
        made = nn.Conv2d(3, 4, 3, bias=False)
        with torch.no_grad():
            made.weight.copy_(gradients[0] * 0.1)
        return made.to(memory_format=torch.channels_last)

    def go(module: nn.Conv2d, solver: Solver, steps: range) -> None:
        for i in steps:
            module.weight.grad = gradients[i].to(memory_format=torch.channels_last)
            solver.step(rates[i])

    whole = conv()
    go(whole, Solver(whole, rules, options), range(5))
    first, second = conv(), conv()
    solver = Solver(first, rules, options)
    go(first, solver, range(2))
    stored = {name: tensor.contiguous().clone() for name, tensor in solver.tensors().items()}
    second.load_state_dict(first.state_dict())
    again = Solver(second, rules, options)
    again.restore(stored, solver.rate, solver.steps)
    go(second, again, range(2, 5))
    assert torch.equal(second.weight, whole.weight)


def test_muon_moves_kernels_by_half_orthogonal_steps_and_all_else_by_nesterov() -> None:
    options = Options(optimizer="muon", learn_rate=0.4, kernel_rate=0.1, kernel_momentum=0.5, momentum=0.9, l2=0.01)
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    solver, before = Solver(module, Rules(), options), {name: p.detach().clone() for name, p in module.named_parameters()}
    gradients = [{name: torch.randn_like(p) for name, p in module.named_parameters()} for _ in range(2)]
    for gradient, rate in zip(gradients, (0.4, 0.2), strict=True):
        for name, parameter in module.named_parameters():
            parameter.grad = gradient[name].clone()
        solver.step(rate)
    linear, m = before["2.weight"], torch.zeros(2, 4)
    kernel, k = before["0.weight"].flatten(1), torch.zeros(4, 18)
    for gradient, rate in zip(gradients, (0.4, 0.2), strict=True):
        g = gradient["2.weight"] + 0.01 * linear
        m = 0.9 * m + g
        linear = linear - rate * (g + 0.9 * m)
        k = 0.5 * k + gradient["0.weight"].flatten(1)
        step = half_orthogonal(gradient["0.weight"].flatten(1) + 0.5 * k)
        kernel = kernel * (2 / kernel.norm()) - rate * 0.25 * step
    assert torch.allclose(module[2].weight, linear, atol=1e-6)
    assert torch.allclose(module[0].weight.flatten(1), kernel, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("shape", [(4, 18), (18, 4), (8, 8)])
def test_half_orthogonal_keeps_directions_and_evens_out_their_strengths(
    shape: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    found = u.T @ half_orthogonal(matrix, dtype) @ vt.T
    assert torch.allclose(found, torch.diag(found.diagonal()), atol=tolerance)
    assert found.diagonal().min() > 0.6
    assert found.diagonal().max() < 1.3


def test_muons_operations_are_those_torch_counts() -> None:
    matrix = torch.randn(6, 20)
    with FlopCounterMode(display=False) as counter:
        half_orthogonal(matrix)
    assert ITERATIONS * iteration_flop(6, 20) == pytest.approx(counter.get_total_flops(), rel=0.01)
