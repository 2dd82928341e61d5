"""What tests share: where the real photographs and weights are, and folders of their own for runs and caches."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tench.records import Run

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache or runs."""
    os.environ["TENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["TENCH_RUNS"] = str(tmp_path_factory.mktemp("runs"))
    for name in ("TENCH_DATA", "TENCH_WEIGHTS"):
        os.environ[f"{name}_FOR_TESTS"] = os.environ.pop(name, "")


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """An engine sets threads and flushes denormals for the whole process; the next test must not see that."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(THREADS)
        torch.set_flush_denormal(False)


def _needed(variable: str) -> Path:
    value = os.environ[f"{variable}_FOR_TESTS"]
    if not value:
        pytest.skip(f"{variable} is not set: this test needs what it names")
    return Path(value).resolve()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The archive or folder of Imagenette that TENCH_DATA names."""
    return _needed("TENCH_DATA")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The file of GoogLeNet's weights; TENCH_WEIGHTS names it or its folder."""
    path = _needed("TENCH_WEIGHTS")
    return path / "bvlc_googlenet.safetensors" if path.is_dir() else path


TINY_CLASSES = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def draw_tiny_folder(
    folder: Path, per_class: dict[str, int], colours: dict[str, tuple[int, int, int]] = TINY_CLASSES, px: int = 20
) -> Path:
    """Class folders of noisy discs in a colour each under train/ and val/: a few steps learn them, a network has to look."""
    generator = np.random.default_rng(5)
    for split, count in per_class.items():
        for name, colour in colours.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 120, (px, px, 3))
                y, x = np.mgrid[:px, :px]
                centre = generator.uniform(px * 0.35, px * 0.65, 2)
                disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (px * 0.3) ** 2
                pixels[disc] = np.array(colour) + generator.integers(-30, 30, 3)
                picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                picture.save(folder / split / name / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training and 30 validation pictures of 20 x 20 pixels in three classes."""
    return draw_tiny_folder(tmp_path_factory.mktemp("tiny") / "discs", {"train": 20, "val": 10})


TINY_TABLE = """[tiny]
ImageInput, 16x16
Conv, 3x3, 8
MaxPool, 2x2
Conv, 3x3, 8
AvgPool, 2x2
FullyConnected, 16
Dropout, 0.2
FullyConnected, 3
SoftMax
ClassOutput, 3
"""


@pytest.fixture(scope="session")
def tiny_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two convolutions for pictures of 16 x 16 pixels and three classes."""
    path = tmp_path_factory.mktemp("nets") / "tiny.net"
    path.write_text(TINY_TABLE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tiny_net: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """A finished run that has learnt the three colours, with exhibits and with what is known of its answers; not to be changed."""
    import tench

    how: dict[str, Any] = {"epochs": 12, "batch_size": 8, "learn_rate": 0.05, "patience": 12, "device": "cpu", "threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tench.confidence.fit.ENOUGH", 6)  # as many as its `select` has
        return tench.train(tiny_net, tiny_folder, runs=tmp_path_factory.mktemp("trained") / "runs", **how)
