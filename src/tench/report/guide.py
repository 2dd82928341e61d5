""" "How it works": the study's chapter 3 as a guide. It draws arrays that `tench.explain.guide` computed, and adds the words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.networks.layers import Conv, FullyConnected, Inception
from tench.networks.table import builtin_table
from tench.records.guide import read_guide_arrays
from tench.report.canvas import Drawing
from tench.report.guide_charts import chart, chart_inset
from tench.report.guide_texts import guide_texts
from tench.report.modules import module
from tench.report.panels import Panel, Panels, drawn, grid, paragraphs, picture, sign, signed
from tench.report.words import number

INPUT = (3, 224, 224)
STUDY_SHIFT_PX = 30
PICTURE_PX = 136.0

Parts = tuple[str | Panels, ...]
"""Paragraphs, which are HTML, and figures, in their order."""


@dataclass(frozen=True)
class Section:
    """One section of the guide."""

    key: str
    """What it is called in links, such as "pooling"."""
    title: str
    parts: Parts

    @property
    def html(self) -> str:
        """Paragraphs and figures (`<figure class="guide-figure">`) that need nothing from outside; the title is not in it."""
        return "".join(part if isinstance(part, str) else part.html for part in self.parts)

    @property
    def figures(self) -> list[Panels]:
        """The figures alone."""
        return [part for part in self.parts if not isinstance(part, str)]


def guide_sections(arrays: Mapping[str, NDArray[Any]] | None, lang: str, photographs: bool) -> list[Section]:
    """The guide in `lang` ("en" or "pl"), section by section.

    `arrays`: what `tench.records.guide.read_guide_arrays` gives for the runs' folder. Where it is None, or where no `photographs` may
    be shown, the figures are those of a demo picture, and the first section says so. Raises ConfigError for another language.
    """
    if arrays is None or not photographs:
        return list(_of_the_demo_picture(lang))
    return list(_drawn(arrays, lang, "data"))


@cache
def _of_the_demo_picture(lang: str) -> tuple[Section, ...]:
    """Drawn once a process, for it is the same on every page."""
    return tuple(_drawn(demo_arrays(), lang, "demo"))


def _drawn(arrays: Mapping[str, NDArray[Any]], lang: str, source: str) -> Iterator[Section]:
    """All sections; the first says of what picture they are, by the text of that `source`."""
    texts = guide_texts(lang)
    for place, (key, draw) in enumerate(_SECTIONS.items()):
        parts = draw(_Guide(arrays, texts[key], lang))
        if place == 0:
            parts = (*parts, paragraphs([f"<em>{texts['source'][source]}</em>"]))
        yield Section(key, texts[key]["title"], parts)


def demo_arrays() -> dict[str, NDArray[Any]]:
    """The arrays of the demo picture that come with tench; `tench.explain.guide.write_demo` made them."""
    arrays = read_guide_arrays(Path(str(resources.files("tench").joinpath("report", "guide_demo.npz"))))
    assert arrays is not None
    return arrays


@dataclass(frozen=True)
class _Guide:
    """What a section is drawn from: all arrays, its own words, the language."""

    arrays: Mapping[str, NDArray[Any]]
    words: Mapping[str, Any]
    lang: str

    def number(self, value: float, digits: int = 0, sign: bool = False) -> str:
        return number(value, self.lang, digits, sign)

    def text(self, **values: str) -> str:
        """The section's paragraphs and formulas, `values` in their places."""
        formulas = self.words.get("formulas", [self.words["formula"]] if "formula" in self.words else [])
        return paragraphs((text.format(**values) for text in self.words["text"]), formulas)

    def picture(self, array: NDArray[Any], label: str, width_px: float = PICTURE_PX) -> Panel:
        return picture(array, label, width_px)

    def map(self, values: NDArray[Any], label: str, width_px: float = PICTURE_PX, below: Panel | None = None) -> Panel:
        """A map of values of either sign; the strongest fiftieth of the largest map is drawn white or black."""
        return picture(signed(values, float(np.percentile(np.abs(self.arrays["padded"]), 98)) or 1), label, width_px, below)

    def chart(self, name: str, width_px: float) -> Panel:
        given = (name, self.arrays, self.words, self.lang)
        return Panel(chart(*given), "", width_px, lambda: chart_inset(*given, width_px))


