"""The figures of "How it works", computed on one real picture: convolution, pooling, normalisation, ReLU, augmentation.

All of it is a function of the picture and a seed. What needs something to learn is in `tench.explain.guide_learning`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tench.config import Options
from tench.data.augment import augment, draws
from tench.data.pictograms import picture as demo_picture
from tench.explain.guide_learning import learning_arrays
from tench.records.guide import GUIDE, write_guide_arrays

SIDE_PX = 112
KERNELS = np.array(
    [
        [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],  # Sobel's: what grows from left to right
        [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],  # Sobel's: what grows from top to bottom
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],  # Laplace's: what differs from its neighbours
    ],
    np.int16,
)
NORM_CHANNELS, NORM_WINDOWS, NORM_PX = 8, 64, 24
DEMO_NOUN, DEMO_SEED = "church", 2


def guide_arrays(picture: NDArray[np.uint8], seed: int) -> dict[str, NDArray[Any]]:
    """Everything in `tench.records.guide.GUIDE_ARRAYS`, computed on `picture`, uint8 of shape (height, width, 3), any size.

    The largest square in its middle is brought to 112 x 112 pixels. The same picture and seed give the same arrays on the same
    machine; torch's own random state is neither read nor changed. Takes one to three seconds.
    """
    small = _square(picture)
    grey = np.asarray(Image.fromarray(small).convert("L"))
    found = {"picture": small, "grey": grey, "kernels": KERNELS}
    found |= _convolution(grey) | _pooling(grey) | _normalisation(small, seed) | _augmentation(small, seed)
    return found | learning_arrays(small, seed)


def write_guide(runs_folder: Path, picture: NDArray[np.uint8] | None, seed: int = 0) -> Path:
    """Write the guide's arrays into `runs_folder`, if they are not there yet, and return the file's path.

    `picture`: uint8 of shape (height, width, 3), such as a test picture; None: a demo picture. Raises RecordError where it cannot be
    written.
    """
    path = runs_folder / GUIDE
    if not path.exists():
        write_guide_arrays(path, guide_arrays(demo() if picture is None else picture, seed))
    return path


def write_demo(path: Path) -> None:
    """Write the arrays of the demo picture to `path`: how `report/guide_demo.npz`, which comes with tench, was made."""
    write_guide_arrays(path, guide_arrays(demo(), 0))


def demo() -> NDArray[np.uint8]:
    """The demo picture of the guide, uint8 of shape (112, 112, 3)."""
    return demo_picture(DEMO_NOUN, np.random.Generator(np.random.Philox(DEMO_SEED)), SIDE_PX)


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.array(square.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))


def convolved(grey: NDArray[np.uint8], kernel: NDArray[np.int16], padding: int = 0, stride: int = 1) -> NDArray[np.int16]:
    """What a convolution layer with one filter, `kernel` (3, 3), makes of `grey` (height, width): whole numbers from -1,020 to 1,020."""
    given = torch.from_numpy(grey.astype(np.float32))[None, None]
    out = functional.conv2d(given, torch.from_numpy(kernel.astype(np.float32))[None, None], padding=padding, stride=stride)
    return out[0, 0].numpy().astype(np.int16)


def _convolution(grey: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    filtered = np.stack([convolved(grey, kernel) for kernel in KERNELS])
    padded = convolved(grey, KERNELS[0], padding=1)
    # A patch of 5x5 around the strongest answer of the first filter that has room for it.
    y, x = np.unravel_index(np.argmax(filtered[0, 1:-1, 1:-1]), (SIDE_PX - 4, SIDE_PX - 4))
    patch = grey[y : y + 5, x : x + 5]
    return {
        "filtered": filtered,
        "padded": padded,
        "strided": convolved(grey, KERNELS[0], padding=1, stride=2),
        "rectified": np.maximum(padded, np.int16(0)),
        "patch": patch,
        "patch_products": patch[1:4, 1:4] * KERNELS[0],
        "patch_valid": convolved(patch, KERNELS[0]),
        "patch_same": convolved(patch, KERNELS[0], padding=1),
        "patch_strided": convolved(patch, KERNELS[0], padding=1, stride=2),
    }


def _pooling(grey: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """2x2 on the 4x4 pixels that differ most, and 4x4 on the whole picture."""
    blocks = grey.reshape(SIDE_PX // 4, 4, SIDE_PX // 4, 4).swapaxes(1, 2)
    spread = blocks.max((2, 3)).astype(int) - blocks.min((2, 3))
    numbers = blocks[np.unravel_index(np.argmax(spread), spread.shape)]
    given, whole = (torch.from_numpy(a.astype(np.float32))[None, None] for a in (numbers, grey))
    return {
        "pool_numbers": numbers,
        "pool_largest": functional.max_pool2d(given, 2)[0, 0].numpy().astype(np.uint8),
        "pool_mean": functional.avg_pool2d(given, 2)[0, 0].numpy(),
        "max_pooled": functional.max_pool2d(whole, 4)[0, 0].numpy().astype(np.uint8),
        "mean_pooled": functional.avg_pool2d(whole, 4)[0, 0].round().numpy().astype(np.uint8),
    }


def _normalisation(picture: NDArray[np.uint8], seed: int) -> dict[str, NDArray[Any]]:
    """Batch norm of what a convolution with fresh weights (He et al. 2015) makes of a batch of windows of the picture."""
    before = fresh_activations(picture, seed)
    after = functional.batch_norm(before, None, None, training=True)
    order = before.mean((0, 2, 3)).argsort()
    shown = order[[0, NORM_CHANNELS // 2, -1]]  # the channels with the least, a middle and the largest mean
    stages = [stage[:, shown].transpose(0, 1).flatten(1).numpy() for stage in (before, after)]
    edges = np.stack([np.linspace(stage.min(), stage.max(), 41) for stage in stages]).astype(np.float32)
    return {
        "norm_edges": edges,
        "norm_counts": np.array([[np.histogram(c, e)[0] for c in s] for s, e in zip(stages, edges, strict=True)], np.int32),
        "norm_mean": np.stack([stage.mean(1) for stage in stages]),
        "norm_deviation": np.stack([stage.std(1) for stage in stages]),
    }


def fresh_activations(picture: NDArray[np.uint8], seed: int) -> Tensor:
    """What 8 fresh filters of 3x3 give for 64 windows of 24 x 24 pixels at random places: (64, 8, 22, 22)."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, SIDE_PX - NORM_PX + 1, (NORM_WINDOWS, 2), generator=generator).tolist()
    windows = np.stack([picture[y : y + NORM_PX, x : x + NORM_PX] for y, x in corners]).astype(np.float32) / 255
    weights = torch.randn(NORM_CHANNELS, 3, 3, 3, generator=generator) * (2 / 27) ** 0.5
    return functional.conv2d(torch.from_numpy(windows).permute(0, 3, 1, 2), weights)


def _augmentation(picture: NDArray[np.uint8], seed: int) -> dict[str, NDArray[Any]]:
    drawn = draws(seed, 1, 4, Options())
    pixels = torch.from_numpy(picture).permute(2, 0, 1).repeat(4, 1, 1, 1)
    return {"augmented": augment(pixels, drawn).permute(0, 2, 3, 1).contiguous().numpy(), "augment_draws": drawn.astype(np.float32)}
