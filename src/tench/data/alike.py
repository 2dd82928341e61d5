"""Photographs that occur twice, but not as the same file: recompressed, rescaled, slightly cropped, brighter or mirrored.

All pictures are compared as `_structure`: 32 x 32 grey pixels, each less the mean of its neighbourhood and over its standard
deviation, so that neither brightness nor a frame nor a strong contrast in one place decides. Of all pairs those with similar
low frequencies are candidates; on these the correlation is measured after one picture was fitted into the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tench.config import Preprocessing
from tench.data.cache import decoded
from tench.data.sources import Picture, Source

PX = 32
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
SMOOTHED_PX, NEIGHBOURHOOD_PX = 0.7, 2.0
"""Standard deviations of the Gaussians that take away what recompressing changes, and that make up a neighbourhood."""
FAINT = 4.0
"""Added to the local standard deviation, in grey levels of 255: what varies less than this counts for less."""
FLAT, EDGE_PX = 0.05, 6
"""A structure whose root mean square is less than FLAT but for its edges shows nothing: a plain colour or an even shade (which has some
structure at the edges, where neighbourhoods are one-sided). Such pictures are like no other; Imagenette has none, its least is 0.09."""
COSINES = 8
"""Along each side: the signature is the 8 x 8 lowest frequencies."""
CANDIDATE = 0.65
"""Of signatures' products: 14,591 of Imagenette's 89.7 million pairs have as much, and 1 in 400 of the copies cropped by 5 % has less."""
LEAST = 0.89
"""Of likenesses: how it was found says `near_duplicates`."""
BLOCK, PAIRS = 1024, 256
"""Pictures compared with as many others, and candidates measured, at a time: this bounds the memory, to some 50 MB."""
WINDOWS = tuple((round((1 - length) * place, 4), length) for length in (1.0, 0.95, 0.9) for place in (0.0, 0.5, 1.0))[2:]
"""(start, length) as shares of a side: all of it, 95 % and 90 % at the beginning, in the middle and at the end."""

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Alike:
    """Two pictures by their names. `likeness` from 0 to 1: their correlation; `mirrored`: one of them is the other's mirror image."""

    first: str
    second: str
    likeness: float
    mirrored: bool


def near_duplicates(source: Source, least: float = LEAST) -> list[Alike]:
    """Pairs of pictures with a likeness of `least` (0 to 1) or more, most alike first; identical files are no pairs.

    Of a training and a validation picture the training picture is `first`, else they are in the order of their names. Copies that
    differ by more than 5 % of a side, turned ones, and other pictures of the same scene are not looked for.

    LEAST by measurement, on copies made of 400 photographs of Imagenette at 224 pixels. Of 400 were found: JPEG of quality 70, 50,
    30: 400, 399, 399; half the size 400; mirrored 400; times 0.7 and 1.3 as bright 399, 398; 5 % off height and width anywhere 397,
    at one corner 395; mirrored, 5 % off, darker, 128 pixels and quality 50 at once 395; 10 % off only 170. Of the second 200
    of them, at which nobody had looked before all was fixed, about as many were found as of the first.
    In Imagenette itself (89.7 million pairs) none is found: the most alike candidates have 0.836. Of the 66 from 0.754 on (26 of them
    between training and validation), all looked at, none was such a copy. One was the same photograph with its background painted
    over (0.759, training and validation), three were other shots of a scene; the rest, also all above 0.8, was false: frames, wares
    on white, skies. The most alike demo pictures, golf balls, have 0.884. Imagenette takes 6 s on one core, and 8 s more the first time.
    """
    pixels, pictures = decoded(source, Preprocessing(height_px=PX, width_px=PX)), source.pictures
    signatures = np.concatenate([_signature(_structure(pixels[i : i + BLOCK])) for i in range(0, len(pixels), BLOCK)])
    found: dict[tuple[int, int], tuple[float, bool]] = {}
    for first, second, mirrored in _candidates(signatures):
        others = _structure(pixels[second])
        likeness = _likeness(_structure(pixels[first]), others[:, :, ::-1] if mirrored else others)
        for k in np.flatnonzero(likeness >= least):
            pair = int(first[k]), int(second[k])
            if pictures[pair[0]].sha256 != pictures[pair[1]].sha256:
                found[pair] = max(found.get(pair, (0.0, False)), (min(float(likeness[k]), 1.0), mirrored))
    pairs = [_pair(pictures[i], pictures[j], *how) for (i, j), how in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.likeness, pair.first, pair.second))