def _convolution(guide: _Guide) -> Parts:
    arrays, words = guide.arrays, guide.words
    total = int(arrays["patch_products"].sum())
    numbers = [
        grid(arrays["patch"][1:4, 1:4], words["pixels"], strong=255),
        sign("×"),
        grid(arrays["kernels"][0], words["filter"]),
        sign("="),
        grid(arrays["patch_products"], words["products"]),
        sign("→"),
        grid(np.array([[total]]), words["sum"], marked=(0, 0, 1)),
    ]
    pictures = [guide.picture(arrays["picture"], words["picture"]), guide.picture(arrays["grey"], words["brightness"])]
    for kernel, made, name in zip(arrays["kernels"], arrays["filtered"], words["found"], strict=True):
        pictures.append(guide.map(made, name, below=grid(kernel, "")))
    captions = words["captions"]
    return (
        guide.text(dense=guide.number(FullyConnected(64).macs(INPUT)), shared=guide.number(Conv((3, 3), 64).weights(INPUT))),
        Panels(tuple(numbers), captions[0].format(sum=guide.number(total))),
        Panels(tuple(pictures), captions[1].format(side=arrays["filtered"].shape[1])),
    )


def _padding(guide: _Guide) -> Parts:
    arrays, words = guide.arrays, guide.words
    outputs = [(arrays[f"patch_{name}"], words[name]) for name in ("valid", "same", "strided")]
    grids = [grid(np.pad(arrays["patch"], 1), words["input"], marked=(1, 1, 5), strong=255)]
    grids += [grid(made, f"{name}: {made.shape[0]} × {made.shape[1]}") for made, name in outputs]
    maps = [(arrays["filtered"][0], words["valid"]), (arrays["padded"], words["same"]), (arrays["strided"], words["strided"])]
    pictures = [
        guide.map(made, f"{name}: {made.shape[0]} × {made.shape[1]}", PICTURE_PX * 1.2 * len(made) / len(arrays["padded"]))
        for made, name in maps
    ]
    return guide.text(), Panels(tuple(grids), words["captions"][0]), Panels(tuple(pictures), words["captions"][1])


def _pooling(guide: _Guide) -> Parts:
    arrays, words = guide.arrays, guide.words
    numbers = [
        grid(arrays["pool_numbers"], words["input"], marked=(0, 0, 2), strong=255),
        grid(arrays["pool_largest"], words["largest"], marked=(0, 0, 1), strong=255),
        grid(arrays["pool_mean"], words["mean"], marked=(0, 0, 1), strong=255, lang=guide.lang),
    ]
    pictures = [
        guide.picture(arrays["grey"], words["input"]),
        guide.picture(arrays["max_pooled"], words["largest"]),
        guide.picture(arrays["mean_pooled"], words["mean"]),
    ]
    return guide.text(), Panels(tuple(numbers), words["captions"][0]), Panels(tuple(pictures), words["captions"][1])


def _normalisation(guide: _Guide) -> Parts:
    listed = [", ".join(guide.number(v, 2) for v in guide.arrays[name][0].tolist()) for name in ("norm_mean", "norm_deviation")]
    if guide.lang == "pl":
        listed = [text.replace(", ", "; ") for text in listed]
    caption = guide.words["caption"].format(means=listed[0], deviations=listed[1])
    return guide.text(), Panels((guide.chart("normalisation", 480),), caption)


def _activation(guide: _Guide) -> Parts:
    arrays, words = guide.arrays, guide.words
    share = guide.number(100 * float((arrays["rectified"] == 0).mean()))
    panels = [guide.chart("activation", 200), guide.map(arrays["padded"], words["before"]), guide.map(arrays["rectified"], words["after"])]
    return guide.text(), Panels(tuple(panels), words["caption"].format(share=share))


def _softmax(guide: _Guide) -> Parts:
    learnt, others, px = guide.arrays["quarter_numbers"].tolist()
    windows = [guide.picture(window, str(i), 60) for i, window in enumerate(guide.arrays["quarter_windows"], 1)]
    caption = guide.words["caption"].format(learnt=learnt, others=others, px=px)
    return guide.text(), Panels((*windows, guide.chart("softmax", 480)), caption)


