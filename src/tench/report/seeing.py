"""What exhibits show: heat maps, first filters, maps through the layers, each as pictures with words, while there is room for them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.comparison.arms import Arm
from tench.records import Exhibits, HeatMap, Way
from tench.report.canvas import Drawing
from tench.report.closely import class_names
from tench.report.panels import Panels, picture
from tench.report.pictures import (
    HEAT_PX,
    WAY_PX,
    Budget,
    filter_tiles,
    heat_over,
    jpeg,
    jpeg_uri,
    map_tiles,
    png,
    png_uri,
    sheet,
)
from tench.report.words import Said, Words

MOST_FILTERS = 64
FILTER_COLUMNS = 16
MAP_COLUMNS = 8
WIDTHS_PX = {"heat": 280.0, "filters": 480.0, "way": 280.0, "picture": 140.0}
"""In a file, by kind of plate."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Shown:
    """A picture with its words; `under` is drawn under it, smaller."""

    uri: str
    pixels: NDArray[np.uint8] = field(compare=False)
    """The same before it was made small for the page, beside its heat map if it has one."""
    alt: str
    words: str = ""
    under: str = ""
    beside: str | None = None
    """The picture itself, beside its heat map."""


@dataclass(frozen=True)
class Plate:
    """A figure of pictures: `kind` is heat, filters or way."""

    kind: str
    caption: str
    pictures: tuple[Shown, ...]
    method: Said | None = None
    """How it was computed."""


def plates(arm: Arm, photographs: bool, budget: Budget, words: Words) -> Iterator[Plate]:
    """The figures of `arm`'s shown run; none where it has no exhibits. Without `photographs` only the filters of networks that saw some."""
    exhibits = arm.shown.exhibits()
    if exhibits is None:
        return
    seer = _Seer(arm, exhibits, arm.shown.exhibit_arrays(), words)
    if exhibits.filters is not None:
        yield seer.filters()
    if not (photographs or arm.record.data.is_demo):
        return
    made = [plate for plate in [seer.heat(), *(seer.way(way) for way in exhibits.ways)] if plate.pictures]
    if budget.room_for(sum(_size(plate) for plate in made)):
        yield from made
    else:
        budget.refused.append(arm.name)


def plate_drawing(plate: Plate) -> Drawing:
    """A plate for a file: its pictures side by side with their words."""
    panels = [picture(shown.pixels, f"{shown.words}\n{shown.under}".strip(), _width(plate, shown)) for shown in plate.pictures]
    return Panels(tuple(panels), escape(plate.caption)).drawing(plate.caption)


def _width(plate: Plate, shown: Shown) -> float:
    """In a file; a picture itself goes before its maps and is less wide."""
    return WIDTHS_PX[plate.kind] if shown.words or plate.kind == "filters" else WIDTHS_PX["picture"]


def _size(plate: Plate) -> int:
    return sum(len(shown.uri) + len(shown.beside or "") for shown in plate.pictures)


@dataclass(frozen=True)
class _Seer:
    """Makes plates from one run's exhibits."""

    arm: Arm
    exhibits: Exhibits
    arrays: Arrays
    words: Words

    def _class(self, index: int) -> str:
        return class_names(self.arm, self.words)[index]

    def filters(self) -> Plate:
        kernels = self.arrays["filters"]
        tiles = filter_tiles(kernels, MOST_FILTERS)
        pixels = sheet(tiles, FILTER_COLUMNS, gap=5, paper=255)
        shown = Shown(png_uri(png(pixels)), pixels, self.words("seeing.filters_alt", n=len(tiles)))
        caption = self.words("seeing.filters", name=self.arm.name, row=self.exhibits.filters, shown=len(tiles), n=len(kernels))
        return Plate("filters", caption, (shown,))

    def heat(self) -> Plate:
        maps = sorted(self.exhibits.heat_maps, key=lambda one: one.label != one.answer)
        right = sum(one.label == one.answer for one in maps)
        caption = self.words("seeing.heat", name=self.arm.name, right=right, wrong=len(maps) - right)
        return Plate("heat", caption, tuple(self._heat(one) for one in maps), self.words.said("methods", self.exhibits.heat_method))

    def _heat(self, one: HeatMap) -> Shown:
        picture = self.arrays[f"picture/{one.key}"]
        over = heat_over(picture, self.arrays[f"heat/{one.key}"])
        key = "seeing.right" if one.label == one.answer else "seeing.wrong"
        said = self.words(key, label=self._class(one.label), answer=self._class(one.answer))
        return Shown(
            uri=jpeg_uri(jpeg(over, HEAT_PX)),
            pixels=sheet([picture, over], 2, gap=3, paper=255),
            alt=self.words("seeing.alt", name=one.name, words=said),
            words=said,
            under=self.words("seeing.certainty", p=self.words.percent(one.probability, 1)),
            beside=jpeg_uri(jpeg(picture, HEAT_PX)),
        )

    def way(self, way: Way) -> Plate:
        picture = self.arrays[f"picture/{way.key}"]
        shown = [Shown(jpeg_uri(jpeg(picture, WAY_PX)), picture, self.words("seeing.picture_alt", name=way.name))]
        for layer in way.layers:
            tiles = map_tiles(self.arrays[f"maps/{layer.key}"])
            size = self.words("seeing.maps", channels=layer.channels, height=layer.height_px, width=layer.width_px)
            pixels = sheet(tiles, min(MAP_COLUMNS, len(tiles)))
            shown.append(
                Shown(jpeg_uri(jpeg(pixels, 10_000, quality=70)), pixels, self.words("seeing.map_alt", row=layer.title), layer.title, size)
            )
        caption = self.words(
            "seeing.way",
            name=self.arm.name,
            picture=way.name,
            answer=self._class(way.answer),
            label=self._class(way.label),
            p=self.words.percent(way.probability, 1),
        )
        return Plate("way", caption, tuple(shown))
