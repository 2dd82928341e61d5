"""Batches: pictures from the decoded cache to the device, augmented there, as a function of (seed, epoch, index)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tench.config import Engine, Options, Rules
from tench.data.augment import augment, corners, crop, draws, mirrored_windows, only_mirrors
from tench.data.order import batches, epoch_order
from tench.errors import ConfigError


class Feed:
    """The pictures of one training: `pixels` uint8 (n, height, width, 3) RGB, `labels` int64 (n,).

    `stored_px`, (n, 2): heights and widths of the stored pictures, where `options.translation_px` needs them.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        options: Options,
        engine: Engine,
        stored_px: NDArray[np.int64] | None = None,
    ) -> None:
        self.pixels, self.labels, self.options, self.engine, self.stored_px = pixels, labels, options, engine, stored_px
        self._drawn_for = -1

    def pictures(self, indices: NDArray[np.int64]) -> Tensor:
        """The pictures of `indices` as they are: uint8 (batch, 3, height, width) on the device, in the engine's layout."""
        return self._placed(self.pixels[indices])

    def augmented(self, indices: NDArray[np.int64], epoch: int) -> Tensor:
        """The same, each transformed by the draws of its (seed, epoch, index), and of each the window that a step sees."""
        of_all, corners_of_all = self._drawn(epoch)
        of_batch, corners_of_batch, side = of_all[indices], corners_of_all[indices], self.options.crop_px
        if side and only_mirrors(of_batch):
            return self._placed(mirrored_windows(self.pixels, indices, of_batch, corners_of_batch, side))
        batch = augment(self.pictures(indices), of_batch)
        return crop(batch, corners_of_batch, side) if side else batch

    def targets(self, indices: NDArray[np.int64]) -> Tensor:
        """Class indices of `indices`: int64 (batch,) on the device."""
        return self._to_device(torch.from_numpy(self.labels[indices]))

    def _drawn(self, epoch: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Draws and corners of all pictures in `epoch`; those of the last epoch asked for are kept."""
        if self._drawn_for != epoch:
            n, (height, width) = len(self.pixels), self.pixels.shape[1:3]
            self._draws = draws(self.options.seed, epoch, n, self.options, self.stored_px)
            self._corners = corners(self.options.seed, epoch, n, (height - self.options.crop_px, width - self.options.crop_px))
            self._drawn_for = epoch
        return self._draws, self._corners

    def _placed(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Pictures (batch, height, width, 3) on the device, (batch, 3, height, width) in the engine's layout."""
        batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        return self._to_device(batch.contiguous() if self.engine.layout == "channels_first" else batch)

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.engine.device.startswith("cuda"):
            return tensor.pin_memory().to(self.engine.device, non_blocking=True)
        return tensor.to(self.engine.device)


def training_batches(fit: NDArray[np.int64], rules: Rules, options: Options, epoch: int) -> list[NDArray[np.int64]]:
    """The batches of `epoch` (from 0): arrays of indices into the pictures, in the order in which they are shown."""
    if rules.last_partial_batch == "dropped" and len(fit) < options.batch_size:
        raise ConfigError(
            f"batch_size is {options.batch_size}, but there are only {len(fit)} pictures to fit, and these rules drop the last partial"
            f" batch: nothing would be trained. Take a batch size of {len(fit)} or less."
        )
    order = epoch_order(len(fit), options.seed, epoch, rules.shuffle)
    return [fit[batch] for batch in batches(order, options.batch_size, rules.last_partial_batch)]
