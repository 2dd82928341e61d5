"""The new last layer: at the minimum of its loss, held near its start."""

import torch
from torch.nn import functional

from tench.training.head import HOLDS, Head, choose_hold, fit_head


def problem(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of features (n, 5) around three centres."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    centres = torch.tensor([[2.0, 0, 0, 0, 0], [0, 2.0, 0, 0, 0], [0, 0, 2.0, 0, 0]])
    return centres[labels] + torch.randn(n, 5, generator=generator), labels


START = Head(torch.full((3, 5), 0.1), torch.tensor([0.5, 0.0, -0.5]))


def test_the_gradient_of_the_held_loss_is_zero_at_the_end() -> None:
    """By the formula of softmax regression: (p - y)' x / n + 2 hold (w - start)."""
    features, labels = problem(60, 1)
    hold = 0.05
    head = fit_head(START, features, labels, hold)
    error = head.log_probabilities(features).exp() - functional.one_hot(labels, 3)
    of_weight = error.T @ features / len(labels) + 2 * hold * (head.weight - START.weight)
    of_bias = error.mean(0) + 2 * hold * (head.bias - START.bias)
    assert of_weight.abs().max() < 1e-4
    assert of_bias.abs().max() < 1e-4
    assert (head.weight - START.weight).abs().max() > 0.1, "it did move"


def test_a_strong_hold_keeps_the_start_and_a_weak_one_fits_better() -> None:
    features, labels = problem(60, 1)
    held, free = fit_head(START, features, labels, 1e6), fit_head(START, features, labels, 1e-4)
    assert torch.allclose(held.weight, START.weight, atol=1e-4)
    assert free.loss(features, labels) < 0.5 * held.loss(features, labels)


def test_the_hold_is_chosen_by_the_loss_on_select() -> None:
    fit, select = problem(30, 1), problem(300, 2)
    hold, head = choose_hold(START, fit, select)
    losses = {tried: fit_head(START, *fit, tried).loss(*select) for tried in HOLDS}
    assert losses[hold] == min(losses.values())
    assert head.loss(*select) == losses[hold]


def test_fitting_twice_gives_the_same_bits() -> None:
    features, labels = problem(60, 3)
    first, again = fit_head(START, features, labels, 0.01), fit_head(START, features, labels, 0.01)
    assert torch.equal(first.weight, again.weight)
