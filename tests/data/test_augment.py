"""Augmentation: draws that depend on (seed, epoch, index) alone, and a map that agrees with an independent one."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from tench.config import Options
from tench.data.augment import IDENTITY, MIRROR, augment, corners, crop, draws, mirrored_windows, only_mirrors
from tench.errors import ConfigError


def pictures(n: int = 4, height: int = 20, width: int = 24, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(values).contiguous(memory_format=torch.channels_last)


def row(scale_x: float = 1, scale_y: float = 1, shift_x: float = 0, shift_y: float = 0, mirror: float = 0) -> np.ndarray:
    return np.array([[scale_x, scale_y, shift_x, shift_y, mirror]])


def test_a_row_depends_on_seed_epoch_and_index_alone() -> None:
    options = Options(mirror=True)
    many = draws(3, 5, 1000, options)
    assert np.array_equal(many[:17], draws(3, 5, 17, options))
    np.random.default_rng(0).random(100)
    assert np.array_equal(many, draws(3, 5, 1000, options))
    for seed, epoch in ((4, 5), (3, 6), (5, 3)):
        assert not np.isclose(many, draws(seed, epoch, 1000, options))[:, :4].any()


def test_draws_fill_their_ranges_evenly_and_independently() -> None:
    rows = draws(0, 0, 20_000, Options(scale_range=(0.9, 1.1), translation_share=0.2, mirror=True))
    for column, low, high in ((0, 0.9, 1.1), (1, 0.9, 1.1), (2, -0.2, 0.2), (3, -0.2, 0.2)):
        counts, _ = np.histogram(rows[:, column], bins=10, range=(low, high))
        assert counts.sum() == 20_000
        assert abs(counts - 2_000).max() < 250  # 5.9 standard deviations
    assert abs(rows[:, 4].mean() - 0.5) < 0.02
    correlations = np.corrcoef(rows.T) - np.eye(5)
    assert abs(correlations).max() < 0.04


def test_no_mirror_unless_asked_for_and_nothing_with_augment_off() -> None:
    assert not draws(0, 0, 50, Options())[:, 4].any()
    assert (draws(0, 0, 50, Options(augment=False, mirror=True)) == IDENTITY).all()


def test_translation_in_pixels_of_the_stored_picture() -> None:
    shares = draws(1, 2, 100, Options(translation_share=0.25))
    one_size = draws(1, 2, 100, Options(translation_px=30), stored_px=(120, 60))
    assert one_size[:, 2] == pytest.approx(shares[:, 2] * 2)  # 30 of 60 in X
    assert one_size[:, 3] == pytest.approx(shares[:, 3])  # 30 of 120 in Y
    sizes = np.tile([[120, 60]], (100, 1))
    sizes[7] = (300, 30)
    each = draws(1, 2, 100, Options(translation_px=30), stored_px=sizes)
    assert each[7, 2:4] == pytest.approx([shares[7, 2] * 4, shares[7, 3] * 0.4])
    assert np.array_equal(np.delete(each, 7, 0), np.delete(one_size, 7, 0))
    with pytest.raises(ConfigError, match="translation_px"):
        draws(1, 2, 100, Options(translation_px=30))


def test_identity_changes_nothing() -> None:
    before = pictures()
    assert augment(before, np.tile(IDENTITY, (4, 1))) is before
    trivial = draws(0, 0, 4, Options(scale_range=(1, 1), translation_share=0))
    assert augment(before, trivial) is before
    mixed = np.tile(IDENTITY, (4, 1))
    mixed[2] = row(scale_x=1.07, shift_y=0.1)
    after = augment(before, mixed)
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert not torch.equal(after[2], before[2])


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 5), (-7, 2), (4, -6), (30, 0)])
def test_whole_pixels_are_shifted_exactly_and_the_rest_is_black(right: int, down: int) -> None:
    before = pictures(1)
    expected = np.zeros((1, 3, 20, 24), dtype=np.uint8)
    for y in range(20):
        for x in range(24):
            if 0 <= y - down < 20 and 0 <= x - right < 24:
                expected[0, :, y, x] = before[0, :, y - down, x - right]
    after = augment(before, row(shift_x=right / 24, shift_y=down / 20))
    assert np.array_equal(after.numpy(), expected)


def test_mirror_is_exact_and_comes_before_the_shift() -> None:
    before = pictures(1)
    assert torch.equal(augment(before, row(mirror=1)), before.flip(-1))
    moved = augment(before, row(mirror=1, shift_x=2 / 24))
    assert torch.equal(moved[..., 2:], before.flip(-1)[..., :-2])
    assert not moved[..., :2].any()


def test_half_a_pixel_by_hand() -> None:
    before = torch.tensor([10, 20, 40, 81], dtype=torch.uint8).expand(1, 3, 4, 4)
    after = augment(before, row(shift_x=0.5 / 4))
    # Each is the mean of itself and its left neighbour, black beside the first: 5, 15, 30, 60.5, which rounds to even.
    assert after[0, 0, 0].tolist() == [5, 15, 30, 60]


def test_twice_as_large_about_the_centre_by_hand() -> None:
    before = torch.tensor([0, 40, 80, 120], dtype=torch.uint8).expand(1, 3, 4, 4)
    after = augment(before, row(scale_x=2))
    # Centres -1.5, -0.5, 0.5, 1.5 come from -0.75, -0.25, 0.25, 0.75: between pixels 0-1, 1-2, 1-2, 2-3.
    assert after[0, 0, 0].tolist() == [30, 50, 70, 90]


def test_scale_is_not_applied_to_the_shift() -> None:
    before = torch.zeros((1, 3, 33, 33), dtype=torch.uint8)
    before[..., 16, 16] = 200
    after = augment(before, row(scale_x=0.5, scale_y=0.5, shift_x=4 / 33, shift_y=-3 / 33))
    assert after[0, 0].argmax() == (16 - 3) * 33 + 16 + 4
    assert after[0, 0, 13, 20] == 200


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_scipy(seed: int) -> None:
    """Against scipy's bilinear affine_transform with black outside: out(o) = in(matrix o + offset), at pixel indices."""
    before = pictures(1, height=31, width=26, seed=seed)
    rows = draws(seed, 1, 1, Options(scale_range=(0.7, 1.4), translation_share=0.3, mirror=True))
    scale_x, scale_y, shift_x, shift_y, mirror = rows[0]
    height, width = 31, 26
    sign = -1.0 if mirror else 1.0
    matrix = np.diag([1 / scale_y, sign / scale_x])
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = middle - matrix @ (middle + np.array([shift_y * height, shift_x * width]))
    after = augment(before, rows)[0].numpy()
    for channel in range(3):
        plane = np.pad(before[0, channel].numpy().astype(np.float64), 2)  # so that the edge blends into black in scipy too
        moved = ndimage.affine_transform(plane, matrix, offset + 2 - 2 * np.diag(matrix), order=1, output_shape=(35, 30), mode="constant")
        assert abs(after[channel] - moved[2:-2, 2:-2]).max() <= 0.501


