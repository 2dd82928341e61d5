"""Demo pictures: deterministic, varied, and something to learn from."""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tench.data import imagenette
from tench.data.motifs import MOTIFS
from tench.data.pictograms import generate, picture


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_names_labels_and_format() -> None:
    items = list(generate(0, {"train": 2, "val": 1}, 24))
    assert len(items) == 30
    assert items[1][:2] == ("train/n01440764/fish-00001.png", 0)
    assert items[-1][:2] == ("val/n03888257/parachute-00000.png", 9)
    assert "train/n03394916/french-horn-00000.png" in {name for name, _, _ in items}
    wnids = [kind.wnid for kind in imagenette.classes()]
    for name, label, content in items:
        assert name.split("/")[1] == wnids[label]
        assert content.startswith(b"\x89PNG")
        assert decoded(content).shape == (24, 24, 3)


def test_every_class_of_the_study_has_a_motif() -> None:
    assert set(MOTIFS) == {kind.noun for kind in imagenette.classes()}


def test_a_picture_depends_on_seed_split_class_and_number_alone() -> None:
    few = {name: content for name, _, content in generate(5, {"train": 2}, 32)}
    more = {name: content for name, _, content in generate(5, {"val": 2, "train": 3}, 32)}
    assert {name: more[name] for name in few} == few
    other = {name: content for name, _, content in generate(6, {"train": 2}, 32)}
    assert other.keys() == few.keys()
    assert not set(other.values()) & set(few.values())


def test_no_two_pictures_are_the_same() -> None:
    hashes = [hashlib.sha256(content).hexdigest() for _, _, content in generate(0, {"train": 8, "val": 8}, 32)]
    assert len(set(hashes)) == 160


@pytest.mark.parametrize("noun", sorted(MOTIFS))
def test_the_motif_is_seen_and_varies(noun: str) -> None:
    """With the same random numbers, a picture with its motif differs from one with another motif, not only by noise."""
    others = [other for other in MOTIFS if other != noun]
    shown = picture(noun, np.random.default_rng(3), 64).astype(int)
    for other in others:
        changed = abs(shown - picture(other, np.random.default_rng(3), 64)).max(axis=2) > 60
        assert changed.mean() > 0.02
    middles = np.stack([picture(noun, np.random.default_rng(i), 64)[24:40, 24:40].mean(axis=(0, 1)) for i in range(20)])
    assert middles.std(axis=0).min() > 15


def test_colour_alone_does_not_tell_the_classes_apart() -> None:
    """The nearest class mean of (mean colour, spread of colour) must do little better than one in ten: shape is what differs."""
    statistics: dict[str, list[np.ndarray]] = {"train": [], "val": []}
    labels: dict[str, list[int]] = {"train": [], "val": []}
    for name, label, content in generate(1, {"train": 30, "val": 20}, 32):
        pixels = decoded(content).reshape(-1, 3).astype(float)
        split = name.split("/")[0]
        statistics[split].append(np.concatenate([pixels.mean(0), pixels.std(0)]))
        labels[split].append(label)
    fit, test = np.stack(statistics["train"]), np.stack(statistics["val"])
    means = np.stack([fit[np.array(labels["train"]) == label].mean(0) for label in range(10)]) / fit.std(0)
    nearest = ((test[:, None] / fit.std(0) - means) ** 2).sum(2).argmin(1)
    assert (nearest == labels["val"]).mean() < 0.3


@pytest.mark.slow
def test_a_small_network_learns_but_is_not_perfect() -> None:
    """Well above 30 % and below 95 % after eight epochs of 100 pictures a class at 32 pixels."""
    data: dict[str, list[tuple[np.ndarray, int]]] = {"train": [], "val": []}
    for name, label, content in generate(0, {"train": 100, "val": 40}, 32):
        data[name.split("/")[0]].append((decoded(content), label))
    pixels, labels = _tensors(data["train"])
    torch.set_num_threads(1)  # so small a network only waits for a second one
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = _small_network()
        optimizer = torch.optim.SGD(network.parameters(), 0.005, momentum=0.9)
        for _ in range(8):
            for batch in torch.randperm(len(labels)).split(25):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(pixels[batch]), labels[batch]).backward()
                optimizer.step()
    network.eval()
    pixels, labels = _tensors(data["val"])
    with torch.no_grad():
        accuracy = (network(pixels).argmax(1) == labels).float().mean().item()
    assert 0.35 < accuracy < 0.95, accuracy


def _tensors(items: list[tuple[np.ndarray, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.from_numpy(np.stack([array for array, _ in items])).permute(0, 3, 1, 2).float() / 64 - 2
    return pixels, torch.tensor([label for _, label in items])


def _small_network() -> nn.Sequential:
    rows: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        rows += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*rows, nn.Flatten(), nn.Linear(64 * 16, 10))
