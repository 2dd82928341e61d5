"""Pictures decoded once at the size in use, as one array on disk that is mapped into memory."""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray

from tench.config import Preprocessing
from tench.data.decode import PictureError, decode_image, resize
from tench.data.index import THREADS, cache_file, in_threads
from tench.data.sources import Source, bad_pictures
from tench.errors import DataError
from tench.records.files import ARCHIVE_ERRORS, TEMPORARY_SUFFIX, written_atomically

VERSION = 1
"""To be raised when the pixels that `decode` and `resize` make of a file change."""

ABANDONED_AFTER_S = 24 * 3600

Progress = Callable[[int, int | None], None]
"""Called with the pictures decoded so far and their total."""


def decoded(source: Source, preprocessing: Preprocessing, progress: Progress | None = None) -> NDArray[np.uint8]:
    """All pictures of `source` at the size of `preprocessing`: read-only uint8 RGB memmap of shape (n, height_px, width_px, 3).

    In the order of `source.pictures`. Made on first use (in one pass, by two threads) and kept in the cache by content,
    size and way of resizing; of two processes that make it at the same time each makes it whole.
    Raises DataError that lists every picture that cannot be decoded, and RecordError if the cache cannot be written.
    """
    shape = (len(source.pictures), preprocessing.height_px, preprocessing.width_px, 3)
    path = _path(source, preprocessing)
    pixels = _mapped(path, shape)
    if pixels is None:
        _remove_abandoned(path.parent)
        with written_atomically(path) as temporary:
            _write(temporary, shape, source, preprocessing, progress)
        pixels = _mapped(path, shape)
    if pixels is None:
        raise DataError(f"{path} cannot be read back after it was written. Check the disk, or set TENCH_CACHE to a folder on another one.")
    return pixels


def decoding_s(source: Source, preprocessing: Preprocessing, sample: int = 32) -> float:
    """Seconds that `decoded` will take about, from the time of the first `sample` pictures; 0 where they are in the cache already."""
    if _mapped(_path(source, preprocessing), (len(source.pictures), preprocessing.height_px, preprocessing.width_px, 3)) is not None:
        return 0.0
    began, done = time.perf_counter(), 0
    for position, content in islice(source.stream(), sample):
        done += 1
        with suppress(PictureError):
            image = decode_image(content, source.pictures[position].name)
            resize(image, preprocessing.height_px, preprocessing.width_px, preprocessing.resize)
    return (time.perf_counter() - began) / THREADS * len(source.pictures) / max(done, 1)


def _path(source: Source, preprocessing: Preprocessing) -> Path:
    p = preprocessing
    key = f"{VERSION} {PIL.__version__} {source.sha256} {p.height_px} {p.width_px} {p.resize}"
    return cache_file("decoded", f"{p.height_px}x{p.width_px}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy")


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left half written: such files can be of gigabytes."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError):  # its writer has just finished
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                path.unlink()


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    try:
        pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ARCHIVE_ERRORS:  # not there, or cut short: made anew
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _write(path: Path, shape: tuple[int, ...], source: Source, preprocessing: Preprocessing, progress: Progress | None) -> None:
    """Write the .npy by plain writes: a full disk is then an error, and not the end of the process as with a writable map."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        bad = _write_pictures(file, source, preprocessing, progress)
    if bad:
        raise bad_pictures(source.location, bad)


def _write_pictures(file: BinaryIO, source: Source, preprocessing: Preprocessing, progress: Progress | None) -> list[tuple[str, str]]:
    """Write each picture to its place behind the header; returns (name, reason) of those that cannot be decoded."""
    start, size = file.tell(), preprocessing.height_px * preprocessing.width_px * 3
    bad: list[tuple[str, str]] = []

    def at_size(item: tuple[int, bytes]) -> tuple[int, NDArray[np.uint8] | PictureError]:
        position, content = item
        try:
            image = decode_image(content, source.pictures[position].name)
        except PictureError as error:
            return position, error
        return position, resize(image, preprocessing.height_px, preprocessing.width_px, preprocessing.resize)

    for done, (position, result) in enumerate(in_threads(at_size, source.stream()), start=1):
        if isinstance(result, PictureError):
            bad.append((source.pictures[position].name, result.reason))
        else:
            file.seek(start + position * size)
            file.write(result.data)
        if progress:
            progress(done, len(source.pictures))
    return bad
