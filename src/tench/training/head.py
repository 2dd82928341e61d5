"""A new last layer on fixed features: softmax regression, held near where it starts."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

HOLDS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Strengths tried by `auto`, the strongest first: of equal ones on `select` the one that moves the head least is taken."""
ITERATIONS = 200


@dataclass(frozen=True)
class Head:
    """Weights (classes, features) and biases (classes,) of a last layer, float32 on the CPU."""

    weight: Tensor
    bias: Tensor

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Natural log-probabilities (n, classes) of `features` (n, features)."""
        return functional.linear(features, self.weight, self.bias).log_softmax(1)

    def loss(self, features: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> float:
        """Mean cross-entropy, nats a picture; with `class_weights` (classes,) the mean in which a picture has its class's weight."""
        return float(functional.nll_loss(self.log_probabilities(features), labels, class_weights))


def fit_head(start: Head, features: Tensor, labels: Tensor, hold: float, class_weights: Tensor | None = None) -> Head:
    """The head that minimises mean cross-entropy + hold * |head - start|^2 on `features` (n, d) and `labels` (n,).

    With `class_weights` (classes,) a picture's cross-entropy has its class's weight, and their sum is divided by the sum of weights,
    which balanced weights make n.
    L2-SP (Li, Grandvalet, Davoine 2018): the penalty holds the new layer near its start instead of near 0. The objective is
    convex; L-BFGS with a strong-Wolfe search finds its minimum, in float64, the same on every run. With `hold` 0 and
    separable classes there is no minimum, and it stops after 200 iterations.
    """
    anchor = [start.weight.double(), start.bias.double()]
    parameters = [tensor.clone().requires_grad_() for tensor in anchor]
    wide, weights = features.double(), None if class_weights is None else class_weights.double()
    search = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, history_size=20, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        search.zero_grad()
        weight, bias = parameters
        moved = sum(((now - then) ** 2).sum() for now, then in zip(parameters, anchor, strict=True))
        loss = functional.cross_entropy(functional.linear(wide, weight, bias), labels, weights) + hold * moved
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(objective)  # type: ignore[no-untyped-call]
    weight, bias = (tensor.detach().float() for tensor in parameters)
    return Head(weight, bias)


def choose_hold(
    start: Head, fit: tuple[Tensor, Tensor], select: tuple[Tensor, Tensor], class_weights: Tensor | None = None
) -> tuple[float, Head]:
    """The strength whose head has the lowest cross-entropy on `select`, and that head; each pair is (features, labels).

    `class_weights` (classes,) weigh in both, so that what is chosen by is what is wanted.
    """
    heads = [(hold, fit_head(start, *fit, hold, class_weights)) for hold in HOLDS]
    return min(heads, key=lambda entry: entry[1].loss(*select, class_weights))