def _optimizer(guide: _Guide) -> Parts:
    rates, heights = guide.arrays["valley_rates"].tolist(), guide.arrays["valley_heights"]
    values = {"steps": guide.number(heights.shape[1] - 1)}
    for i, name in enumerate(("sgdm", "adam")):
        values[f"{name}_rate"] = guide.number(rates[i], 2 - (rates[i] >= 0.1))
        values[f"{name}_early"], values[f"{name}_late"] = (guide.number(float(heights[i, at]), 3) for at in (20, -1))
    return guide.text(), Panels((guide.chart("optimizer", 520),), guide.words["caption"].format(**values))


def _inception(guide: _Guide) -> Parts:
    table = builtin_table("googlenet")
    at = next(i for i, row in enumerate(table.rows) if isinstance(row, Inception))
    row, shape = table.rows[at], table.layers()[at].input_shape
    assert isinstance(row, Inception)
    reduce, wide = Conv((1, 1), row.n5x5_reduce), Conv((5, 5), row.n5x5)
    reduced = reduce.macs(shape) + wide.macs(reduce.output_shape(shape))
    straight = wide.macs(shape)
    text = guide.text(
        reduced=guide.number(reduced / 1e6, 1),
        straight=guide.number(straight / 1e6, 1),
        channels=str(shape[0]),
        times=guide.number(straight / reduced, 1),
    )
    drawing = Drawing(module(row, shape), guide.words["title"], guide.words["caption"])
    return text, Panels((drawn(drawing, "", 500),), guide.words["caption"])


def _l2(guide: _Guide) -> Parts:
    arrays = guide.arrays
    errors = {
        f"{where}_{i}": guide.number(float(arrays["line_errors"][i, k]), 3) for i in (0, 1) for k, where in enumerate(("learnt", "others"))
    }
    n = len(arrays["line"]) - len(arrays["line_at"])
    caption = guide.words["caption"].format(n=n, l2=guide.number(float(arrays["line_l2"]), 3), **errors)
    return guide.text(), Panels((guide.chart("l2", 520),), caption)


def _dropout(guide: _Guide) -> Parts:
    others = 100 * guide.arrays["dropout_others"].astype(float)
    differences = others[1] - others[0]
    learnt, n, _ = guide.arrays["quarter_numbers"].tolist()
    caption = guide.words["caption"].format(
        share=guide.number(float(guide.arrays["dropout_share"]), 2),
        learnt=learnt,
        others=n,
        mean_0=guide.number(others[0].mean(), 1),
        mean_1=guide.number(others[1].mean(), 1),
        difference=guide.number(differences.mean(), 1, sign=True),
        least=guide.number(differences.min(), 1, sign=True),
        most=guide.number(differences.max(), 1, sign=True),
    )
    return guide.text(), Panels((guide.chart("dropout", 430),), caption)


def _augmentation(guide: _Guide) -> Parts:
    arrays, words = guide.arrays, guide.words
    panels = [guide.picture(arrays["picture"], words["original"], 112)]
    for made, (scale_x, scale_y, shift_x, shift_y, _) in zip(arrays["augmented"], arrays["augment_draws"].tolist(), strict=True):
        scales = {"scale_x": guide.number(scale_x, 2), "scale_y": guide.number(scale_y, 2)}
        shifts = {f"shift_{axis}": guide.number(224 * shift, sign=True) for axis, shift in (("x", shift_x), ("y", shift_y))}
        panels.append(guide.picture(made, words["drawn"].format(**scales, **shifts), 112))
    return guide.text(share=guide.number(100 * STUDY_SHIFT_PX / INPUT[1], 1)), Panels(tuple(panels), words["caption"])


_SECTIONS: dict[str, Callable[[_Guide], Parts]] = {
    "convolution": _convolution,
    "padding": _padding,
    "pooling": _pooling,
    "normalisation": _normalisation,
    "activation": _activation,
    "softmax": _softmax,
    "optimizer": _optimizer,
    "inception": _inception,
    "l2": _l2,
    "dropout": _dropout,
    "augmentation": _augmentation,
}
