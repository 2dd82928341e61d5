"""The mean picture and the channels' mean and spread of the pictures a network is fitted on."""

from dataclasses import dataclass

import numpy as np

CHUNK = 256
"""Pictures looked at at a time, so that memory stays small however many there are."""


@dataclass(frozen=True)
class PixelStatistics:
    """In units of 0-255, RGB. `mean_picture` (height, width, 3); `mean` and `std` (3,) over all pictures and places."""

    mean_picture: np.ndarray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def pixel_statistics(pixels: np.ndarray, indices: np.ndarray) -> PixelStatistics:
    """Statistics of `pixels[indices]`, uint8 (n, height, width, 3), summed in integers: exact, whatever the order."""
    total = np.zeros(pixels.shape[1:], dtype=np.int64)
    squares = np.zeros(3, dtype=np.int64)
    for first in range(0, len(indices), CHUNK):
        chunk = pixels[np.sort(indices[first : first + CHUNK])]
        total += chunk.sum(axis=0, dtype=np.int64)
        squares += np.square(chunk, dtype=np.int32).sum(axis=(0, 1, 2), dtype=np.int64)
    mean_picture = total / len(indices)
    mean = mean_picture.mean(axis=(0, 1))
    variance = squares / (len(indices) * pixels.shape[1] * pixels.shape[2]) - mean**2
    red, green, blue = mean.tolist()
    s_red, s_green, s_blue = np.sqrt(np.maximum(variance, 1.0)).tolist()  # a set of one colour must not divide by zero
    return PixelStatistics(mean_picture, (red, green, blue), (s_red, s_green, s_blue))
