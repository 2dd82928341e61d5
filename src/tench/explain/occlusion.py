"""Heat maps of a network that cannot be looked into: where covering the picture costs the class most. Needs no torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS = 12
"""Places of the patch, across and down."""
PATCH_CELLS = 2.0
"""Side of the patch in cells: neighbouring places overlap by half."""
GREY = 128
BATCH = 16
"""Covered pictures at a time."""

Look = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Pictures, uint8 RGB (n, height_px, width_px, 3), to natural log-probabilities (n, classes)."""


@dataclass(frozen=True)
class Cover:
    """A heat map, uint8 (rows, columns), 255 where covering costs most, and the patch that made it, in pixels of the network's picture."""

    heat: NDArray[np.uint8]
    patch_px: tuple[float, float]
    """Height and width."""
    stride_px: tuple[float, float]

    @property
    def method(self) -> str:
        """What was done, in words."""
        patch, stride = (f"{height:.3g} x {width:.3g}" for height, width in (self.patch_px, self.stride_px))
        return f"Occlusion: a grey patch of {patch} pixels, moved by {stride}; the fall of the class's log-probability"


def occlusion(look: Look, pixels: NDArray[np.uint8], target: int, cells: int = CELLS) -> Cover:
    """How much the log-probability of class `target` falls where a grey patch covers `pixels`, uint8 (height_px, width_px, 3).

    The picture is divided into cells, and each has the fall for the patch on its middle (Zeiler and Fergus 2014, arXiv 1311.2901).
    Where covering helps the class the map is 0; it is scaled so that its most important place is 255, and all 0 if there is none.
    """
    height, width = pixels.shape[:2]
    rows, columns = min(cells, height), min(cells, width)
    stride = height / rows, width / columns
    patch = PATCH_CELLS * stride[0], PATCH_CELLS * stride[1]
    covered = _covered(pixels, (rows, columns), stride, patch)
    before = float(look(pixels[None])[0, target])
    after = np.concatenate([look(some)[:, target] for some in _batches(covered)])
    return Cover(_scaled(before - after.reshape(rows, columns).astype(np.float64)), patch, stride)


def _covered(
    pixels: NDArray[np.uint8], shape: tuple[int, int], stride: tuple[float, float], patch: tuple[float, float]
) -> Iterator[NDArray[np.uint8]]:
    """The picture with the patch on the middle of each cell, row by row; at the edges a part of the patch is outside."""
    for row, column in np.ndindex(*shape):
        picture = pixels.copy()
        picture[_span(row, stride[0], patch[0]), _span(column, stride[1], patch[1])] = GREY
        yield picture


def _span(place: int, stride: float, patch: float) -> slice:
    middle = (place + 0.5) * stride
    return slice(max(0, round(middle - patch / 2)), round(middle + patch / 2))


def _batches(pictures: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    some: list[NDArray[np.uint8]] = []
    for picture in pictures:
        some.append(picture)
        if len(some) == BATCH:
            yield np.stack(some)
            some = []
    if some:
        yield np.stack(some)


def _scaled(fall: NDArray[np.float64]) -> NDArray[np.uint8]:
    fall = fall.clip(0)
    return np.round(255 * fall / (fall.max() or 1)).astype(np.uint8)
