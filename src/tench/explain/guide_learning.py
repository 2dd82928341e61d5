"""The guide's figures in which something learns: solvers in a valley, a polynomial under L2, a small network with dropout."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tench.config import OptimizerName, Options, Rules
from tench.training.solvers import Solver

VALLEY_STEEPNESS = 20.0
VALLEY_START, VALLEY_STEPS = (-2.0, 1.6), 80
VALLEY_RATES: dict[OptimizerName, float] = {"sgdm": 0.01, "adam": 0.1}

LINE_POINTS, LINE_DEGREE, LINE_L2 = 16, 12, 1e-3

WINDOW_PX, HIDDEN, SEEDS, STEPS, RATE, DROPOUT_SHARE = 16, 128, 8, 150, 0.05, 0.35
LEARNT_A_QUARTER, OTHERS_A_QUARTER = 12, 50


def learning_arrays(picture: NDArray[np.uint8], seed: int) -> dict[str, NDArray[Any]]:
    """The arrays of `tench.records.guide.GUIDE_ARRAYS` that come of learning; `picture` is uint8 of shape (112, 112, 3)."""
    return _valley() | _line(picture) | _quarters(picture, seed)


def _height(at: Tensor) -> Tensor:
    """f(x, y) = (x^2 + 20 y^2) / 2 of points (..., 2)."""
    return (at[..., 0] ** 2 + VALLEY_STEEPNESS * at[..., 1] ** 2) / 2


def _valley() -> dict[str, NDArray[Any]]:
    axes = torch.stack([torch.linspace(-2.4, 1.2, 61), torch.linspace(-1.8, 1.8, 61)])
    x, y = torch.meshgrid(axes[0], axes[1], indexing="xy")
    ways = torch.stack([_way(name, rate) for name, rate in VALLEY_RATES.items()])
    return {
        "valley_axes": axes.numpy(),
        "valley": _height(torch.stack([x, y], -1)).numpy(),
        "valley_ways": ways.numpy(),
        "valley_heights": _height(ways).numpy(),
        "valley_rates": np.array(list(VALLEY_RATES.values()), np.float32),
    }


def _way(optimizer: OptimizerName, rate: float) -> Tensor:
    """Where tench's solver has been: (steps + 1, 2)."""
    at = nn.ParameterList([nn.Parameter(torch.tensor(VALLEY_START))])
    solver = Solver(at, Rules(), Options(optimizer=optimizer, learn_rate=rate, l2=0))
    places = [at[0].detach().clone()]
    for _ in range(VALLEY_STEPS):
        torch.autograd.backward(_height(at[0]))
        solver.step(rate)
        places.append(at[0].detach().clone())
    return torch.stack(places)


