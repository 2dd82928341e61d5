"""Demo pictures: pictograms of the study's ten classes, drawn by tench from a seed, so that everything runs without any data."""

import io
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from tench.data import imagenette
from tench.data.motifs import MOTIFS
from tench.data.pen import Pen, Random, any_colour, arc, oval

SUPERSAMPLING = 3
SPLIT_STREAMS = {"train": 0, "val": 1}


def generate(seed: int, per_class: Mapping[str, int], px: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield (name, label, PNG bytes) of demo pictures, `px` pixels a side; `per_class` says how many a class in "train" and "val".

    Names are like "train/n01440764/fish-00017.png", labels the class's index in `imagenette.classes()`. Every picture is a
    function of (seed, split, label, number) alone, so more of them leave the first ones as they are; another version of
    Pillow may draw or compress them differently in detail.
    """
    for split, n in per_class.items():
        for label, kind in enumerate(imagenette.classes()):
            for number in range(n):
                rng = np.random.Generator(np.random.Philox(key=[seed, label], counter=[0, 0, number, SPLIT_STREAMS[split]]))
                name = f"{split}/{kind.wnid}/{kind.noun.replace(' ', '-').lower()}-{number:05d}.png"
                yield name, label, _png(picture(kind.noun, rng, px))


def picture(noun: str, rng: Random, px: int) -> npt.NDArray[np.uint8]:
    """One demo picture of `noun` (a key of MOTIFS), uint8 of shape (px, px, 3)."""
    canvas = _background(rng, px)
    _clutter(canvas, rng, int(rng.integers(0, 4)), 0.2)
    MOTIFS[noun](_pen(canvas, rng), rng)
    _clutter(canvas, rng, int(rng.integers(0, 2)), 0.1)
    return _lit(np.asarray(canvas.reduce(SUPERSAMPLING), dtype=np.float32), rng)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)
    return buffer.getvalue()


def _pen(canvas: Image.Image, rng: Random) -> Pen:
    """A pen that draws the motif somewhere, turned, mirrored, stretched, sheared; with or without outlines."""
    side = canvas.width
    turn, size = rng.normal(0, 0.15), side * rng.uniform(0.34, 0.48)
    stretch, mirror = rng.uniform(0.91, 1.1), rng.choice([-1, 1])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = size * rotation @ np.array([[stretch * mirror, rng.normal(0, 0.1)], [0, 1 / stretch]])
    room = max(0.0, side / 2 - size)
    centre = side / 2 + rng.uniform(-1, 1, 2) * (room + 0.02 * side)
    outline = (30, 30, 34) if rng.random() < 0.6 else None
    return Pen(canvas, np.column_stack([linear, centre]), size, outline, max(1, round(size * rng.uniform(0.015, 0.04))))


def _background(rng: Random, px: int) -> Image.Image:
    """A gradient, a horizon, stripes, tiles or one colour, in any colours."""
    first, second = np.array([any_colour(rng), any_colour(rng)], dtype=np.float64)
    y, x = np.mgrid[0:1:12j, 0:1:12j]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)
    kind = rng.integers(5)
    if kind == 0:
        mix = along + 0.5
    elif kind == 1:
        mix = (y > rng.uniform(0.4, 0.8)) + 0.15 * y
    elif kind == 2:
        mix = np.sin(along * rng.uniform(8, 30)) * 0.3 + 0.3
    elif kind == 3:
        mix = rng.uniform(0, 0.6, (12, 12))
    else:
        mix = np.full((12, 12), rng.random())
    pixels = first + mix.clip(0, 1)[..., None] * (second - first)
    return (
        Image.fromarray(pixels.astype(np.uint8))
        .resize((px, px), Image.Resampling.BILINEAR)
        .resize((px * SUPERSAMPLING, px * SUPERSAMPLING), Image.Resampling.NEAREST)
    )


def _clutter(canvas: Image.Image, rng: Random, n: int, largest: float) -> None:
    """`n` ovals, polygons, rings and strokes, up to `largest` of the side in radius, anywhere."""
    side = canvas.width
    pen = Pen(canvas, np.array([[side, 0.0, 0.0], [0.0, side, 0.0]]), side)
    for _ in range(n):
        (x, y), size, colour, kind = rng.random(2), rng.uniform(0.3, 1) * largest, any_colour(rng), rng.integers(4)
        if kind == 0:
            pen.oval(x, y, size, size * rng.uniform(0.4, 1), colour, rng.uniform(0, np.pi))
        elif kind == 1:
            corners = oval(x, y, size, size, rng.uniform(0, np.pi))[:: rng.integers(5, 10)]
            pen.shape(corners, colour)
        elif kind == 2:
            pen.line(arc(x, y, size, size, 0, 2 * np.pi, 25), colour, 0.03)
        else:
            pen.line([(x, y), (x + rng.normal(0, 2 * size), y + rng.normal(0, 2 * size))], colour, rng.uniform(0.01, 0.05))


def _lit(pixels: npt.NDArray[np.float32], rng: Random) -> npt.NDArray[np.uint8]:
    """The picture under a light: from one side, brighter or duller, tinted, with noise; rounded to uint8."""
    px = len(pixels)
    slope = np.linspace(-1, 1, px, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    across, down = np.float32(strength * np.cos(angle)), np.float32(strength * np.sin(angle))
    light = 1 + across * slope + down * slope[:, None]
    contrast, level, tint = rng.uniform(0.7, 1.1), rng.uniform(100, 150), rng.uniform(0.9, 1.1, 3)
    pixels = (pixels * (tint * contrast).astype(np.float32) + (tint * (level - 128 * contrast)).astype(np.float32)) * light[..., None]
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 12))
    return np.rint(pixels, out=pixels).clip(0, 255).astype(np.uint8)
