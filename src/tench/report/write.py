"""The report written: one HTML file, and where it is asked for its figures as PNG and SVG."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tench.errors import UsageError
from tench.networks.table import parse
from tench.records import write_bytes_atomically
from tench.report.charts import CurveLimits, confusion_figure, cost_figure, curves_figure, reliability_figure
from tench.report.closely import MOST_NETWORKS, looks
from tench.report.drawing import network_svg
from tench.report.gathering import Material, gather
from tench.report.page import LIMIT_MB, Asked, html_page, points, trained
from tench.report.pictures import filter_tiles, heat_over, png, sheet
from tench.report.plotting import png_file, styled, svg_file
from tench.report.seeing import FILTER_COLUMNS, MOST_FILTERS
from tench.report.words import LANGUAGES, Words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAT_COLUMNS = 6


@dataclass(frozen=True)
class Written:
    """What was written: the page, its size, and the figures' files."""

    page: Path
    bytes: int
    figures: tuple[Path, ...]


def write_report(
    references: Sequence[str],
    page: Path,
    lang: str = "en",
    photographs: bool = True,
    figures: Path | None = None,
    folder: Path | None = None,
) -> Written:
    """Write the report on the runs that `references` name (`gathering.gather`) as the file `page`, and its figures into `figures`.

    `lang` is "en" or "pl"; without `photographs` nothing shows any, but demo pictures are no photographs. `folder`: the runs folder.
    Raises UsageError for another language, for runs that are not finished, and where the page could not be kept below its limit.
    """
    if lang not in LANGUAGES:
        raise UsageError(f"The report can be written in {' or '.join(LANGUAGES)}; '{lang}' is neither.")
    material = gather(references, folder)
    text = html_page(material, Asked(_command(references, page, lang, photographs), lang, photographs), datetime.now(UTC).date()).encode()
    if len(text) > LIMIT_MB * 1_000_000:
        raise UsageError(
            f"The report would be {len(text) / 1e6:.1f} MB large, and {LIMIT_MB} are the most: it is of too many runs"
            f" ({len(material.runs)}). Name fewer of them."
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(page, text)
    return Written(page, len(text), tuple(_write_figures(material, figures, Words(lang), photographs)) if figures else ())


def _command(references: Sequence[str], page: Path, lang: str, photographs: bool) -> str:
    """The command that makes the report again; of folders elsewhere only the last name, since a page may be given away."""
    named = [Path(reference).name if Path(reference).is_absolute() else reference for reference in references]
    parts = ["tench", "report", *named, "-o", page.name, "--lang", lang]
    return shlex.join([*parts, *([] if photographs else ["--photographs", "none"])])


def _write_figures(material: Material, folder: Path, words: Words, photographs: bool) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [*_chart_files(material, words), *_drawing_files(material, words), *_picture_files(material, photographs)]
    for name, content in files:
        write_bytes_atomically(folder / name, content)
        yield folder / name


def _chart_files(material: Material, words: Words) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every chart, as SVG and as PNG."""
    for name, draw, *values in _charts(material, words):
        with styled(name):
            figure: Figure = draw(*values, words)
            yield f"{name}.svg", svg_file(figure).encode()
            yield f"{name}.png", png_file(figure)


def _charts(material: Material, words: Words) -> Iterator[tuple[Any, ...]]:
    """(name, function, its arguments but the words) of every chart."""
    yield "cost", cost_figure, points(material)
    arms = trained(material)
    limits = CurveLimits.of([run.history() for arm in arms for run in arm.runs]) if arms else None
    for arm in arms:
        yield f"curves-{_plain(arm.name)}", curves_figure, arm, limits
    for look in looks(material.arms[:MOST_NETWORKS], words):
        yield f"confusion-{_plain(look.arm.name)}", confusion_figure, look.confusion, look.classes
        yield f"reliability-{_plain(look.arm.name)}", reliability_figure, look.reliability


def _drawing_files(material: Material, words: Words) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every network's drawing, as SVG."""
    for arm in material.arms:
        if arm.record.network.kind == "table":
            yield f"network-{_plain(arm.name)}.svg", network_svg(parse(arm.record.network.text), words.lang).encode()


def _picture_files(material: Material, photographs: bool) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of first filters and heat maps, as PNG."""
    for arm in material.arms:
        exhibits, arrays = arm.shown.exhibits(), arm.shown.exhibit_arrays()
        if exhibits and exhibits.filters is not None:
            tiles = filter_tiles(arrays["filters"], MOST_FILTERS)
            yield f"filters-{_plain(arm.name)}.png", png(sheet(tiles, FILTER_COLUMNS, paper=255))
        if exhibits and exhibits.heat_maps and (photographs or arm.record.data.is_demo):
            pairs = [(arrays[f"picture/{one.key}"], arrays[f"heat/{one.key}"]) for one in exhibits.heat_maps]
            yield f"heat-{_plain(arm.name)}.png", png(sheet([heat_over(*pair) for pair in pairs], HEAT_COLUMNS, paper=255))


def _plain(name: str) -> str:
    """`name` as part of a file's name anywhere."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "network"
