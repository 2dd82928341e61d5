"""Answers for many pictures: those of the pictures asked for, by the engine that is fastest, equal to torch's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tench import inference
from tench.config import Engine, Preprocessing
from tench.errors import UsageError
from tench.inference import BATCH, TOLERANCE, WORTH_IT, computing, log_probabilities
from tench.networks.build import TableNetwork, build
from tench.networks.table import builtin_table, parse


class Looker(nn.Module):
    """A tiny network that remembers how its pictures came."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.seen: list[torch.Tensor] = []
        self.inference = False
        self.fails = False

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        if self.fails:
            raise RuntimeError("this network fails")
        self.seen.append(pictures)
        self.inference = torch.is_inference_mode_enabled()
        maps: torch.Tensor = self.drop(self.norm(self.conv(pictures.float() / 255)))
        return maps.mean(dim=(2, 3))


@pytest.fixture
def pixels(tmp_path: Path) -> np.ndarray:
    stored = np.random.default_rng(1).integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
    stored.tofile(tmp_path / "pixels")
    return np.memmap(tmp_path / "pixels", dtype=np.uint8, mode="r", shape=(7, 6, 5, 3))


def test_log_probabilities_are_those_of_the_pictures_asked_for(pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BATCH", 2)
    torch.manual_seed(0)
    module = Looker()
    indices = np.array([6, 0, 3, 3, 1])
    answers = log_probabilities(module, pixels, indices, Engine()).log_probabilities
    assert answers.dtype == np.float32
    assert [tuple(batch.shape) for batch in module.seen] == [(2, 3, 6, 5), (2, 3, 6, 5), (1, 3, 6, 5)]
    assert all(batch.dtype == torch.uint8 for batch in module.seen)
    assert module.inference
    assert np.array_equal(torch.cat(module.seen).numpy(), np.moveaxis(np.asarray(pixels)[indices], 3, 1))
    logits = module.eval()(torch.cat(module.seen)).detach().double().numpy()
    assert np.allclose(answers, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), atol=1e-6)


@pytest.mark.parametrize(("layout", "kept"), [("channels_last", torch.channels_last), ("channels_first", torch.contiguous_format)])
def test_layout_is_what_was_asked_for(pixels: np.ndarray, layout: str, kept: torch.memory_format) -> None:
    module = Looker()
    log_probabilities(module, pixels, np.arange(7), Engine(layout=layout))  # type: ignore[arg-type]
    assert all(batch.is_contiguous(memory_format=kept) for batch in module.seen)
    first = log_probabilities(module, pixels, np.arange(7), Engine()).log_probabilities
    assert np.allclose(first, log_probabilities(module, pixels, np.arange(7), Engine(layout="channels_first")).log_probabilities, atol=1e-6)


def test_every_part_keeps_its_mode_and_its_statistics(pixels: np.ndarray) -> None:
    module = Looker().train()
    module.norm.eval()
    before = module.norm.running_mean.clone() if module.norm.running_mean is not None else None
    log_probabilities(module, pixels, np.arange(7), Engine())
    assert (module.training, module.drop.training, module.norm.training) == (True, True, False)
    assert before is not None
    assert torch.equal(before, module.norm.running_mean)  # type: ignore[arg-type]
    module.fails = True
    with pytest.raises(RuntimeError, match="this network fails"):
        log_probabilities(module, pixels, np.arange(7), Engine())
    assert (module.training, module.drop.training, module.norm.training) == (True, True, False)


def test_nothing_to_score_is_said(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="no pictures"):
        log_probabilities(Looker(), pixels, np.zeros(0, np.int64), Engine())


EVERY_KIND = """
ImageInput, 24x24
Conv, 5x5, 8, stride=2, padding=valid, groups=1
MaxPool, 3x3, stride=2, padding=1, ceil=yes
LocalResponseNorm, 5, alpha=0.5
Concat:
    Conv, 1x1, 6
    Branch:
        AvgPool, 3x3, stride=1, padding=1
        Conv, 3x3, 10, groups=2, norm=none, bias=no
BatchNorm
ReLU
Residual, shortcut=projection:
    Conv, 3x3, 12, stride=2
    Conv, 3x3, 12, activation=none
Inception, 1x1=4, 3x3_reduce=2, 3x3=4, 5x5_reduce=2, 5x5=4, pool=4
Dropout, 0.5
GlobalMaxPool
FullyConnected, 9
Dropout, 0.5
FullyConnected, 10
Scale, 0.1
SoftMax
ClassOutput, 10
"""


