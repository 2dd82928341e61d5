"""The report's charts: accuracies against costs and reported ones, training curves, reliability, confusions; each a matplotlib figure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tench.comparison.arms import Arm
from tench.evaluation import Reliability
from tench.report.plotting import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, decimals, new_figure
from tench.report.words import Words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*Xhp<>"
HUES = (BLUE, ORANGE, GREEN, PURPLE, INK)
ROUND_TIMES_S = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, *(60.0 * n for n in (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 120, 240, 480, 960, 1920))]
LEAST_SPAN = 4.0
"""Of an axis of costs, from end to end, so that it holds some round values."""
TICKS_APART = 0.26
"""At least, as a share of an axis of costs."""
LEGEND_CHARACTERS = 100
"""Of names, beside each other in one line of a legend."""
COSTS = ("macs", "parameters", "train_s")


@dataclass(frozen=True)
class Point:
    """A network in a chart of accuracies: its mean and its bar, 0 to 1; costs are None or 0 where there were none."""

    name: str
    top1: float
    low: float
    high: float
    costs: Mapping[str, float | None]
    reported: tuple[float, float, float] | None = None
    """The accuracy that a report has of it, with the ends of its interval."""
    counts: bool = True
    """Whether it counts where the order is compared with the report's."""
    seeds: tuple[float, ...] = ()
    """Where it has several seeds, the accuracy of each, 0 to 1."""


def cost_figure(points: Sequence[Point], words: Words) -> "Figure":
    """Accuracy against multiply-adds, parameters and time, one panel each, with one legend."""
    columns, rows = _legend_shape(points)
    figure, axes = new_figure(7.6, 2.7 + 0.17 * rows, 3)
    for axis, cost in zip(axes, COSTS, strict=True):
        for i, point in enumerate(points):
            if value := point.costs.get(cost):
                _mark(axis, i, point, value)
        axis.set_xscale("log")
        axis.margins(x=0.2, y=0.08)
        axis.set_xlabel(words(f"cost.{cost}"))
        _round_costs(axis, cost, words)
        decimals(axis.yaxis, words.lang)
        axis.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.5)
        axis.sharey(axes[0])
    axes[0].set_ylabel(words("cost.accuracy"))
    _legend(figure, axes[0], columns)
    return figure


