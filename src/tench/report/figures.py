"""The figures of a report as files: each as SVG and as PNG."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tench.comparison.arms import Arm
from tench.records import make_folder, write_bytes_atomically
from tench.report.charts import CurveLimits, confusion_figure, cost_figure, curves_figure, reliability_figure, reported_figure
from tench.report.closely import MOST_NETWORKS, looks
from tench.report.drawing_files import svg_and_png
from tench.report.gathering import Material
from tench.report.page import drawings, guide, points, reported_points, trained
from tench.report.pictures import Budget
from tench.report.plotting import png_file, styled, svg_file
from tench.report.seeing import plate_drawing, plates
from tench.report.words import Words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_LIMIT = 10**12
"""Bytes of pictures: files take what they need."""


def write_figures(material: Material, folder: Path, words: Words, photographs: bool) -> Iterator[Path]:
    """Write every figure of the page into `folder`, and the matrices of confusions, which are tables there.

    Without `photographs` none shows any, as on the page.
    """
    make_folder(folder)
    for name, content in _files(material, words, photographs):
        write_bytes_atomically(folder / name, content)
        yield folder / name


def _files(material: Material, words: Words, photographs: bool) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of each."""
    names = _names(material.arms)
    yield from _charts(material, names, words)
    for arm, drawing in drawings(material, words):
        yield from svg_and_png(f"network-{names[arm.key]}", drawing)
    for arm in material.arms[:MOST_NETWORKS]:
        numbers = Counter[str]()
        for plate in plates(arm, photographs, Budget(NO_LIMIT), words):
            numbers[plate.kind] += 1
            which = f"-{numbers['way']}" if plate.kind == "way" else ""
            yield from svg_and_png(f"{plate.kind}-{names[arm.key]}{which}", plate_drawing(plate))
    for section in guide(material, words.lang, photographs):
        for number, figure in enumerate(section.figures, start=1):
            yield from svg_and_png(f"guide-{section.key}-{number}", figure.drawing(section.title))


def _charts(material: Material, names: dict[str, str], words: Words) -> Iterator[tuple[str, bytes]]:
    for name, draw, *values in _drawn_by(material, names, words):
        with styled(name):
            figure: Figure = draw(*values, words)
            yield f"{name}.svg", svg_file(figure).encode()
            yield f"{name}.png", png_file(figure)


def _drawn_by(material: Material, names: dict[str, str], words: Words) -> Iterator[tuple[Any, ...]]:
    """(name, function, its arguments but the words) of every chart."""
    yield "cost", cost_figure, points(material)
    if repeated := reported_points(material):
        yield "reported", reported_figure, repeated
    arms = trained(material)
    limits = CurveLimits.of([run.history() for arm in arms for run in arm.runs]) if arms else None
    for arm in arms:
        yield f"curves-{names[arm.key]}", curves_figure, arm, limits
    for look in looks(material.arms[:MOST_NETWORKS], words):
        yield f"confusion-{names[look.arm.key]}", confusion_figure, look.confusion, look.classes
        yield f"reliability-{names[look.arm.key]}", reliability_figure, look.reliability


def _names(arms: Sequence[Arm]) -> dict[str, str]:
    """Each arm's name by its key, as part of a file's name anywhere; those that would be alike are numbered."""
    names, taken = dict[str, str](), Counter[str]()
    for arm in arms:
        plain = re.sub(r"[^A-Za-z0-9_.]+", "-", arm.name).strip("-.") or "network"
        taken[plain.lower()] += 1
        number = taken[plain.lower()]
        names[arm.key] = f"{plain}-{number}" if number > 1 else plain
    return names
