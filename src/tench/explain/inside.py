"""Looking into a network while it looks at a picture: what its rows make of it, its first kernels, the maps behind its answer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork

Network = TableNetwork | ForeignNetwork

MOST_MAPS = 16
"""Of a row's channels that are shown, evenly spaced, so that all branches of an inception module are among them."""
MOST_ROWS = 24
"""That are shown of a network, evenly spaced."""
MOST_PX = 112
"""Longest side of a shown map; a larger one is averaged down to it."""


@dataclass(frozen=True)
class Part:
    """A module that gives maps: its place in the network, and the (channels, height, width) of its output, above 1 x 1."""

    path: str
    module: nn.Module
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class RowMaps:
    """What one row makes of each of n pictures: `maps` is uint8 (n, shown, h, w), every map scaled to its own 0 to 255."""

    title: str
    shape: tuple[int, int, int]
    maps: NDArray[np.uint8]


def as_batch(pixels: NDArray[np.uint8], network: Network) -> Tensor:
    """Pictures, uint8 (n, height, width, 3), as the network takes them: float32 (n, 3, height, width), 0 to 255, on its device."""
    mean = network.get_buffer("normalise.mean")
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(mean.device, mean.dtype)


def parts_with_maps(network: Network, batch: Tensor) -> list[Part]:
    """Every module that gives maps, in the order in which they end; one that is called twice stands there twice."""
    found: list[Part] = []

    def note(path: str, module: nn.Module, output: object) -> None:
        if shape := _maps_shape(output):
            found.append(Part(path, module, shape))

    inner = [path for path, _ in network.named_modules() if path and path != "normalise"]
    with _told(network, inner, note), torch.no_grad():
        network(batch[:1])
    return found


def last_convolution(network: Network, parts: Iterable[Part]) -> Part | None:
    """What Grad-CAM looks at: the last row with a convolution in it, such as a whole inception module; None without any."""
    rows = set(_rows(network, parts))
    with_convolution = [part for part in parts if part.path in rows and _convolves(part.module)]
    return with_convolution[-1] if with_convolution else None


def first_filters(network: Network, parts: Iterable[Part]) -> tuple[str, NDArray[np.float32]] | None:
    """The first convolution's title and kernels, float32 (n, 3, height, width), RGB; None unless it looks at the picture itself."""
    for part in parts:
        if isinstance(part.module, nn.Conv2d):
            kernels = part.module.weight.detach()
            if kernels.shape[1] != 3:
                return None
            rgb = kernels.flip(1) if network.preprocessing.channels == "BGR" else kernels
            return title(network, part.path), np.ascontiguousarray(rgb.float().cpu().numpy())
    return None


def row_maps(network: Network, batch: Tensor, parts: list[Part]) -> list[RowMaps]:
    """What the rows with maps make of the pictures `batch`, in order; of a foreign network, what `_steps` takes for its rows."""
    found: list[RowMaps] = []

    def keep(path: str, module: nn.Module, output: object) -> None:
        if (shape := _maps_shape(output)) and isinstance(output, Tensor):
            found.append(RowMaps(title(network, path), shape, _shown(output)))

    with _told(network, _rows(network, parts), keep), torch.no_grad():
        network(batch)
    return [found[i] for i in _spread(len(found), MOST_ROWS)]


def title(network: Network, path: str) -> str:
    """The text of the row that the module at `path` belongs to; of a foreign network the module's path and class."""
    if network.table is None:
        return f"{path.removeprefix('module.')}, {type(network.get_submodule(path)).__name__}"
    texts = {facts.path: facts.text for facts in network.table.layers()}
    while path not in texts:
        path = path.rpartition(".")[0]
    return texts[path]


@contextmanager
def _told(network: nn.Module, paths: Iterable[str], hear: Callable[[str, nn.Module, object], None]) -> Iterator[None]:
    """`hear(path, module, output)` is called for those modules at once when they end, before anything overwrites the output in place."""

    def hook(path: str, module: nn.Module, inputs: object, output: object) -> None:
        hear(path, module, output)

    handles = [network.get_submodule(path).register_forward_hook(partial(hook, path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rows(network: Network, parts: Iterable[Part]) -> list[str]:
    if isinstance(network, TableNetwork):
        return [path for path, _ in network.named_children() if path != "normalise"]
    return list(_steps("module", network.module, {part.path for part in parts}))


def _steps(path: str, module: nn.Module, with_maps: set[str]) -> Iterator[str]:
    """The largest modules that give maps and are no mere sequences of others. What neither gives maps nor has a convolution in it
    is passed by: attention has tensors of four dimensions too, but no maps."""
    if path in with_maps and type(module) is not nn.Sequential:
        yield path
    elif path in with_maps or _convolves(module):
        for name, child in module.named_children():
            yield from _steps(f"{path}.{name}", child, with_maps)


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(inner, nn.Conv2d) for inner in module.modules())


def _maps_shape(output: object) -> tuple[int, int, int] | None:
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] * output.shape[3] == 1:
        return None
    return output.shape[1], output.shape[2], output.shape[3]


def _shown(output: Tensor) -> NDArray[np.uint8]:
    maps = output[:, list(_spread(output.shape[1], MOST_MAPS))].float()
    factor = MOST_PX / max(maps.shape[2:])
    if factor < 1:
        smaller = [max(1, round(side * factor)) for side in maps.shape[2:]]
        maps = functional.interpolate(maps, size=smaller, mode="area")
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return as_bytes((maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny))


def as_bytes(shares: Tensor) -> NDArray[np.uint8]:
    """Values of 0 to 1 as uint8 of 0 to 255."""
    return (shares * 255).round().to(torch.uint8).cpu().numpy()


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the indices below n, evenly spaced, first and last among them."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)
