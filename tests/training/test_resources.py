"""Estimates of memory against counts by hand."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from tench.config import Engine, Options
from tench.errors import TrainingError
from tench.training.resources import MARGIN, PROCESS_MIB, Needs, needs, refuse_what_does_not_fit


class OneConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(x.float()))


def test_activations_and_weights_are_counted() -> None:
    found = needs(copy.deepcopy(OneConvolution()).to("meta"), Options(optimizer="adam"), 32, 32)
    weights = 4 * (8 * 3 * 9 + 8)
    # Kept for backward: the convolution's input as float32, and ReLU's output; nothing else.
    kept = 4 * 32 * 32 * (3 + 8)
    assert found.picture_mib == pytest.approx(MARGIN * kept / 2**20)
    assert found.fixed_mib == pytest.approx(PROCESS_MIB + MARGIN * weights * 4 / 2**20)
    assert found.memory_mib(10) == pytest.approx(found.fixed_mib + 10 * found.picture_mib)


def test_what_does_not_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tench.training.resources.memory_available_mib", lambda: 1000.0)
    options, engine = Options(batch_size=100), Engine()
    with pytest.raises(TrainingError, match="take --batch-size 40 or less"):
        refuse_what_does_not_fit(Needs(600, 10, 1), options, engine, tmp_path)
    with pytest.raises(TrainingError, match="take smaller pictures"):
        refuse_what_does_not_fit(Needs(1600, 10, 1), options, engine, tmp_path)
    assert refuse_what_does_not_fit(Needs(600, 4, 1), options, engine, tmp_path) is None
    warning = refuse_what_does_not_fit(Needs(600, 4, 1e12), options, engine, tmp_path)
    assert warning is not None
    assert "MiB of disk" in warning
