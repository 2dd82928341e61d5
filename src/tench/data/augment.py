"""Augmentation as in MATLAB R2018b: scale and shift of X and Y drawn independently, one axis-aligned affine map a picture."""

import numpy as np
import numpy.typing as npt
import torch

from tench.config import Options
from tench.errors import ConfigError

SCALE_X, SCALE_Y, SHIFT_X, SHIFT_Y, MIRROR = range(5)
IDENTITY = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
STREAM, CROP_STREAM = 0x61756701, 0x61756702
"""Set these draws apart from others that are keyed by the same seed and epoch."""


def draws(
    seed: int, epoch: int, n: int, options: Options, stored_px: tuple[int, int] | npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.float64]:
    """What happens to pictures 0 to n-1 in one epoch: an array of shape (n, 5).

    Columns: scale_x, scale_y, shift_x, shift_y (shares of the width and height), mirror (0 or 1). Row i is a function of
    (seed, epoch, i) alone: it is the i-th block of five numbers of a Philox stream keyed by seed and epoch, so neither `n`
    nor anything drawn elsewhere changes it. Scales are uniform in `options.scale_range`; shifts are uniform within plus or
    minus `options.translation_share`, or `options.translation_px` pixels of the stored picture: then `stored_px` is its
    (height, width), as one pair or of shape (n, 2). With `options.augment` off every row is the identity.
    Raises ConfigError when `translation_px` is set and `stored_px` is not known.
    """
    if not options.augment:
        return np.tile(IDENTITY, (n, 1))
    uniform = _uniform(seed, epoch, STREAM, (n, 5))
    low, high = options.scale_range
    rows = np.empty((n, 5))
    rows[:, :SHIFT_X] = low + (high - low) * uniform[:, :SHIFT_X]
    rows[:, SHIFT_X:MIRROR] = (2 * uniform[:, SHIFT_X:MIRROR] - 1) * _largest_shift(options, stored_px)
    rows[:, MIRROR] = (uniform[:, MIRROR] < 0.5) if options.mirror else 0
    return rows


def corners(seed: int, epoch: int, n: int, room_px: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Upper left corners of the windows that one epoch shows of pictures 0 to n-1: (n, 2), y and x, uniform in 0 to `room_px`.

    As with `draws`, row i is a function of (seed, epoch, i) alone.
    """
    found: npt.NDArray[np.int64] = (_uniform(seed, epoch, CROP_STREAM, (n, 2)) * (np.array(room_px) + 1)).astype(np.int64)
    return found


def _uniform(seed: int, epoch: int, stream: int, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, stream])).random(shape)


def _largest_shift(options: Options, stored_px: tuple[int, int] | npt.NDArray[np.integer] | None) -> npt.NDArray[np.float64]:
    """Largest shift of X and Y as shares of the side: shape (2,) or (n, 2)."""
    if options.translation_px is None:
        return np.full(2, options.translation_share)
    if stored_px is None:
        raise ConfigError(
            "translation_px is in pixels of the stored pictures, whose size is not known here; give translation_share instead."
        )
    width_and_height = np.asarray(stored_px, dtype=np.float64)[..., ::-1]
    return options.translation_px / width_and_height


def augment(pictures: torch.Tensor, draws: npt.NDArray[np.float64]) -> torch.Tensor:
    """`pictures`, uint8 of shape (n, channels, height, width), mirrored, scaled about the centre, then shifted, as `draws` (n, 5) say.

    Bilinear between pixel centres, which lie at half-integers; outside the picture is black; rounded back to uint8. A map of
    X and Y alone is two matrix products a picture: rows, then columns, of weights with at most two entries that are not 0.
    Stays on the device and in the memory format of `pictures`. When every draw is the identity, `pictures` itself returns.
    """
    if (draws == IDENTITY).all():
        return pictures
    if only_mirrors(draws):
        mirrored = torch.from_numpy(draws[:, MIRROR] == 1).to(pictures.device)[:, None, None, None]
        return torch.where(mirrored, pictures.flip(3), pictures)
    height, width = pictures.shape[-2:]
    rows = _weights(draws[:, SCALE_Y], draws[:, SHIFT_Y], np.zeros(len(draws)), height).to(pictures.device)
    columns = _weights(draws[:, SCALE_X], draws[:, SHIFT_X], draws[:, MIRROR], width).to(pictures.device)
    moved = rows[:, None] @ pictures.float() @ columns[:, None].transpose(-1, -2)
    return torch.empty_like(pictures).copy_(moved.round_())


def only_mirrors(draws: npt.NDArray[np.float64]) -> bool:
    """Whether no picture is scaled or shifted."""
    return bool((draws[:, :MIRROR] == IDENTITY[:MIRROR]).all())


def mirrored_windows(
    pixels: npt.NDArray[np.uint8],
    indices: npt.NDArray[np.int64],
    draws: npt.NDArray[np.float64],
    corners: npt.NDArray[np.int64],
    side_px: int,
) -> npt.NDArray[np.uint8]:
    """`crop(augment(...))` of `pixels[indices]`, (n, height, width, 3), where the draws only mirror: (len(indices), side_px, side_px, 3).

    Only the windows are read, which is far quicker than mirroring whole pictures and then cutting (docs/LOG.md).
    """
    windows = np.empty((len(indices), side_px, side_px, pixels.shape[3]), np.uint8)
    rows = zip(windows, indices.tolist(), corners.tolist(), (draws[:, MIRROR] == 1).tolist(), strict=True)
    for window, i, (y, x), mirrored in rows:
        # The window at x of the mirrored picture is that at the other end of the picture, mirrored.
        left = pixels.shape[2] - side_px - x if mirrored else x
        found = pixels[i, y : y + side_px, left : left + side_px]
        window[:] = found[:, ::-1] if mirrored else found
    return windows


def crop(pictures: torch.Tensor, corners: npt.NDArray[np.int64], side_px: int) -> torch.Tensor:
    """The window of `side_px` x `side_px` at the (y, x) of `corners`, (n, 2), out of each of `pictures`, (n, channels, height, width)."""
    windows = [p[:, y : y + side_px, x : x + side_px] for p, (y, x) in zip(pictures, corners.tolist(), strict=True)]
    memory_format = torch.channels_last if pictures.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    cut = torch.empty((len(windows), pictures.shape[1], side_px, side_px), dtype=pictures.dtype, device=pictures.device)
    return torch.stack(windows, out=cut.to(memory_format=memory_format))


def _weights(scale: npt.NDArray[np.float64], shift: npt.NDArray[np.float64], mirror: npt.NDArray[np.float64], side_px: int) -> torch.Tensor:
    """Bilinear weights of one axis, shape (n, side_px, side_px): [i, j, k] is what pixel k gives to pixel j of the result."""
    index = np.arange(side_px)
    from_centre = index + 0.5 - side_px / 2
    sign = 1 - 2 * mirror[:, None]
    source = sign * (from_centre - side_px * shift[:, None]) / scale[:, None] + side_px / 2 - 0.5
    # Positions in float64, so that whole-pixel shifts stay whole; then float32, as the pixels are.
    distance = torch.from_numpy(source.astype(np.float32))[:, :, None] - torch.from_numpy(index.astype(np.float32))
    return (1 - distance.abs_()).clamp_(min=0)