def _pair(a: Picture, b: Picture, likeness: float, mirrored: bool) -> Alike:
    first, second = sorted((a, b), key=lambda picture: (picture.split != "train", picture.name))
    return Alike(first.name, second.name, likeness, mirrored)


def _structure(pixels: NDArray[np.uint8]) -> Pixels:
    """Of RGB pictures of shape (n, PX, PX, 3) the grey values less their local mean over the local standard deviation: (n, PX, PX).

    The root mean square of natural pictures is about 0.7. Local contrast normalisation, after Jarrett et al. 2009.
    """
    smooth, around = _gaussian(SMOOTHED_PX), _gaussian(NEIGHBOURHOOD_PX)
    grey = smooth @ np.tensordot(pixels.astype(np.float32), np.array(GREY, np.float32), 1) @ smooth.T
    detail = grey - around @ grey @ around.T
    deviation = np.sqrt(around @ (detail * detail) @ around.T)
    return (detail / (deviation + FAINT)).astype(np.float32, copy=False)


def _signature(structure: Pixels) -> Pixels:
    """The lowest frequencies (DCT-II) of structures, as vectors of length 1: shape (n, COSINES**2). Of flat pictures it is zero."""
    frequency, place = np.mgrid[:COSINES, :PX]
    cosines = np.cos(np.pi * frequency * (2 * place + 1) / (2 * PX)).astype(np.float32)
    cosines[0] /= np.sqrt(2)
    signature = (cosines @ structure @ cosines.T).reshape(len(structure), -1)
    length = np.linalg.norm(signature, axis=1, keepdims=True)
    inside = structure[:, EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]
    shows = (inside**2).mean((1, 2)) >= FLAT**2
    vectors: Pixels = signature / np.maximum(length, np.float32(1e-6)) * shows[:, None]
    return vectors


def _candidates(signatures: Pixels) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], bool]]:
    """(first, second, mirrored): indices of at most PAIRS pairs at a time whose signatures' product is CANDIDATE or more."""
    odd = np.where(np.arange(COSINES**2) % 2 == 1, -1, 1).astype(np.float32)  # a mirror turns the sign of odd horizontal frequencies
    for top in range(0, len(signatures), BLOCK):
        for left in range(top, len(signatures), BLOCK):
            for mirrored in (False, True):
                rows = signatures[top : top + BLOCK] * (odd if mirrored else 1)
                i, j = np.nonzero(rows @ signatures[left : left + BLOCK].T >= CANDIDATE)
                first, second = (i + top)[i + top < j + left], (j + left)[i + top < j + left]
                for start in range(0, len(first), PAIRS):
                    yield first[start : start + PAIRS], second[start : start + PAIRS], mirrored


def _likeness(first: Pixels, second: Pixels) -> Pixels:
    """The correlation of structures of shape (n, PX, PX), pair by pair, after the better of the two was fitted into the other: (n,)."""
    return np.maximum(_fitted(first, second), _fitted(second, first))


def _fitted(whole: Pixels, part: Pixels) -> Pixels:
    """The correlation of `part` with that window of `whole` that is most like it: the best of rows, then of columns."""
    windows = np.stack([_window(start, length) for start, length in WINDOWS])
    rows = np.stack([_correlation(window @ whole, part) for window in windows]).argmax(0)
    cut = windows[rows] @ whole
    best: Pixels = np.stack([_correlation(cut @ window.T, part) for window in windows]).max(0)
    return best


def _correlation(first: Pixels, second: Pixels) -> Pixels:
    """Of pictures of shape (n, PX, PX), pair by pair: -1 to 1, shape (n,)."""
    a, b = (x - x.mean((1, 2), keepdims=True) for x in (first, second))
    product: Pixels = np.einsum("nyx,nyx->n", a, b) / np.sqrt(np.einsum("nyx,nyx->n", a, a) * np.einsum("nyx,nyx->n", b, b) + 1e-6)
    return product


def _gaussian(std_px: float) -> Pixels:
    """A matrix (PX, PX) that smooths columns of pixels; at the edges over the pixels that are there."""
    weights = np.exp(-((np.arange(PX)[:, None] - np.arange(PX)) ** 2) / (2 * std_px**2))
    matrix: Pixels = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return matrix


def _window(start: float, length: float) -> Pixels:
    """A matrix (PX, PX) that stretches a part of a column of pixels to its whole length, bilinearly."""
    place = ((np.arange(PX) + 0.5) * length + start * PX - 0.5).clip(0, PX - 1)
    matrix: Pixels = np.maximum(0, 1 - abs(place[:, None] - np.arange(PX))).astype(np.float32)
    return matrix
