"""How charts look: matplotlib draws, text stays text, colours become CSS variables, so that the page decides light or dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from tench.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, BLUE, ORANGE, GREEN, PURPLE = "#010203", "#707172", "#0072b2", "#d55e00", "#009e73", "#cc79a7"
VARIABLES = {
    INK: "var(--ink, currentColor)",
    MUTED: "var(--muted, currentColor)",
    BLUE: f"var(--blue, {BLUE})",
    ORANGE: f"var(--orange, {ORANGE})",
    GREEN: f"var(--green, {GREEN})",
    PURPLE: f"var(--purple, {PURPLE})",
}
"""The hues are Okabe and Ito's, which the colour-blind tell apart."""

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


@contextmanager
def styled(name: str) -> Iterator[None]:
    """The style of all charts for the time of a block; `name` seeds the names inside an SVG, so that they are the same every time."""
    import matplotlib as mpl

    with mpl.rc_context({**STYLE, "svg.hashsalt": f"tench {name}"}):
        yield


def new_figure(width_in: float, height_in: float, columns: int, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    """An empty figure and its axes, row by row. Belongs into a `styled` block, like all that is drawn on it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def svg_file(figure: "Figure") -> str:
    """`figure` as an SVG file with its own colours and no date."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return buffer.getvalue()


def png_file(figure: "Figure") -> bytes:
    """`figure` as a PNG file of 200 dots an inch on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg_for_page(figure: "Figure", name: str, label: str) -> str:
    """`figure` as SVG that any page can hold: no size of its own, colours by variable, `label` for who cannot see it."""
    text = svg_file(figure)
    text = text[text.index("<svg") :]
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _named_apart(text, name)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: var(--font, system-ui, sans-serif)", text)
    width = figure.get_size_inches()[0] * 96
    size = f'style="width:100%;max-width:{1.25 * width:.0f}px;height:auto" role="img" aria-label="{escape(label)}"'
    return re.sub(r' width="[\d.]+pt"', lambda _: f" {size}", re.sub(r' height="[\d.]+pt"', "", text, count=1), count=1)


def _named_apart(text: str, name: str) -> str:
    """SVG whose ids begin with `name`, so that several may stand in one page; ids that nothing refers to are left out."""
    wanted = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in wanted else "", text)
    return re.sub(r'(href="|url\()#', rf"\1#{name}-", text)


def decimals(axis: Any, lang: str) -> None:
    """Numbers along an axis as the language writes them."""
    axis.set_major_formatter(lambda value, _: number(value, lang, 0 if float(value).is_integer() else 1 if (10 * value) % 1 < 1e-6 else 2))
