"""Which pictures are shown, and those pictures: as the network sees them, as people see them, and as thumbnails."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tench.config import Preprocessing
from tench.data.decode import decode_image, resize
from tench.data.index import in_threads
from tench.data.sources import Source
from tench.errors import DataError
from tench.records import Predictions

HEAT_MAPS_EACH = 12
"""Of right and of wrong answers."""
WAYS = 3
MOST_THUMBNAILS = 1_500
SHOWN_PX = 224
THUMBNAIL_PX = 72
THUMBNAIL_QUALITY = 70


@dataclass(frozen=True)
class Choice:
    """Places among a run's test predictions: of pictures with heat maps, of those followed through the layers, of thumbnails."""

    heat: tuple[int, ...]
    ways: tuple[int, ...]
    thumbnails: tuple[int, ...]

    @property
    def shown(self) -> tuple[int, ...]:
        """All that are shown large, each once."""
        return tuple(dict.fromkeys((*self.heat, *self.ways)))


def choose(test: Predictions, seed: int) -> Choice:
    """The choice for these answers to the test pictures.

    The pictures are brought into an order that `seed` and their names alone decide, so that of several runs the same ones are shown
    as far as they were answered alike: the first twelve right and the first twelve wrong ones have heat maps, and the first three
    of different classes are followed through the layers. Thumbnails are of the wrong answers, the surest first.
    """
    order = sorted(range(len(test.names)), key=lambda i: hashlib.sha256(f"{seed}/{test.names[i]}".encode()).digest())
    right = [i for i in order if test.correct[i]][:HEAT_MAPS_EACH]
    wrong = [i for i in order if not test.correct[i]][:HEAT_MAPS_EACH]
    first_of_class: dict[int, int] = {}
    for i in order:
        first_of_class.setdefault(int(test.labels[i]), i)
    surest = np.argsort(-test.log_probabilities.max(axis=1), kind="stable")
    mistakes = [int(i) for i in surest if not test.correct[i]]
    return Choice((*right, *wrong), tuple(first_of_class.values())[:WAYS], tuple(mistakes[:MOST_THUMBNAILS]))


@dataclass(frozen=True)
class Shown:
    """One picture: `pixels` as the network takes it, `picture` for people, the same part of it at its own proportions; uint8 RGB."""

    pixels: NDArray[np.uint8]
    picture: NDArray[np.uint8]


def read_pictures(
    source: Source, shown: Iterable[str], thumbnails: Iterable[str], preprocessing: Preprocessing
) -> tuple[dict[str, Shown], dict[str, bytes]]:
    """The pictures of those names, and JPEG thumbnails of those names, read from `source` in one pass.

    Raises DataError where a picture is not there or is not what it was.
    """
    large, small = set(shown), set(thumbnails)

    def made(item: tuple[int, bytes]) -> tuple[str, Shown | None, bytes | None]:
        name = source.pictures[item[0]].name
        image = decode_image(item[1], name)
        return name, _as_shown(image, preprocessing) if name in large else None, _thumbnail(image) if name in small else None

    found = list(in_threads(made, source.stream(list(_positions(source, large | small)))))
    return {name: picture for name, picture, _ in found if picture}, {name: jpeg for name, _, jpeg in found if jpeg}


def _positions(source: Source, names: set[str]) -> Iterator[int]:
    places = {picture.name: i for i, picture in enumerate(source.pictures)}
    if missing := sorted(names - places.keys()):
        raise DataError(f"{source.name} has no picture {missing[0]}, which the run answered; give the run's own pictures by --data.")
    yield from (places[name] for name in sorted(names))


def _as_shown(image: Image.Image, p: Preprocessing) -> Shown:
    """A network that is given the centre alone is shown with the centre alone, so that its heat map lies where it belongs."""
    width, height = image.size
    if p.resize == "crop":
        proportion = p.width_px / p.height_px
        width, height = min(width, round(height * proportion)), min(height, round(width / proportion))
    factor = min(1.0, SHOWN_PX / max(width, height))
    picture = resize(image, max(1, round(height * factor)), max(1, round(width * factor)), p.resize)
    return Shown(resize(image, p.height_px, p.width_px, p.resize), picture)


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=THUMBNAIL_QUALITY)
    return file.getvalue()
