"""What a sweep varies: options of a training as a single value, a list of values, or a range of numbers."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any, get_args

from tench.config import Options, checked
from tench.errors import ConfigError

LOGARITHMIC = ("learn_rate", "l2")
"""Drawn so that every power of ten is as likely as every other: what they do depends on their order of magnitude."""
SINGLE = {
    "seed": "it decides which pictures are in `select`, and the best of several seeds is the luckiest, not the best option",
    "share": "it decides which pictures are in `select`",
    "leave_unseen_out": "it decides which pictures are in `select`",
    "class_weights": "it decides how much a picture counts in the loss on `select`",
    "test_share": "it changes nothing in a training",
}
"""Options that take one value only, and why: trainings that differ in them cannot be ranked by their losses on `select`."""
PAIRS = ("scale_range",)
"""Options whose single value is itself a list."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones, or all there are."""

    low: float
    high: float
    whole: bool
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}" + (" on a log scale" if self.log else "")


Axis = tuple[Any, ...] | Range
"""What one option may be."""


@dataclass(frozen=True)
class Space:
    """All trainings a sweep may try."""

    fixed: Mapping[str, Any]
    """Options that are the same in all trials."""
    axes: dict[str, Axis]
    """Those that vary."""

    @property
    def size(self) -> int | None:
        """How many trainings there are; None where a range has no end of numbers."""
        if any(isinstance(axis, Range) and not axis.whole for axis in self.axes.values()):
            return None
        return math.prod(len(_values(axis)) for axis in self.axes.values())

    def combination(self, index: int) -> dict[str, Any]:
        """The training number `index`, from 0 to `size` - 1, of a space that has a size; the last option varies fastest."""
        found: dict[str, Any] = {}
        for name, axis in reversed(self.axes.items()):
            values = _values(axis)
            index, place = divmod(index, len(values))
            found[name] = values[place]
        return {name: found[name] for name in self.axes}

    def corners(self) -> Iterator[dict[str, Any]]:
        """Every value of a list with every other and with both ends of the ranges: what must be allowed before anything is trained."""
        ends = [_ends(axis) if isinstance(axis, Range) else axis for axis in self.axes.values()]
        return (dict(zip(self.axes, values, strict=True)) for values in product(*ends))

    def __str__(self) -> str:
        shown = {name: str(axis) if isinstance(axis, Range) else ",".join(map(str, axis)) for name, axis in self.axes.items()}
        return "; ".join(f"{name} {text}" for name, text in shown.items())


def _values(axis: Axis) -> tuple[Any, ...] | range:
    return range(int(axis.low), int(axis.high) + 1) if isinstance(axis, Range) else axis


def _ends(axis: Range) -> tuple[float, float]:
    return (int(axis.low), int(axis.high)) if axis.whole else (axis.low, axis.high)


def space(options: Mapping[str, Any]) -> Space:
    """The space that `options` describe: fields of `Options`, each a value, a list (also as text, "3,4,5"), or a range as text:
    "1e-4..1e-2", and with a step, which makes it a list, "0..0.9/0.3". None is as if it were not there.

    Raises ConfigError that names the option, what it was given and what is allowed.
    """
    axes = {name: _axis(name, given) for name, given in options.items() if given is not None}
    varied = {name: axis for name, axis in axes.items() if isinstance(axis, Range) or len(axis) > 1}
    for name in varied:
        if name in SINGLE:
            raise ConfigError(f"{name} takes a single value in a sweep: {SINGLE[name]}. {name} is {options[name]!r}; write one value.")
    if not varied:
        raise ConfigError(
            "There is nothing to try out: give at least one option a list or a range, such as --learn-rate 1e-4..1e-2 or"
            " --drop-period 3,4,5; or train once by tench train."
        )
    return Space({name: axis[0] for name, axis in axes.items() if not isinstance(axis, Range) and len(axis) == 1}, varied)


def _axis(name: str, given: Any) -> Axis:
    if isinstance(given, str) and ".." in given:
        return _range(name, given)
    several = isinstance(given, list | tuple) and name not in PAIRS
    values = given if several else given.split(",") if isinstance(given, str) else [given]
    if not values:
        raise ConfigError(f"{name} is an empty list; give it a value, or leave it out.")
    return tuple(dict.fromkeys(_checked(name, value.strip() if isinstance(value, str) else value) for value in values))


def _checked(name: str, value: Any) -> Any:
    return getattr(checked(Options, {name: value}, "the options of the sweep"), name)


def _range(name: str, text: str) -> Axis:
    kind = _number_kind(name)
    low, high, step = _numbers(name, text)
    if not low < high:
        raise ConfigError(f"{name} is '{text}': a range goes from a lower to a higher number, low..high.")
    if step is not None:
        return tuple(_number(name, kind, low + count * step) for count in range(int((high - low) / step) + 1))
    ends = [_number(name, kind, end) for end in (low, high)]
    log = name in LOGARITHMIC
    if log and not low > 0:
        raise ConfigError(f"{name} is '{text}': its range is on a log scale and needs a low above 0; or write a list, such as 0,1e-4.")
    return Range(ends[0], ends[1], whole=kind is int, log=log)


def _number(name: str, kind: type[int] | type[float], value: Decimal) -> Any:
    fits = kind is float or value == value.to_integral_value()
    return _checked(name, kind(value) if fits else str(value))


def _number_kind(name: str) -> type[int] | type[float]:
    """Whether an option's numbers are whole. Raises ConfigError for options that are no numbers, or that are not known."""
    if name not in Options.model_fields:
        _checked(name, None)
    annotation = Options.model_fields[name].annotation
    kinds = (annotation,) if isinstance(annotation, type) else get_args(annotation)
    if name in PAIRS or not {int, float} & set(kinds):
        raise ConfigError(f"{name} has no range, for it is no number: write a list, its values parted by commas.")
    return int if int in kinds else float


def _numbers(name: str, text: str) -> tuple[Decimal, Decimal, Decimal | None]:
    """Low, high and step of "low..high/step". Decimals, so that steps of 0.1 give 0.3 and not 0.30000000000000004."""
    found = re.fullmatch(r"(.+?)\.\.(.+?)(?:/(.+))?", text.strip())
    try:
        numbers = [Decimal(part.strip()) if part else None for part in found.groups()] if found else []
        low, high, step = numbers
    except (InvalidOperation, ValueError):
        low = high = step = None
    if low is None or high is None or not (low.is_finite() and high.is_finite()) or (step is not None and not step > 0):
        raise ConfigError(f"{name} is '{text}', which is no range; write low..high, such as 1e-4..1e-2, or low..high/step.")
    return low, high, step
