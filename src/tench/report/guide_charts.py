"""The guide's charts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tench.report.canvas import Piece
from tench.report.drawing_files import figure_inset
from tench.report.plotting import BLUE, INK, MUTED, ORANGE, decimals, new_figure, styled, svg_for_page
from tench.report.words import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = Mapping[str, NDArray[Any]]
Words = Mapping[str, Any]


def chart(name: str, arrays: Arrays, words: Words, lang: str) -> str:
    """One of `CHARTS` from the guide's arrays, as SVG text; `words` are its section's."""
    with styled(name):
        return svg_for_page(CHARTS[name](arrays, words, lang), name, words["title"])


def chart_inset(name: str, arrays: Arrays, words: Words, lang: str, width_px: float) -> Piece:
    """The same as a piece of a drawing, `width_px` wide."""
    with styled(name):
        return figure_inset(CHARTS[name](arrays, words, lang), width_px)


def _normalisation(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, axes = new_figure(4.4, 3.4, 2, 3)
    for channel in range(3):
        for stage, colour in enumerate((ORANGE, BLUE)):
            axis, edges = axes[2 * channel + stage], arrays["norm_edges"][stage]
            axis.stairs(arrays["norm_counts"][stage, channel], edges, fill=True, color=colour, alpha=0.6)
            axis.axvline(arrays["norm_mean"][stage, channel], color=INK, linewidth=0.8)
            axis.set_yticks([])
            axis.tick_params(labelbottom=channel == 2)
            decimals(axis.xaxis, lang)
        axes[2 * channel].set_ylabel(words["channel"].format(n=channel + 1))
    for axis, title in zip(axes, (words["before"], words["after"]), strict=False):
        axis.set_title(title, fontsize=9)
    for axis in axes[-2:]:
        axis.set_xlabel(words["axis"])
    return figure


def _activation(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (axis,) = new_figure(2.1, 1.9, 1)
    axis.plot([-3, 0, 3], [0, 0, 3], color=BLUE)
    axis.set_xlabel("x")
    axis.set_ylabel("f(x)")
    axis.set_aspect("equal")
    return figure


def _softmax(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, axes = new_figure(4.4, 4.2, 2, 3)
    for i, label in enumerate(arrays["quarter_labels"]):
        answer = int(arrays["quarter_logits"][i].argmax())
        for axis, name, digits in zip(axes[2 * i :], ("logits", "probabilities"), (1, 3), strict=False):
            values = arrays[f"quarter_{name}"][i]
            bars = axis.barh(range(4), values, color=[BLUE if k == answer else MUTED for k in range(4)], alpha=0.75)
            axis.bar_label(bars, [number(v, lang, digits) for v in values.tolist()], padding=2, fontsize=8)
            axis.set_yticks(range(4), words["classes"] if name == "logits" else [""] * 4)
            axis.invert_yaxis()
            axis.margins(x=0.5)
            axis.set_xticks([])
            axis.spines["left"].set_visible(name == "probabilities")
            axis.tick_params(length=0)
        verdict = words["right"] if answer == label else words["wrong"].format(label=words["classes"][label])
        axes[2 * i].set_title(f"{i + 1}: {verdict}", fontsize=9, loc="left")
        axes[2 * i + 1].set_xlim(0, 1.35)
    axes[-2].set_xlabel(words["logits"])
    axes[-1].set_xlabel(words["probabilities"])
    return figure


def _optimizer(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (valley, heights) = new_figure(4.6, 2.5, 2)
    valley.contour(*arrays["valley_axes"], arrays["valley"], levels=[0.05, 0.5, 2, 5, 10, 20, 30], colors=MUTED, linewidths=0.6)
    for name, colour, way, height in zip(("SGDM", "ADAM"), (ORANGE, BLUE), arrays["valley_ways"], arrays["valley_heights"], strict=True):
        valley.plot(*way.T, color=colour, marker=".", markersize=3, linewidth=0.9)
        heights.semilogy(height, color=colour, label=name)
    valley.set_xlabel("x")
    valley.set_ylabel("y")
    heights.set_xlabel(words["steps"])
    heights.set_ylabel(words["height"])
    heights.legend()
    decimals(valley.xaxis, lang)
    decimals(valley.yaxis, lang)
    heights.yaxis.set_major_formatter(lambda value, _: number(value, lang, max(0, -int(np.floor(np.log10(value))))))
    return figure


def _l2(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (fits, weights) = new_figure(4.6, 2.7, 2)
    line, at = arrays["line"], arrays["line_at"]
    fits.plot(line, color=MUTED, linewidth=0.8, label=words["others"])
    fits.plot(at, line[at], ".", color=INK)
    for i, (name, colour) in enumerate(((words["without"], ORANGE), (words["with"], BLUE))):
        fits.plot(arrays["line_fits"][i], color=colour, label=name)
        weights.semilogy(np.abs(arrays["line_weights"][i]), ".-", color=colour, linewidth=0.8)
    room = np.ptp(line) / 2
    fits.set_ylim(line.min() - room, line.max() + room)
    fits.set_xlabel(words["position"])
    fits.set_ylabel(words["brightness"])
    weights.set_xlabel(words["power"])
    weights.set_ylabel(words["size"])
    decimals(fits.yaxis, lang)
    weights.yaxis.set_major_formatter(lambda value, _: number(value, lang, max(0, -int(np.floor(np.log10(value))))))
    figure.legend(*fits.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _dropout(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (axis,) = new_figure(3.6, 2.5, 1)
    for i, (name, colour, marker) in enumerate(((words["without"], ORANGE, "o"), (words["with"], BLUE, "s"))):
        for place, which in enumerate(("dropout_learnt", "dropout_others")):
            values = 100 * arrays[which][i]
            at = place + 0.25 * (i - 0.5) + np.linspace(-0.06, 0.06, len(values))
            axis.plot(at, values, marker, color=colour, markersize=4, alpha=0.7, linewidth=0, label=None if place else name)
            axis.hlines(values.mean(), at[0] - 0.05, at[-1] + 0.05, color=INK, linewidth=1.2)
    axis.set_xticks([0, 1], [words["learnt"], words["others"]])
    axis.set_xlim(-0.5, 1.5)
    axis.set_ylabel(words["accuracy"])
    figure.legend(loc="outside upper center", ncols=2)
    return figure


CHARTS = {
    "normalisation": _normalisation,
    "activation": _activation,
    "softmax": _softmax,
    "optimizer": _optimizer,
    "l2": _l2,
    "dropout": _dropout,
}
"""By section of the guide."""