def test_memory_format_and_dtype_are_kept() -> None:
    for layout in (torch.channels_last, torch.contiguous_format):
        before = pictures().contiguous(memory_format=layout)
        after = augment(before, draws(0, 0, 4, Options()))
        assert after.dtype == torch.uint8
        assert after.stride() == before.stride()


def test_the_centre_of_a_white_picture_stays_white() -> None:
    before = torch.full((64, 3, 64, 64), 255, dtype=torch.uint8)
    after = augment(before, draws(0, 0, 64, Options()))
    assert (after[:, :, 16:48, 16:48] == 255).all()
    assert (after == 0).any(), "some edge must have come into view"


def test_mirroring_alone_moves_no_value() -> None:
    pictures = torch.randint(0, 256, (6, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows = np.tile(IDENTITY, (6, 1))
    rows[::2, MIRROR] = 1
    found = augment(pictures, rows)
    assert torch.equal(found[::2], pictures[::2].flip(3))
    assert torch.equal(found[1::2], pictures[1::2])


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_a_crop_is_the_window_at_its_corner(memory_format: torch.memory_format) -> None:
    pictures = torch.randint(0, 256, (5, 3, 9, 8), dtype=torch.uint8).contiguous(memory_format=memory_format)
    where = corners(1, 0, 5, (4, 3))
    found = crop(pictures, where, 5)
    assert found.is_contiguous(memory_format=memory_format)
    for window, picture, (y, x) in zip(found, pictures, where, strict=True):
        assert torch.equal(window, picture[:, y : y + 5, x : x + 5])


def test_windows_taken_at_once_are_those_of_mirrored_pictures() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 9, 8, 3), dtype=np.uint8)
    options = Options(scale_range=(1, 1), translation_share=0, mirror=True)
    indices = np.array([31, 2, 17, 5, 8, 39, 0])
    of_batch, where = draws(3, 1, 40, options)[indices], corners(3, 1, 40, (4, 3))[indices]
    assert only_mirrors(of_batch)
    assert 0 < of_batch[:, MIRROR].sum() < 7
    whole = augment(torch.from_numpy(pixels[indices]).permute(0, 3, 1, 2), of_batch)
    found = torch.from_numpy(mirrored_windows(pixels, indices, of_batch, where, 5)).permute(0, 3, 1, 2)
    assert torch.equal(found, crop(whole, where, 5))
    assert not only_mirrors(draws(3, 1, 40, Options(mirror=True)))


def test_corners_fill_the_room_evenly_and_depend_on_seed_epoch_and_index_alone() -> None:
    found = corners(3, 2, 10_000, (4, 1))
    for axis, room in enumerate((4, 1)):
        counts = np.bincount(found[:, axis], minlength=room + 1)
        assert len(counts) == room + 1
        assert counts.min() > 0.9 * 10_000 / (room + 1)
    assert np.array_equal(found[:50], corners(3, 2, 50, (4, 1)))
    assert not np.array_equal(found, corners(3, 3, 10_000, (4, 1)))
    assert not np.array_equal(found, corners(4, 2, 10_000, (4, 1)))
