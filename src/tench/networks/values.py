"""How the values of a row are written: each form reads one, writes it back, and says what is allowed."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Pair = tuple[int, int]
"""(height, width) of a kernel, a stride or a padding, in pixels."""

LARGEST = 1_000_000
"""No size or count of a row may be larger: a slip of the finger is found while reading, not when memory runs out."""


@dataclass(frozen=True)
class Form:
    """One way to write a value. `read` raises ValueError for what is not `allowed`; `write` is its inverse."""

    allowed: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    key: str = ""
    """The key in the notation, where it cannot be the name of a field (`1x1`)."""


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,7}", text) or not least <= int(text) <= LARGEST:
            raise ValueError(text)
        return int(text)

    return read


def _sides(least: int, counts: tuple[int, ...]) -> Callable[[str], tuple[int, ...]]:
    """Reads `3x5`; `counts` are the numbers of sides that may be given."""

    def read(text: str) -> tuple[int, ...]:
        sides = tuple(_whole(least)(side) for side in text.split("x"))
        if len(sides) not in counts:
            raise ValueError(text)
        return sides

    return read


def _pair(least: int) -> Callable[[str], Pair]:
    def read(text: str) -> Pair:
        sides = _sides(least, (1, 2))(text)
        return sides[0], sides[-1]

    return read


def _picture(text: str) -> Pair:
    sides = _sides(1, (2, 3))(text)
    if sides[2:] not in ((), (3,)):
        raise ValueError(text)
    return sides[0], sides[1]


def _padding(text: str) -> str | Pair:
    return text if text in ("same", "valid") else _pair(0)(text)


def _number(within: Callable[[float], bool]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text) if re.fullmatch(r"[-+0-9.eE]+", text) else math.nan
        if not math.isfinite(value) or not within(value):
            raise ValueError(text)
        return value

    return read


def _named(text: str) -> str:
    if not re.fullmatch(r"[\w/+-]+", text):
        raise ValueError(text)
    return text


def _write_sides(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _write_pair(pair: Pair) -> str:
    return str(pair[0]) if pair[0] == pair[1] else _write_sides(pair)


def _write_padding(padding: str | Pair) -> str:
    return padding if isinstance(padding, str) else _write_pair(padding)


def _write_number(value: float) -> str:
    """The shortest text that reads back as exactly `value`: `0.1`, `2`, `1e-09`."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def choice(*names: str) -> Form:
    """One of `names`, letter by letter."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return Form(" or ".join(names), read)


def _yes_no(text: str) -> bool:
    return bool(choice("no", "yes").read(text) == "yes")


COUNT = Form("a whole number of at least 1", _whole(1))
SIZE = Form("HEIGHTxWIDTH in pixels, such as 3x3", _sides(1, (2,)), _write_sides)
PICTURE = Form("HEIGHTxWIDTH or HEIGHTxWIDTHx3 in pixels, such as 224x224 (pictures have three channels)", _picture, _write_sides)
STRIDE = Form("pixels, at least 1: N, or HEIGHTxWIDTH", _pair(1), _write_pair)
MARGIN = Form("pixels: N, or HEIGHTxWIDTH", _pair(0), _write_pair)
PADDING = Form("same, valid, or pixels: N, or HEIGHTxWIDTH", _padding, _write_padding)
NUMBER = Form("a finite number", _number(lambda value: True), _write_number)
POSITIVE = Form("a number above 0", _number(lambda value: value > 0), _write_number)
SHARE = Form("a share of at least 0 and below 1", _number(lambda value: 0 <= value < 1), _write_number)
YES_NO = Form("yes or no", _yes_no, lambda value: "yes" if value else "no")
NAME = Form("letters, digits, and _ / + -", _named)
NORM = choice("batch", "none")
ACTIVATION = choice("relu", "none")