def shaken(network: TableNetwork) -> TableNetwork:
    """The network with statistics and biases that are not what they start as, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.normal_(0, 0.5, generator=generator)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
    return network


def assert_onnxruntime_equals_torch(network: TableNetwork, px: int, n: int = WORTH_IT) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (n, px, px, 3), dtype=np.uint8)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for output in ("logits", "features"):
        with computing(network, pixels, np.arange(n), Engine(threads=1), output) as computer, torch.inference_mode():
            assert computer.engine.startswith("ONNX Runtime")
            expected = (network if output == "logits" else network.features)(batch).numpy()
            assert np.abs(computer.of(pixels, np.arange(n)) - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_onnxruntime_gives_what_torch_gives_for_every_kind_of_row(channels: str) -> None:
    preprocessing = Preprocessing(height_px=24, width_px=24, channels=channels, mean=(100, 110, 120), std=(50, 60, 70))  # type: ignore[arg-type]
    assert_onnxruntime_equals_torch(shaken(build(parse(EVERY_KIND), preprocessing)), 24)


@pytest.mark.parametrize("name", ["network_84_8153", "network_75_4395"])
def test_onnxruntime_gives_what_torch_gives_for_the_studys_networks(name: str) -> None:
    px = 32
    assert_onnxruntime_equals_torch(shaken(build(builtin_table(name).resized(px), Preprocessing(height_px=px, width_px=px))), px)


def test_an_engine_that_answers_otherwise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(parse("ImageInput, 8x8\nFullyConnected, 10\nClassOutput, 10\n"), Preprocessing(height_px=8, width_px=8))
    pixels = np.random.default_rng(0).integers(0, 256, (WORTH_IT, 8, 8, 3), dtype=np.uint8)
    monkeypatch.setattr(inference, "_onnxruntime", lambda *_: lambda pictures: np.zeros((len(pictures), 10), np.float32))
    found = log_probabilities(network, pixels, np.arange(WORTH_IT), Engine())
    assert found.engine == "torch"
    assert found.log_probabilities.std() > 0


def test_few_pictures_other_devices_and_foreign_networks_are_torchs(pixels: np.ndarray) -> None:
    network = build(parse("ImageInput, 6x6\nFullyConnected, 10\nClassOutput, 10\n"), Preprocessing(height_px=6, width_px=6))
    few = np.zeros((BATCH, 6, 6, 3), np.uint8)
    many = np.zeros((WORTH_IT, 6, 6, 3), np.uint8)
    engines = []
    for module, pictures, engine in ((network, few, Engine()), (Looker(), many, Engine())):
        with computing(module, pictures, np.arange(len(pictures)), engine) as computer:
            engines.append(computer.engine)
    assert engines == ["torch"] * 2


def test_answers_are_float32_whatever_training_was() -> None:
    network = build(parse("ImageInput, 6x6\nFullyConnected, 10\nClassOutput, 10\n"), Preprocessing(height_px=6, width_px=6))
    pixels = np.random.default_rng(0).integers(0, 256, (WORTH_IT, 6, 6, 3), dtype=np.uint8)
    found = [log_probabilities(network, pixels, np.arange(n), Engine(precision="bfloat16")) for n in (WORTH_IT - 1, WORTH_IT)]
    assert found[0].engine == "torch"
    assert found[1].engine.startswith("ONNX Runtime")
    expected = torch.log_softmax(network(torch.from_numpy(pixels).permute(0, 3, 1, 2)), 1).detach().numpy()
    assert np.allclose(found[0].log_probabilities, expected[:-1], atol=1e-3, rtol=1e-5)
    assert np.allclose(found[1].log_probabilities, expected, atol=1e-3, rtol=1e-5)
