"""What the demo pictures show: ten motifs, drawn with a pen in a square from -1 to 1 (x to the right, y down), each in several variants."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tench.data.pen import (
    BLACK,
    BLUE,
    BRICK,
    BROWN,
    CREAM,
    GOLD,
    GREEN,
    GREY,
    NAVY,
    ORANGE,
    PINK,
    PURPLE,
    RED,
    SILVER,
    SKY,
    SLATE,
    TAN,
    TEAL,
    WHITE,
    YELLOW,
    Colour,
    Pen,
    Random,
    arc,
    box,
    oval,
    paint,
    shade,
)


def eye(pen: Pen, x: float, y: float, radius: float, look: float = 0) -> None:
    """A white of the eye and a pupil that looks ahead, at the centre or behind."""
    pen.dot(x, y, radius, WHITE)
    pen.dot(x + look * radius, y, radius * 0.6, BLACK)


def fish(pen: Pen, rng: Random) -> None:
    """Side view, swimming left or right, with fins, and stripes or scales or neither."""
    high, body, fins = rng.uniform(0.28, 0.52), paint(rng, ORANGE, SKY, SILVER, TEAL, YELLOW), paint(rng, RED, ORANGE, NAVY, TEAL)
    notch = rng.choice([0.66, 0.8, 1.0])
    pen.shape([(0.4, 0), (0.95, -0.42), (notch, 0), (0.95, 0.42)], fins)
    pen.shape([(-0.3, -high * 0.8), (rng.uniform(-0.1, 0.2), -high - 0.26), (0.4, -high * 0.4)], fins)
    if rng.random() < 0.6:
        pen.shape([(-0.1, high * 0.85), (0.2, high + 0.22), (0.3, high * 0.6)], fins)
    pen.shape([*arc(-0.15, 0, 0.72, high, 0.1, 2 * np.pi - 0.1, 25), (0.72, 0)], body)
    _fish_skin(pen, rng, high, fins)
    pen.shape([(-0.2, 0.02), (0.08, 0.16), (-0.05, -0.1)], shade(fins, 0.9))
    pen.line(arc(-0.55, 0, 0.14, high * 0.75, -1.1, 1.1, 7), shade(body, 0.6), 0.04)
    eye(pen, -0.62, -high * 0.25, 0.09, -0.3)
    pen.line([(-0.86, high * 0.22), (-0.7, high * 0.28)], shade(body, 0.5), 0.05)


def _fish_skin(pen: Pen, rng: Random, high: float, colour: Colour) -> None:
    kind = rng.integers(3)
    if kind == 0:
        for x in (-0.25, 0.02, 0.28):
            half = high * np.sqrt(1 - ((x + 0.15) / 0.72) ** 2) * 0.9
            pen.line([(x, -half), (x + 0.03, half)], colour, 0.1)
    elif kind == 1:
        for x, y in ((-0.3, -0.4), (-0.1, -0.4), (0.1, -0.4), (-0.3, 0.3), (0.15, 0.3), (0.3, -0.1), (-0.1, 0)):
            pen.line(arc(x, y * high, 0.09, 0.09, -1.3, 1.3, 6), colour, 0.035)


def dog(pen: Pen, rng: Random) -> None:
    """A face, or a standing dog from the side."""
    coat = paint(rng, BROWN, TAN, WHITE, GREY, CREAM, (70, 50, 40))
    patch = paint(rng, BROWN, (70, 50, 40), WHITE, BLACK)
    (_dog_face if rng.random() < 0.5 else _dog_side)(pen, rng, coat, patch)


def _dog_face(pen: Pen, rng: Random, coat: Colour, patch: Colour) -> None:
    wide = rng.uniform(0.5, 0.62)
    upright = rng.random() < 0.35
    for side in (-1, 1):
        if upright:
            pen.shape([(side * 0.12, -0.55), (side * 0.6, -0.98), (side * 0.58, -0.2)], patch)
    pen.oval(0, 0, wide, 0.66, coat)
    if rng.random() < 0.5:
        pen.oval(0.24, -0.16, 0.22, 0.27, patch)
    for side in (-1, 1):
        if not upright:
            pen.oval(side * (wide + 0.06), rng.uniform(-0.15, 0.05), 0.2, 0.46, patch, -side * 0.25)
        eye(pen, side * 0.24, -0.16, 0.11)
    pen.oval(0, 0.32, 0.34, 0.27, shade(coat, 1.25))
    if rng.random() < 0.6:
        pen.oval(0, 0.56, 0.11, 0.2, (230, 110, 120))
    pen.oval(0, 0.18, 0.15, 0.1, BLACK)
    pen.line([*arc(-0.12, 0.36, 0.12, 0.1, np.pi, 0, 6), *arc(0.12, 0.36, 0.12, 0.1, np.pi, 0, 6)], BLACK, 0.04)


def _dog_side(pen: Pen, rng: Random, coat: Colour, patch: Colour) -> None:
    stride, tail = rng.uniform(-0.12, 0.12), rng.uniform(-0.75, -0.25)
    pen.line([(0.5, -0.05), (0.75, tail * 0.6), (0.9, tail)], coat, 0.11)
    for x, move in ((-0.3, stride), (-0.16, -stride), (0.34, -stride), (0.48, stride)):
        pen.shape([(x - 0.09, 0.1), (x + 0.09, 0.1), (x + move + 0.08, 0.78), (x + move - 0.12, 0.78)], shade(coat, 0.9))
    pen.shape(box(-0.45, -0.18, 0.6, 0.34, 0.22), coat)
    if rng.random() < 0.6:
        pen.oval(0.2, 0, 0.24, 0.16, patch)
    pen.shape([(-0.45, 0.15), (-0.62, -0.5), (-0.25, -0.55), (-0.1, -0.1)], coat)
    pen.oval(-0.5, -0.52, 0.27, 0.24, coat)
    pen.shape(box(-0.98, -0.56, -0.56, -0.33, 0.1), coat)
    pen.oval(-0.32, rng.uniform(-0.5, -0.36), 0.12, 0.28, patch, 0.2)
    pen.dot(-0.96, -0.52, 0.08, BLACK)
    eye(pen, -0.58, -0.6, 0.065, -0.3)


def radio(pen: Pen, rng: Random) -> None:
    """A portable radio with handle, loudspeakers and a cassette or a dial."""
    case, front = paint(rng, RED, SILVER, BLACK, TEAL, BROWN, CREAM), paint(rng, SILVER, BLACK, CREAM, GREY)
    high = rng.uniform(0.42, 0.58)
    if rng.random() < 0.7:
        pen.line([(0.6, -high), (rng.uniform(0.3, 1.0), -high - rng.uniform(0.3, 0.5))], SILVER, 0.04)
    if rng.random() < 0.6:
        pen.line([(-0.55, -high), (-0.5, -high - 0.24), (0.5, -high - 0.24), (0.55, -high)], shade(case, 0.7), 0.08)
    pen.box(-0.92, -high, 0.92, high, case, rng.choice([0.05, 0.16]))
    (_boombox if rng.random() < 0.55 else _table_radio)(pen, rng, high, case, front)


def _boombox(pen: Pen, rng: Random, high: float, case: Colour, front: Colour) -> None:
    radius = rng.uniform(0.24, 0.32)
    for x in (-0.57, 0.57):
        pen.oval(x, 0.08, radius, radius, shade(front, 0.7))
        pen.oval(x, 0.08, radius * 0.6, radius * 0.6, shade(front, 1.3))
        pen.dot(x, 0.08, radius * 0.25, BLACK)
    pen.box(-0.22, -0.1, 0.22, 0.24, shade(case, 1.5))
    for x in (-0.1, 0.1):
        pen.dot(x, 0.07, 0.06, BLACK)
    for x in np.arange(-0.75, 0.76, 0.25):
        pen.box(x - 0.08, -high + 0.07, x + 0.08, -high + 0.15, front)


def _table_radio(pen: Pen, rng: Random, high: float, case: Colour, front: Colour) -> None:
    pen.box(-0.8, -high + 0.12, 0.12, high - 0.12, front, 0.06)
    for y in np.linspace(-high + 0.22, high - 0.22, 5):
        pen.line([(-0.72, y), (0.04, y)], shade(case, 0.55), 0.045)
    pen.box(0.24, -high + 0.12, 0.8, -0.05, CREAM)
    pen.line([(0.3, -high + 0.24), (0.74, -high + 0.24)], BLACK, 0.025)
    needle = rng.uniform(0.32, 0.7)
    pen.line([(needle, -high + 0.14), (needle, -0.08)], RED, 0.04)
    for x in (0.36, 0.68):
        pen.oval(x, 0.2, 0.13, 0.13, shade(front, 0.8))
        pen.line([(x, 0.2), (x + 0.06, 0.1)], BLACK, 0.035)


def saw(pen: Pen, rng: Random) -> None:
    """A hand saw or a chain saw."""
    (_hand_saw if rng.random() < 0.45 else _chain_saw)(pen, rng)


def _hand_saw(pen: Pen, rng: Random) -> None:
    blade, handle = paint(rng, SILVER, GREY), paint(rng, BROWN, TAN, RED, BLACK)
    n, tip = int(rng.integers(8, 13)), rng.uniform(0.02, 0.14)
    x = np.linspace(0.45, -0.95, 2 * n + 1)
    teeth = np.stack([x, np.where(np.arange(2 * n + 1) % 2, 0.32, 0.22)], axis=1)
    pen.shape([(-0.95, tip), (0.45, -0.25), *teeth], blade)
    pen.shape([(0.35, -0.36), (0.75, -0.42), (0.98, -0.2), (0.9, 0.4), (0.62, 0.46), (0.4, 0.3)], handle)
    pen.oval(0.68, 0.02, 0.13, 0.2, shade(handle, 0.35), -0.2)
    for y in (-0.15, 0.15):
        pen.dot(0.45, y, 0.04, GOLD)


def _chain_saw(pen: Pen, rng: Random) -> None:
    motor, bar = paint(rng, ORANGE, RED, YELLOW, GREEN), paint(rng, SILVER, GREY)
    x = np.linspace(0.1, -0.95, 19)
    for y, way in ((-0.02, -1), (0.26, 1)):
        pen.shape(
            [*zip(x, np.where(np.arange(19) % 2, y + way * 0.08, y), strict=True), (-0.95, y - way * 0.1), (0.1, y - way * 0.1)], BLACK
        )
    pen.shape([(0.1, 0), *arc(-0.88, 0.12, 0.1, 0.12, 1.5 * np.pi, 0.5 * np.pi, 7), (0.1, 0.24)], bar)
    pen.line([(0.7, -0.1), (0.95, -0.2), (0.96, 0.3), (0.72, 0.36)], BLACK, 0.11)
    pen.shape([(0.02, -0.28), (0.7, -0.34), (0.8, 0.1), (0.74, 0.42), (0.08, 0.42)], motor)
    pen.line([(0.16, -0.2), (0.2, -0.62), (0.5, -0.66), (0.62, -0.3)], shade(motor, 0.4), 0.1)
    pen.oval(0.42, 0.08, 0.19, 0.19, shade(motor, 0.7))
    for y in (0.02, 0.09, 0.16):
        pen.line([(0.31, y), (0.53, y)], BLACK, 0.03)


def church(pen: Pen, rng: Random) -> None:
    """A nave with windows and a door, and a tower with a cross."""
    wall, roof = paint(rng, WHITE, CREAM, BRICK, SILVER, TAN), paint(rng, BRICK, SLATE, GREEN, BROWN, RED)
    tower, peak = rng.choice([-0.5, 0.0, 0.5]), rng.uniform(-0.55, -0.35)
    base = 0.85
    left, right = (-0.85, 0.85) if tower == 0 else (-0.85 if tower > 0 else -0.6, 0.6 if tower > 0 else 0.85)
    pen.box(left, 0.15, right, base, wall)
    middle = (left + right) / 2
    pen.shape([(left - 0.08, 0.18), (left + 0.12, -0.22), (right - 0.12, -0.22), (right + 0.08, 0.18)], roof)
    for x in np.linspace(left + 0.2, right - 0.2, 4):
        _arched(pen, float(x), 0.34, 0.07, 0.62, SKY if rng.random() < 0.5 else NAVY)
    pen.box(tower - 0.24, peak, tower + 0.24, base, shade(wall, 0.93))
    _spire(pen, rng, tower, peak, roof)
    _arched(pen, tower, peak + 0.15, 0.08, peak + 0.42, NAVY)
    _arched(pen, tower if rng.random() < 0.7 else middle, 0.5, 0.12, base, BROWN)


def _arched(pen: Pen, x: float, top: float, half: float, bottom: float, colour: Colour) -> None:
    pen.shape([(x + half, bottom), (x - half, bottom), *arc(x, top + half, half, half, np.pi, 2 * np.pi, 7)], colour)


def _spire(pen: Pen, rng: Random, x: float, peak: float, roof: Colour) -> None:
    top = peak - rng.uniform(0.3, 0.4)
    if rng.random() < 0.65:
        pen.shape([(x - 0.3, peak), (x, top), (x + 0.3, peak)], roof)
    else:
        pen.shape(
            [
                *arc(x, peak - 0.08, 0.27, 0.16, 0.8 * np.pi, 1.4 * np.pi, 7),
                (x, top),
                *arc(x, peak - 0.08, 0.27, 0.16, -0.4 * np.pi, 0.2 * np.pi, 7),
            ],
            roof,
        )
    pen.line([(x, top + 0.03), (x, top - 0.22)], GOLD, 0.045)
    pen.line([(x - 0.08, top - 0.13), (x + 0.08, top - 0.13)], GOLD, 0.045)


def french_horn(pen: Pen, rng: Random) -> None:
    """Coils of tube, valves and a wide bell."""
    brass = paint(rng, GOLD, YELLOW, (226, 186, 96), SILVER, (190, 120, 60))
    dark, tube = shade(brass, 0.62), rng.uniform(0.08, 0.11)
    pen.line([(-0.5, -0.25), (-0.85, -0.55), (-0.98, -0.68)], dark, 0.06)
    pen.dot(-0.97, -0.68, 0.08, SILVER)
    pen.shape([(0.22, 0.3), (0.5, 0.2), (0.98, 0.42), (0.5, 0.98), (0.2, 0.55)], brass)
    pen.oval(0.72, 0.7, 0.4, 0.15, dark, -0.88)
    for radius, colour in ((0.56, dark), (0.54, brass), (0.36, dark), (0.34, brass)):
        pen.line(arc(0, 0, radius, radius, 0, 2 * np.pi, 33), colour, tube + 0.03 if colour == dark else tube)
    pen.line([(-0.5, 0.16), (0.1, -0.05), (0.32, 0.25)], brass, tube)
    for x in rng.uniform(-0.22, -0.14) + np.array([0, 0.16, 0.32]):
        pen.shape(box(x - 0.055, -0.18, x + 0.055, 0.16), dark)
        pen.line([(x, -0.18), (x, -0.3)], SILVER, 0.05)
    pen.line(arc(0, 0, 0.54, 0.54, -2.4, -1.2, 9), shade(brass, 1.35), 0.03)


def garbage_truck(pen: Pen, rng: Random) -> None:
    """Cab, hopper, wheels and a warning light."""
    cab, bin_, ground = paint(rng, GREEN, ORANGE, WHITE, BLUE), paint(rng, GREEN, ORANGE, SILVER, TEAL, WHITE), 0.52
    top, slope = rng.uniform(-0.62, -0.45), rng.uniform(0.0, 0.2)
    pen.box(-0.9, 0.34, 0.9, ground, shade(SLATE, 0.7))
    pen.shape([(-0.3, 0.4), (-0.3, top), (0.68 - slope, top), (0.72, top + slope + 0.1), (0.72, 0.4)], bin_)
    pen.shape([(0.6, 0.46), (0.62, top + 0.22), (0.92, top + 0.34), (0.98, 0.3), (0.86, 0.5)], shade(bin_, 0.7))
    for x in np.linspace(-0.16, 0.5, 4):
        pen.line([(x, top + 0.06), (x, 0.32)], shade(bin_, 0.75), 0.045)
    if rng.random() < 0.6:
        pen.line([(-0.25, 0.24), (0.66, 0.24)], paint(rng, YELLOW, RED, WHITE), 0.09)
    pen.shape([(-0.9, 0.42), (-0.92, -0.02), (-0.8, -0.32), (-0.36, -0.32), (-0.36, 0.42)], cab)
    pen.shape([(-0.86, -0.02), (-0.77, -0.25), (-0.5, -0.25), (-0.5, -0.02)], SKY)
    pen.dot(-0.88, 0.3, 0.05, YELLOW)
    if rng.random() < 0.5:
        pen.box(-0.66, -0.42, -0.5, -0.33, ORANGE)
    for x in (-0.6, 0.32, 0.66) if rng.random() < 0.6 else (-0.58, 0.5):
        pen.oval(x, ground, 0.17, 0.17, BLACK)
        pen.dot(x, ground, 0.08, SILVER)


def golf_ball(pen: Pen, rng: Random) -> None:
    """A dimpled ball on a tee, in the grass or alone."""
    ball, radius = paint(rng, WHITE, WHITE, CREAM, YELLOW, PINK), rng.uniform(0.55, 0.72)
    stand = rng.integers(3)
    if stand == 0:
        tee = paint(rng, ORANGE, TAN, RED, WHITE)
        pen.shape([(-0.2, radius - 0.08), (0.2, radius - 0.08), (0.05, radius + 0.1), (0.03, 1), (-0.03, 1), (-0.05, radius + 0.1)], tee)
    elif stand == 1:
        pen.oval(0.1, radius * 0.95, radius * 0.9, 0.12, shade(GREEN, 0.6))
    pen.oval(0, 0, radius, radius, ball)
    spacing, turn = rng.uniform(0.2, 0.27), rng.uniform(0, np.pi / 3)
    for x, y in _dimples(spacing, turn):
        depth = np.sqrt(1 - x * x - y * y)
        pen.spot(oval(x * radius, y * radius, spacing * 0.3 * radius * depth, spacing * 0.34 * radius, np.arctan2(y, x)), shade(ball, 0.72))
    if rng.random() < 0.3:
        pen.line([(-0.18, 0), (0.18, 0)], paint(rng, RED, NAVY, BLACK), 0.07)


def _dimples(spacing: float, turn: float) -> npt.NDArray[np.float64]:
    """A hexagonal lattice within the unit disc, drawn together towards its rim as on a ball."""
    column, row = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    x, y = (column + 0.5 * (row % 2)) * spacing, row * spacing * np.sqrt(3) / 2
    angle, distance = np.arctan2(y, x).ravel() + turn, np.hypot(x, y).ravel()
    inside = distance < 1.3
    on_ball = np.sin(distance[inside])
    return np.stack([on_ball * np.cos(angle[inside]), on_ball * np.sin(angle[inside])], axis=1)


def petrol_pump(pen: Pen, rng: Random) -> None:
    """Case, display, hose and nozzle."""
    case, panel = paint(rng, RED, GREEN, WHITE, BLUE, YELLOW), paint(rng, WHITE, CREAM, SILVER)
    half, top = rng.uniform(0.32, 0.44), rng.uniform(-0.72, -0.6)
    hose = shade(BLACK, 1.2)
    sag = rng.uniform(0.4, 0.75)
    pen.line(
        [(half, top + 0.2), (half + 0.3, top + 0.3), *arc(half + 0.24, sag - 0.2, 0.12, 0.3, 0, np.pi, 8), (half + 0.1, -0.1)], hose, 0.06
    )
    pen.shape(
        [(half, -0.24), (half + 0.26, -0.36), (half + 0.3, -0.28), (half + 0.14, -0.14), (half + 0.14, 0.06), (half, 0.06)],
        shade(case, 0.6),
    )
    pen.box(-half - 0.12, 0.78, half + 0.12, 0.94, GREY)
    pen.box(-half, top, half, 0.8, case, rng.choice([0.02, 0.12]))
    if rng.random() < 0.5:
        pen.oval(0, top - 0.12, 0.2, 0.17, panel)
    else:
        pen.box(-half - 0.05, top - 0.16, half + 0.05, top, paint(rng, YELLOW, WHITE, RED))
    pen.box(-half + 0.09, top + 0.12, half - 0.09, top + 0.46, panel)
    for y in (top + 0.22, top + 0.35):
        pen.line([(-half + 0.15, y), (half - 0.15, y)], BLACK, 0.055)
    if rng.random() < 0.6:
        pen.box(-half + 0.09, 0.1, half - 0.09, 0.62, shade(case, 0.8))
    else:
        pen.oval(0, 0.32, 0.17, 0.17, panel)


def parachute(pen: Pen, rng: Random) -> None:
    """A round canopy or a wing, lines, and a person or a box."""
    colours = paint(rng, RED, ORANGE, BLUE, PURPLE, YELLOW), paint(rng, WHITE, YELLOW, TEAL, RED)
    wide, rim = rng.uniform(0.72, 0.95), rng.uniform(-0.22, -0.05)
    (_wing if rng.random() < 0.35 else _canopy)(pen, rng, colours, wide, rim)
    load = paint(rng, NAVY, BROWN, BLACK, RED)
    if rng.random() < 0.6:
        pen.dot(0, 0.62, 0.09, TAN)
        pen.shape([(-0.1, 0.7), (0.1, 0.7), (0.08, 0.88), (-0.08, 0.88)], load)
        pen.line([(-0.07, 0.7), (-0.16, 0.5)], load, 0.05)
        pen.line([(0.07, 0.7), (0.16, 0.5)], load, 0.05)
        pen.line([(-0.05, 0.86), (-0.07, 1.0)], load, 0.055)
        pen.line([(0.05, 0.86), (0.08, 1.0)], load, 0.055)
    else:
        pen.box(-0.17, 0.6, 0.17, 0.92, load)
        pen.line([(0, 0.6), (0, 0.92)], shade(load, 1.6), 0.05)


def _canopy(pen: Pen, rng: Random, colours: tuple[Colour, Colour], wide: float, rim: float) -> None:
    n, high = int(rng.integers(5, 9)), rng.uniform(0.6, 0.8)
    seams = -wide * np.cos(np.linspace(0, np.pi, n + 1))
    for x in seams:
        pen.line([(x, rim), (0.0, 0.6)], shade(SLATE, 0.7), 0.018)
    for i, (left, right) in enumerate(pairwise(seams)):
        scallop = arc((left + right) / 2, rim, (right - left) / 2, 0.07, 0, -np.pi, 7)
        side = [arc(0, rim, abs(x), high, 1.5 * np.pi, 2 * np.pi if x > 0 else np.pi, 9) for x in (left, right)]
        pen.shape([*side[0][::-1], *side[1], *scallop], colours[i % 2])


def _wing(pen: Pen, rng: Random, colours: tuple[Colour, Colour], wide: float, rim: float) -> None:
    n, thick = int(rng.integers(5, 10)), rng.uniform(0.22, 0.34)
    angle = np.linspace(1.22 * np.pi, 1.78 * np.pi, n + 1)
    top = np.stack([wide * 1.25 * np.cos(angle), rim + 0.55 + 0.95 * np.sin(angle) - 0.25], axis=1)
    for x, y in top:
        pen.line([(x, y + thick), (0.0, 0.6)], shade(SLATE, 0.7), 0.018)
    for i in range(n):
        (ax, ay), (bx, by) = top[i], top[i + 1]
        pen.shape([(ax, ay), (bx, by), (bx * 0.94, by + thick), (ax * 0.94, ay + thick)], colours[i % 2])


MOTIFS: dict[str, Callable[[Pen, Random], None]] = {
    "fish": fish,
    "dog": dog,
    "radio": radio,
    "saw": saw,
    "church": church,
    "French horn": french_horn,
    "garbage truck": garbage_truck,
    "golf ball": golf_ball,
    "petrol pump": petrol_pump,
    "parachute": parachute,
}
"""A motif for every class of the study, by its English noun."""
