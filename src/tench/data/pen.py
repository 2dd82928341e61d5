"""A pen for the demo pictures: shapes and strokes in a square from -1 to 1, mapped onto the canvas, and colours to draw in."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]] | npt.NDArray[np.float64]
Random = np.random.Generator

WHITE, CREAM, SILVER, GREY, BLACK = (248, 248, 245), (240, 228, 200), (196, 202, 208), (120, 124, 130), (28, 28, 32)
RED, ORANGE, YELLOW, GOLD, GREEN = (204, 44, 40), (238, 128, 34), (246, 208, 60), (214, 168, 58), (62, 140, 70)
BLUE, NAVY, SKY, PINK, BROWN = (46, 100, 184), (36, 52, 96), (136, 190, 226), (236, 140, 170), (134, 88, 50)
TAN, SLATE, BRICK, TEAL, PURPLE = (206, 162, 108), (84, 96, 108), (168, 82, 62), (40, 150, 150), (120, 72, 150)
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 29)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 29)[:-1])], axis=1)


@dataclass(frozen=True)
class Pen:
    """Draws on `image` through `matrix` (2, 3), which maps motif coordinates to its pixels; closed shapes get an outline."""

    image: Image.Image
    matrix: npt.NDArray[np.float64]
    unit_px: float
    """Pixels of the canvas to one motif unit, for the widths of strokes."""
    outline: Colour | None = None
    outline_px: int = 1

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        mapped = np.asarray(points, dtype=np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return [(x, y) for x, y in mapped.tolist()]

    def _width_px(self, width: float) -> int:
        return max(1, round(width * self.unit_px))

    def shape(self, points: Points, colour: Colour) -> None:
        """A filled polygon."""
        draw, pixels = ImageDraw.Draw(self.image), self._pixels(points)
        draw.polygon(pixels, fill=colour)
        if self.outline:
            draw.line([*pixels, pixels[0]], fill=self.outline, width=self.outline_px)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """An open stroke, `width` in motif units."""
        joint = "curve" if len(points) < 7 else None  # fine arcs look round without it, and it is slow
        ImageDraw.Draw(self.image).line(self._pixels(points), fill=colour, width=self._width_px(width), joint=joint)

    def spot(self, points: Points, colour: Colour) -> None:
        """A filled polygon without outline."""
        ImageDraw.Draw(self.image).polygon(self._pixels(points), fill=colour)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A small filled circle without outline."""
        self.spot(oval(x, y, radius, radius)[::2], colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0) -> None:
        self.shape(oval(x, y, rx, ry, turn), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, round_by: float = 0) -> None:
        self.shape(box(left, top, right, bottom, round_by), colour)


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0) -> npt.NDArray[np.float64]:
    """Points of an ellipse about (x, y), turned by `turn` radians."""
    cos, sin = np.cos(turn), np.sin(turn)
    turned: npt.NDArray[np.float64] = CIRCLE @ np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]]) + (x, y)
    return turned


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, n: int = 13) -> npt.NDArray[np.float64]:
    """Points of a part of an ellipse, from `start` to `end` radians (0 is to the right, pi/2 down)."""
    angle = np.linspace(start, end, n)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float, round_by: float = 0) -> npt.NDArray[np.float64]:
    """Points of a rectangle with rounded corners."""
    if not round_by:
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)
    r, quarter = round_by, np.pi / 2
    corners = (
        (right - r, top + r, -quarter),
        (right - r, bottom - r, 0),
        (left + r, bottom - r, quarter),
        (left + r, top + r, 2 * quarter),
    )
    return np.concatenate([arc(x, y, r, r, start, start + quarter, 5) for x, y, start in corners])


def any_colour(rng: Random) -> Colour:
    """A colour at random, RGB 0-255."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 0.95), rng.uniform(0.3, 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def paint(rng: Random, *typical: Colour) -> Colour:
    """Mostly one of the typical colours, a little off; one time in four any colour at all."""
    if rng.random() < 0.25:
        return any_colour(rng)
    red, green, blue = (np.array(typical[rng.integers(len(typical))]) + rng.integers(-22, 23, 3)).clip(0, 255).tolist()
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor below 1) or lighter."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue
