"""Pictures as JPEG and PNG for the page: heat maps over their pictures, filters, maps; and how many bytes of them there may be."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEAT_PX = 132
WAY_PX = 176
LARGEST_MAPS_PX = 88
HEAT_STOPS = np.array([[0, 32, 76], [0, 58, 109], [87, 93, 109], [124, 123, 120], [175, 164, 114], [255, 233, 69]], np.float64)
"""From least to most: points of cividis, which the colour-blind see as others do (Nuñez, Anderton, Renslow 2018, PLOS ONE 13, e0199239)."""


@dataclass
class Budget:
    """Bytes that pictures may still take on the page."""

    left: int
    refused: list[str] = field(default_factory=list)
    """What found no room."""

    def room_for(self, bytes_: int) -> bool:
        """Take so many bytes if they are there."""
        fits = bytes_ <= self.left
        self.left -= bytes_ if fits else 0
        return fits


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG file as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def png_uri(png: bytes) -> str:
    """A PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def jpeg(pixels: NDArray[np.uint8], longest_px: int, quality: int = 78) -> bytes:
    """Pixels, (h, w, 3) or (h, w), as a JPEG file, made smaller where a side is longer than `longest_px`."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    return _file(image, "JPEG", quality=quality, optimize=True)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels, (h, w, 3) or (h, w), as a PNG file."""
    return _file(Image.fromarray(pixels), "PNG", optimize=True)


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def heat_over(picture: NDArray[np.uint8], heat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, (h, w, 3), in grey under its heat map, (rows, columns) 0 to 255, which is made as large; (h, w, 3)."""
    height, width = picture.shape[:2]
    grown = Image.fromarray(heat).resize((width, height), Image.Resampling.BICUBIC)
    share = np.asarray(grown, np.float64) / 255
    stops = np.linspace(0, 1, len(HEAT_STOPS))
    colours = np.stack([np.interp(share, stops, HEAT_STOPS[:, channel]) for channel in range(3)], axis=-1)
    grey = picture.mean(axis=2, keepdims=True)
    return np.asarray((0.4 * grey + 0.6 * colours).round().clip(0, 255), dtype=np.uint8)


def sheet(tiles: Sequence[NDArray[np.uint8]], columns: int, gap: int = 2, paper: int = 128) -> NDArray[np.uint8]:
    """Pictures of one size, each (h, w) or (h, w, 3), side by side in rows of `columns`."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    colours = tiles[0].shape[2:]
    made = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, *colours), paper, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        made[y : y + height, x : x + width] = tile
    return made


def kernel_picture(kernel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A kernel, (3, h, w), as a picture (h, w, 3), its lowest value 0 and its highest 255."""
    low, high = float(kernel.min()), float(kernel.max())
    scaled: NDArray[np.uint8] = (255 * (kernel - low) / ((high - low) or 1)).round().astype(np.uint8).transpose(1, 2, 0)
    return scaled


def filter_tiles(kernels: NDArray[np.float32], most: int, side_px: int = 24) -> list[NDArray[np.uint8]]:
    """Kernels, (n, 3, h, w), as pictures, each scaled to its own range and enlarged without smoothing."""
    tiles = []
    for scaled in map(kernel_picture, kernels[:most]):
        times = max(1, side_px // max(scaled.shape[:2]))
        tiles.append(scaled.repeat(times, axis=0).repeat(times, axis=1))
    return tiles


def map_tiles(maps: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Maps, (n, h, w), each made so large or small that its longest side is about that of all."""
    tiles = []
    for one in maps:
        longest = max(one.shape)
        if longest > LARGEST_MAPS_PX:
            image = Image.fromarray(one)
            image.thumbnail((LARGEST_MAPS_PX, LARGEST_MAPS_PX), Image.Resampling.BOX)
            tiles.append(np.asarray(image, dtype=np.uint8))
        else:
            times = max(1, LARGEST_MAPS_PX // 2 // longest)
            tiles.append(one.repeat(times, axis=0).repeat(times, axis=1))
    return tiles
