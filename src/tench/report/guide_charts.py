"""The guide's charts as SVG: matplotlib draws, text stays text, and the colours become CSS variables of the page."""

import io
import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tench.report.panels import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, NDArray[Any]]
Words = Mapping[str, Any]

INK, MUTED, BLUE, ORANGE = "#010203", "#707172", "#0072b2", "#d55e00"
VARIABLES = {
    INK: "var(--ink, currentColor)",
    MUTED: "var(--muted, currentColor)",
    BLUE: f"var(--blue, {BLUE})",
    ORANGE: f"var(--orange, {ORANGE})",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "axes.formatter.use_mathtext": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
}


def _drawn(width_in: float, height_in: float, columns: int, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _svg(figure: "Figure", name: str, label: str) -> str:
    """`figure` as SVG that any page can hold: no size of its own, no date, colours by variable, `label` for who cannot see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _named_apart(text, name)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: var(--font, system-ui, sans-serif)", text)
    width = figure.get_size_inches()[0] * 96
    size = f'style="width:100%;max-width:{1.25 * width:.0f}px;height:auto" role="img" aria-label="{escape(label)}"'
    return re.sub(r' width="[\d.]+pt"', f" {size}", re.sub(r' height="[\d.]+pt"', "", text, count=1), count=1)


def _named_apart(text: str, name: str) -> str:
    """SVG whose ids begin with `name`, so that several may stand in one page; ids that nothing refers to are left out."""
    wanted = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in wanted else "", text)
    return re.sub(r'(href="|url\()#', rf"\1#{name}-", text)


def chart(name: str, arrays: Arrays, words: Words, lang: str) -> str:
    """One of `CHARTS` from the guide's arrays, as SVG text; `words` are its section's."""
    import matplotlib as mpl

    with mpl.rc_context({**STYLE, "svg.hashsalt": f"tench {name}"}):
        return _svg(CHARTS[name](arrays, words, lang), name, words["title"])


def _normalisation(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, axes = _drawn(4.4, 3.4, 2, 3)
    for channel in range(3):
        for stage, colour in enumerate((ORANGE, BLUE)):
            axis, edges = axes[2 * channel + stage], arrays["norm_edges"][stage]
            axis.stairs(arrays["norm_counts"][stage, channel], edges, fill=True, color=colour, alpha=0.6)
            axis.axvline(arrays["norm_mean"][stage, channel], color=INK, linewidth=0.8)
            axis.set_yticks([])
            axis.tick_params(labelbottom=channel == 2)
            _decimals(axis.xaxis, lang)
        axes[2 * channel].set_ylabel(words["channel"].format(n=channel + 1))
    for axis, title in zip(axes, (words["before"], words["after"]), strict=False):
        axis.set_title(title, fontsize=9)
    for axis in axes[-2:]:
        axis.set_xlabel(words["axis"])
    return figure


def _activation(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (axis,) = _drawn(2.1, 1.9, 1)
    axis.plot([-3, 0, 3], [0, 0, 3], color=BLUE)
    axis.set_xlabel("x")
    axis.set_ylabel("f(x)")
    axis.set_aspect("equal")
    return figure


def _softmax(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, axes = _drawn(4.4, 4.2, 2, 3)
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
    figure, (valley, heights) = _drawn(4.6, 2.5, 2)
    valley.contour(*arrays["valley_axes"], arrays["valley"], levels=[0.05, 0.5, 2, 5, 10, 20, 30], colors=MUTED, linewidths=0.6)
    for name, colour, way, height in zip(("SGDM", "ADAM"), (ORANGE, BLUE), arrays["valley_ways"], arrays["valley_heights"], strict=True):
        valley.plot(*way.T, color=colour, marker=".", markersize=3, linewidth=0.9)
        heights.semilogy(height, color=colour, label=name)
    valley.set_xlabel("x")
    valley.set_ylabel("y")
    heights.set_xlabel(words["steps"])
    heights.set_ylabel(words["height"])
    heights.legend()
    _decimals(valley.xaxis, lang)
    _decimals(valley.yaxis, lang)
    heights.yaxis.set_major_formatter(lambda value, _: number(value, lang, max(0, -int(np.floor(np.log10(value))))))
    return figure


def _l2(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (fits, weights) = _drawn(4.6, 2.7, 2)
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
    _decimals(fits.yaxis, lang)
    weights.yaxis.set_major_formatter(lambda value, _: number(value, lang, max(0, -int(np.floor(np.log10(value))))))
    figure.legend(*fits.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _dropout(arrays: Arrays, words: Words, lang: str) -> "Figure":
    figure, (axis,) = _drawn(3.6, 2.5, 1)
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


def _decimals(axis: Any, lang: str) -> None:
    """Numbers along an axis as the language writes them."""
    axis.set_major_formatter(lambda value, _: number(value, lang, 0 if float(value).is_integer() else 1 if (10 * value) % 1 < 1e-6 else 2))


CHARTS = {
    "normalisation": _normalisation,
    "activation": _activation,
    "softmax": _softmax,
    "optimizer": _optimizer,
    "l2": _l2,
    "dropout": _dropout,
}
"""By section of the guide."""