def _line(picture: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Polynomials through 16 pixels of a row, without L2 and with; errors are root mean squares.

    The row is the one that has most ups and downs for its jumps from pixel to pixel, so that a polynomial can follow it at all.
    """
    grey = picture.mean(2, dtype=np.float64) / 255
    line = grey[np.argmax(grey.std(1) / (np.abs(np.diff(grey, axis=1)).mean(1) + 1e-3))]
    at = np.linspace(0, len(line) - 1, LINE_POINTS).round().astype(np.int64)
    others = np.setdiff1d(np.arange(len(line)), at)
    powers = np.linspace(-1, 1, len(line))[:, None] ** np.arange(LINE_DEGREE + 1)
    weights = np.stack([ridge(powers[at], line[at], l2) for l2 in (0.0, LINE_L2)])
    fits = weights @ powers.T
    errors = [[np.sqrt(np.mean((fit[where] - line[where]) ** 2)) for where in (at, others)] for fit in fits]
    found = {"line": line, "line_fits": fits, "line_weights": weights, "line_errors": errors, "line_l2": LINE_L2}
    return {name: np.array(value, np.float32) for name, value in found.items()} | {"line_at": at}


def ridge(inputs: NDArray[np.float64], wanted: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """The weights w that make |inputs w - wanted|^2 + l2 |w|^2 smallest; the first weight, a constant, is not held. (n,) or (k,) for
    `inputs` (n, k)."""
    held = np.sqrt(l2) * np.eye(inputs.shape[1])
    held[0] = 0
    solution: NDArray[np.float64] = np.linalg.lstsq(np.vstack([inputs, held]), np.concatenate([wanted, np.zeros(len(held))]), rcond=None)[0]
    return solution


def _quarters(picture: NDArray[np.uint8], seed: int) -> dict[str, NDArray[Any]]:
    """From which quarter of the picture is a window? Learnt on few windows without dropout and with, by the same seeds."""
    rng = np.random.Generator(np.random.Philox(seed))
    learnt, others = _windows(picture, rng, LEARNT_A_QUARTER), _windows(picture, rng, OTHERS_A_QUARTER)
    runs = [_QuarterNetworks(seed).learn(*learnt, share) for share in (0.0, DROPOUT_SHARE)]
    accuracies = [[run.accuracies(*where) for run in runs] for where in (learnt, others)]
    logits = runs[0].logits(others[0])[0]
    shown = _three(logits, others[1])
    return {
        "dropout_learnt": np.stack(accuracies[0]),
        "dropout_others": np.stack(accuracies[1]),
        "dropout_share": np.array(DROPOUT_SHARE, np.float32),
        "quarter_windows": others[0][shown],
        "quarter_labels": others[1][shown],
        "quarter_logits": logits[shown].numpy(),
        "quarter_probabilities": functional.softmax(logits[shown], 1).numpy(),
        "quarter_numbers": np.array([LEARNT_A_QUARTER * 4, OTHERS_A_QUARTER * 4, WINDOW_PX], np.int64),
    }


def _windows(picture: NDArray[np.uint8], rng: np.random.Generator, a_quarter: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(windows (n, 16, 16, 3), quarters (n,)): top left, top right, bottom left, bottom right are 0 to 3."""
    half = len(picture) // 2
    labels = np.repeat(np.arange(4), a_quarter)
    corners = rng.integers(0, half - WINDOW_PX + 1, (len(labels), 2)) + half * np.stack([labels // 2, labels % 2], 1)
    return np.stack([picture[y : y + WINDOW_PX, x : x + WINDOW_PX] for y, x in corners]), labels


def _pixels(windows: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(windows.reshape(len(windows), -1).astype(np.float32) / 255 - 0.5)


def _three(logits: Tensor, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which answers to show: the surest right one, the least sure, and the surest wrong one (without a wrong one, the next least sure)."""
    probability, answer = functional.softmax(logits, 1).max(1)
    sure, right = probability.numpy(), answer.numpy() == labels
    doubtful = np.argsort(sure, kind="stable")
    wrong = [i for i in doubtful[::-1] if not right[i] and i != doubtful[0]]
    return np.array([max(np.flatnonzero(right), key=lambda i: sure[i]), doubtful[0], wrong[0] if wrong else doubtful[1]], np.int64)


class _QuarterNetworks(nn.Module):
    """Eight networks with 128 hidden units that learn side by side, each from its own initial weights, without biases."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        inputs = 3 * WINDOW_PX**2
        self.first = nn.Parameter(torch.randn(SEEDS, inputs, HIDDEN, generator=self.generator) * (2 / inputs) ** 0.5)
        self.last = nn.Parameter(torch.randn(SEEDS, HIDDEN, 4, generator=self.generator) * HIDDEN**-0.5)

    def forward(self, pixels: Tensor, dropout: float = 0) -> Tensor:
        """Logits, (8, n, 4), for `pixels` (n, inputs)."""
        hidden = functional.relu(pixels @ self.first)
        if dropout:
            hidden = hidden * (torch.rand(hidden.shape, generator=self.generator) >= dropout) / (1 - dropout)
        return hidden @ self.last

    def learn(self, windows: NDArray[np.uint8], labels: NDArray[np.int64], dropout: float) -> "_QuarterNetworks":
        pixels, wanted = _pixels(windows), torch.from_numpy(labels).repeat(SEEDS)
        solver = Solver(self, Rules(), Options(learn_rate=RATE, l2=0))
        for _ in range(STEPS):
            loss = functional.cross_entropy(self(pixels, dropout).flatten(0, 1), wanted)
            torch.autograd.backward(SEEDS * loss)  # each network has the mean over its own windows
            solver.step(RATE)
        return self

    @torch.no_grad()
    def logits(self, windows: NDArray[np.uint8]) -> Tensor:
        """Without dropout: (8, n, 4)."""
        logits: Tensor = self(_pixels(windows))
        return logits

    def accuracies(self, windows: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Share of right answers of each network, (8,)."""
        right = self.logits(windows).argmax(2) == torch.from_numpy(labels)
        return right.float().mean(1).numpy()
