"""What a run shows beside its figures: filters, feature maps, heat maps, thumbnails. Written by `explain`, drawn by the report.

They lie in `exhibits/` of the run's folder and hold the pictures themselves, so they are never published with a run's small files.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from tench.errors import RecordError
from tench.records.files import ARCHIVE_ERRORS, write_json_atomically, written_atomically
from tench.records.model import Fact

FOLDER = "exhibits"
EXHIBITS = "exhibits.json"
ARRAYS = "arrays.npz"
THUMBNAILS = "thumbnails.zip"
SCHEMA_VERSION = 1

REMEDY = "Make them again by `tench explain RUN`, or delete that folder."


class HeatMap(Fact):
    """One picture and where in it the network found its answer."""

    key: str
    """Arrays `picture/<key>`, uint8 (h, w, 3) RGB with a longest side of at most 224 pixels, and `heat/<key>`, uint8 (rows, columns),
    0 to 255 for the least to the most important place; the map covers the whole picture, however coarse it is."""
    name: str
    """The picture's in the data."""
    label: int = Field(ge=0)
    answer: int = Field(ge=0)
    target: int = Field(ge=0)
    """The class whose evidence is shown, an index like `label` and `answer`."""
    probability: float = Field(ge=0, le=1)
    """Of the answer."""


class LayerMaps(Fact):
    """What one row of the network makes of one picture."""

    key: str
    """Array `maps/<key>`, uint8 (shown, h, w), at most 16 of the row's channels, each scaled to its own 0 to 255."""
    title: str
    """The row's text, such as "Conv, 3x3, 64"."""
    channels: int = Field(ge=1)
    height_px: int = Field(ge=1)
    width_px: int = Field(ge=1)


class Way(Fact):
    """One picture on its way through the layers."""

    key: str
    """Array `picture/<key>`, as a HeatMap's."""
    name: str
    label: int = Field(ge=0)
    answer: int = Field(ge=0)
    probability: float = Field(ge=0, le=1)
    layers: tuple[LayerMaps, ...]


class Exhibits(Fact):
    """What there is to see of a run; the arrays that the keys name are in `Run.exhibit_arrays`."""

    schema_version: Literal[1] = 1
    run_id: str
    made: str
    """ISO 8601 with time zone."""
    heat_method: str
    """How the heat maps were computed, or why there are none."""
    filters: str | None
    """The text of the first convolution's row, whose kernels are the array `filters`, float32 (n, 3, height, width), channels RGB;
    None: there is no convolution that looks at the picture itself."""
    heat_maps: tuple[HeatMap, ...]
    ways: tuple[Way, ...]
    thumbnails: bool
    """Whether there are thumbnails of wrongly answered test pictures."""

    def expected_arrays(self) -> Iterator[tuple[str, str, int]]:
        """(name, dtype, number of dimensions) of every array that belongs to it."""
        if self.filters is not None:
            yield "filters", "float32", 4
        for key in (*(heat_map.key for heat_map in self.heat_maps), *(way.key for way in self.ways)):
            yield f"picture/{key}", "uint8", 3
        for heat_map in self.heat_maps:
            yield f"heat/{heat_map.key}", "uint8", 2
        for way in self.ways:
            for layer in way.layers:
                yield f"maps/{layer.key}", "uint8", 3


def save_exhibits(run_folder: Path, exhibits: Exhibits, arrays: Mapping[str, NDArray[Any]], thumbnails: Mapping[str, bytes]) -> None:
    """Write a run's exhibits in place of earlier ones. `thumbnails` are JPEG files by the names of the pictures.

    exhibits.json is written last and taken away first, so that it never names what is not there. Raises RecordError where they
    do not fit together or cannot be written.
    """
    folder = run_folder / FOLDER
    _check(exhibits, arrays, folder)
    try:
        folder.mkdir(exist_ok=True)
        (folder / EXHIBITS).unlink(missing_ok=True)
        (folder / THUMBNAILS).unlink(missing_ok=True)
    except OSError as error:
        raise RecordError(f"{folder} could not be written: {error.strerror}. Mend the folder, then try again.") from error
    with written_atomically(folder / ARRAYS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    if thumbnails:
        with written_atomically(folder / THUMBNAILS) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, jpeg in thumbnails.items():
                archive.writestr(_member(name), jpeg)
    write_json_atomically(folder / EXHIBITS, exhibits.model_dump())


def read_exhibits(run_folder: Path) -> Exhibits | None:
    """The exhibits in a run's folder; None where none were made. Raises RecordError if they are damaged or of a newer tench."""
    path = run_folder / FOLDER / EXHIBITS
    try:
        values = json.loads(path.read_bytes())
        version = values.get("schema_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise RecordError(f"{path} was written by a newer tench: its schema is {version}. Update tench.")
        return Exhibits.model_validate(values)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise RecordError(f"{path} is damaged: {wrong}. {REMEDY}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged: {error}. {REMEDY}") from error


def read_arrays(run_folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a run's exhibits by their names; none where no exhibits were made. Raises RecordError if they are damaged."""
    exhibits = read_exhibits(run_folder)
    if exhibits is None:
        return {}
    path = run_folder / FOLDER / ARRAYS
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except ARCHIVE_ERRORS as error:
        raise RecordError(f"{path} is missing or damaged: {error}. {REMEDY}") from error
    _check(exhibits, arrays, path)
    return arrays


def read_thumbnails(run_folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """JPEG files, 72 pixels at the longest side, of those pictures in `names` that have one. Raises RecordError if damaged."""
    exhibits = read_exhibits(run_folder)
    if exhibits is None or not exhibits.thumbnails:
        return {}
    path = run_folder / FOLDER / THUMBNAILS
    try:
        with zipfile.ZipFile(path) as archive:
            kept = set(archive.namelist())
            return {name: archive.read(_member(name)) for name in names if _member(name) in kept}
    except ARCHIVE_ERRORS as error:
        raise RecordError(f"{path} is missing or damaged: {error}. {REMEDY}") from error


def _check(exhibits: Exhibits, arrays: Mapping[str, NDArray[Any]], where: Path) -> None:
    """Raise RecordError unless every array that `exhibits` names is there, of its kind."""
    for name, dtype, dimensions in exhibits.expected_arrays():
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.ndim != dimensions:
            found = "is not there" if array is None else f"is {array.dtype} {array.shape}"
            raise RecordError(f"{where} does not fit its {EXHIBITS}: {name} {found}. {REMEDY}")


def _member(name: str) -> str:
    return f"{name}.jpg"
