"""Occlusion's maps are hot where covering costs the class most, by a network whose answer is known in closed form."""

import numpy as np
from numpy.typing import NDArray

from tench.explain.occlusion import BATCH, GREY, occlusion

PIXELS = np.full((24, 36, 3), GREY, dtype=np.uint8)
PIXELS[4:6, 30:33] = 255


def look(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Class 0: how bright the picture is; class 1: how dark. No more than BATCH pictures at a time."""
    assert 1 <= len(pixels) <= BATCH
    assert pixels.shape[1:] == PIXELS.shape
    bright = pixels.astype(np.float64).sum((1, 2, 3)) - float(PIXELS.size * GREY)
    return np.stack([bright, -bright], axis=1)


def test_the_map_is_hot_where_the_evidence_is_covered() -> None:
    found = occlusion(look, PIXELS, target=0)
    assert found.heat.shape == (12, 12)
    assert found.heat.dtype == np.uint8
    # The bright spot is rows 4 to 5 and columns 30 to 32: cell (2, 10); the patch is 4 x 6 pixels on the middle of each cell.
    assert found.heat[2, 10] == found.heat.max() == 255
    expected = np.zeros((12, 12))
    for row, column in np.ndindex(12, 12):
        top, left = round((row + 0.5) * 2 - 2), round((column + 0.5) * 3 - 3)
        covered = PIXELS[max(0, top) : top + 4, max(0, left) : left + 6].astype(int) - GREY
        expected[row, column] = covered.sum()
    assert np.array_equal(found.heat, np.round(255 * expected / expected.max()))
    assert (found.patch_px, found.stride_px) == ((4.0, 6.0), (2.0, 3.0))
    assert found.method == "Occlusion: a grey patch of 4 x 6 pixels, moved by 2 x 3; the fall of the class's log-probability"


def test_where_covering_only_helps_there_is_no_heat() -> None:
    assert not occlusion(look, PIXELS, target=1).heat.any()


def test_a_picture_smaller_than_the_grid_has_a_cell_a_pixel() -> None:
    small = np.zeros((5, 20, 3), dtype=np.uint8)
    found = occlusion(lambda pixels: pixels[:, 2, 7].astype(np.float32), small + np.uint8(255), target=0)
    assert found.heat.shape == (5, 12)
    assert found.heat[2].argmax() in (3, 4)