def _legend_shape(points: Sequence[Point]) -> tuple[int, int]:
    """(columns, rows) for the names of `points`: at most three beside each other, fewer where they are long."""
    longest = max((1, *(len(point.name) for point in points)))
    columns = max(1, min(3, len(points), LEGEND_CHARACTERS // longest))
    return columns, -(-len(points) // columns)


def _legend(figure: "Figure", axis: "Axes", columns: int) -> None:
    """The names of what `axis` shows, below all axes."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=columns, fontsize=8)


def reported_figure(points: Sequence[Point], words: Words) -> "Figure":
    """Accuracy found against accuracy reported, with the line on which they are equal; hollow where it does not count."""
    columns, rows = _legend_shape(points)
    figure, (axis,) = new_figure(7.6, 4.2 + 0.17 * rows, 1)
    for i, point in enumerate(points):
        assert point.reported is not None
        value, low, high = (100 * share for share in point.reported)
        _mark(axis, i, point, value, ([value - low], [high - value]), hollow=not point.counts)
    axis.autoscale_view()
    ends = max(axis.get_xlim()[0], axis.get_ylim()[0]), min(axis.get_xlim()[1], axis.get_ylim()[1])
    if ends[0] < ends[1]:
        axis.plot(ends, ends, color=MUTED, linewidth=0.8, scalex=False, scaley=False)
    axis.set_xlabel(words("cost.reported"))
    axis.set_ylabel(words("cost.accuracy"))
    for numbers in (axis.xaxis, axis.yaxis):
        decimals(numbers, words.lang)
    axis.grid(color=MUTED, alpha=0.25, linewidth=0.5)
    _legend(figure, axis, columns)
    return figure


def _mark(
    axis: "Axes", i: int, point: Point, value: float, across: tuple[list[float], list[float]] | None = None, hollow: bool = False
) -> None:
    """The `i`th point at `value`, with its bars; where it has several seeds, a dot on the bar for each."""
    colour = HUES[i % len(HUES)]
    axis.errorbar(
        [value],
        [100 * point.top1],
        [[100 * (point.top1 - point.low)], [100 * (point.high - point.top1)]],
        across,
        fmt=MARKERS[i % len(MARKERS)],
        color=colour,
        markerfacecolor="none" if hollow else colour,
        markersize=6,
        elinewidth=1,
        label=point.name,
    )
    axis.plot([value] * len(point.seeds), [100 * share for share in point.seeds], ".", color=colour, markersize=4)


def _round_costs(axis: "Axes", cost: str, words: Words) -> None:
    """Round ticks so far apart that their numbers do not touch: of times such as 1, 2, 5, 10 and 30 minutes, of all else 1, 1.5, 2, 3, 5
    and 7 of each power of ten."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = axis.get_xlim()
    if high < LEAST_SPAN * low:
        middle = (low * high) ** 0.5
        low, high = middle / LEAST_SPAN**0.5, middle * LEAST_SPAN**0.5
        axis.set_xlim(low, high)
    rounds = ROUND_TIMES_S if cost == "train_s" else [digit * 10.0**power for power in range(3, 15) for digit in (1, 1.5, 2, 3, 5, 7)]
    ticks = list[float]()
    for value in rounds:
        if low <= value <= high and (not ticks or log10(value / ticks[-1]) >= TICKS_APART * log10(high / low)):
            ticks.append(value)
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: words.round_time(value) if cost == "train_s" else words.short(value))
    axis.tick_params(axis="x", labelsize=8)


def _decade(rate: float, towards: Callable[[float], int]) -> float:
    return 10.0 ** towards(log10(rate))


@dataclass(frozen=True)
class CurveLimits:
    """What all training curves of a report have in common: axes from the first to the last epoch, of losses and rates."""

    epochs: int
    loss: tuple[float, float]
    rate: tuple[float, float]

    @classmethod
    def of(cls, histories: Sequence[Sequence[Mapping[str, Any]]]) -> "CurveLimits":
        """Those that hold every line of `histories`. At least one line must be there."""
        lines = [line for history in histories for line in history]
        losses = [line[key] for line in lines for key in ("loss", "select_loss") if line[key] is not None]
        rates = [line["learn_rate"] for line in lines if line["learn_rate"]]
        rates = rates or [1.0]
        return cls(
            max(line["epoch"] for line in lines),
            (0.0, 1.05 * max(losses, default=1.0)),
            (_decade(min(rates) * 0.99, floor), _decade(max(rates) * 1.01, ceil)),
        )


def curves_figure(arm: Arm, limits: CurveLimits, words: Words) -> "Figure":
    """Loss, accuracy and learning rate of all runs of `arm` by epoch, three panels."""
    from matplotlib.ticker import MaxNLocator

    figure, (loss, accuracy, rate) = new_figure(7.6, 2.1, 3)
    for run in arm.runs:
        history = run.history()
        _curve(loss, history, "loss", "select_loss", 1)
        _curve(accuracy, history, "top1", "select_top1", 100)
        rate.step([line["epoch"] for line in history], [line["learn_rate"] for line in history], where="mid", color=MUTED, linewidth=1)
        _mark_end(loss, history, run.record.weights_epoch)
    loss.set_ylim(*limits.loss)
    accuracy.set_ylim(0, 100)
    rate.set_yscale("log")
    rate.set_ylim(*limits.rate)
    rate.yaxis.set_major_formatter(lambda value, _: words.plain(value))
    rate.yaxis.set_minor_formatter(lambda value, _: "")
    for axis, name in ((loss, "loss"), (accuracy, "accuracy"), (rate, "learn_rate")):
        axis.set_title(words(f"curves.{name}"), fontsize=9, loc="left")
        axis.set_xlabel(words("curves.epoch"))
        axis.set_xlim(0, limits.epochs + 1)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    decimals(loss.yaxis, words.lang)
    _name_the_lines(accuracy, words)
    return figure


def _curve(axis: "Axes", history: Sequence[Mapping[str, Any]], fit: str, select: str, scale: float) -> None:
    known = [line for line in history if line[fit] is not None]
    axis.plot([line["epoch"] for line in known], [scale * line[fit] for line in known], color=BLUE, linewidth=0.9, alpha=0.8)
    checked = [line for line in history if line[select] is not None]
    at, values = [line["epoch"] for line in checked], [scale * line[select] for line in checked]
    axis.plot(at, values, ".-", color=ORANGE, linewidth=0.9, markersize=4, alpha=0.8)


def _mark_end(axis: "Axes", history: Sequence[Mapping[str, Any]], weights_of: int | None) -> None:
    """A dash where the training ended and a diamond at the epoch whose weights were kept."""
    if history:
        axis.axvline(history[-1]["epoch"], ymax=0.12, color=INK, linewidth=1)
    kept = [line for line in history if line["epoch"] == weights_of and line["select_loss"] is not None]
    axis.plot([line["epoch"] for line in kept], [line["select_loss"] for line in kept], "D", color=INK, markersize=4)


def _name_the_lines(axis: "Axes", words: Words) -> None:
    axis.plot([], [], color=BLUE, label=words("curves.fit"))
    axis.plot([], [], ".-", color=ORANGE, label=words("curves.select"))
    axis.legend(loc="best", fontsize=8)


def reliability_figure(of: Reliability, words: Words) -> "Figure":
    """Share of right answers against mean certainty, a dot a bin, its area by the pictures in it."""
    counts, certainty, right = of.counts, of.confidence, of.accuracy
    figure, (axis,) = new_figure(3.3, 3.1, 1)
    axis.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8)
    axis.vlines(100 * certainty, 100 * certainty, 100 * right, color=ORANGE, linewidth=1)
    axis.plot(100 * certainty, 100 * right, color=BLUE, linewidth=0.8)
    axis.scatter(100 * certainty, 100 * right, s=12 + 160 * counts / counts.sum(), color=BLUE, zorder=3, clip_on=False)
    axis.set_xlabel(words("classes.certainty"))
    axis.set_ylabel(words("classes.accuracy"))
    axis.set_xlim(0, 102)
    axis.set_ylim(0, 102)
    axis.set_aspect("equal")
    return figure


def confusion_figure(table: NDArray[np.int64], classes: Sequence[str], words: Words) -> "Figure":
    """The matrix of confusions, (classes, classes), as a chart for a paper: shares of a row in blue, the numbers in the cells."""
    side = 1.6 + 0.42 * len(classes)
    figure, (axis,) = new_figure(side + 0.6, side, 1)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if shares[row, column] > 0.5 else INK
            axis.text(column, row, words.number(int(count)), ha="center", va="center", fontsize=7.5, color=colour)
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel(words("classes.answer"))
    axis.set_ylabel(words("classes.right"))
    axis.tick_params(length=0)
    return figure
