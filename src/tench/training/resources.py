"""What a training will need of memory and disk, estimated before step 1."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tench.config import Engine, Options
from tench.errors import TrainingError
from tench.runtime import launched, memory_available_mib

MARGIN = 1.2
"""Kernels need room of their own beside what autograd keeps."""
PROCESS_MIB = 600
"""torch itself, with its libraries loaded."""


@dataclass(frozen=True)
class Needs:
    """Estimated memory and disk of one training, in MiB. `picture_mib` is what one more picture in the batch costs."""

    fixed_mib: float
    picture_mib: float
    disk_mib: float

    def memory_mib(self, batch_size: int) -> float:
        """Memory with batches of `batch_size`."""
        return self.fixed_mib + batch_size * self.picture_mib

    def shared(self, together: int, processes: int) -> "Needs":
        """What `together` of the `processes` need that share every batch of such a training."""
        return replace(self, fixed_mib=self.fixed_mib * together, picture_mib=self.picture_mib * together / processes)


def needs(module: nn.Module, options: Options, height_px: int, width_px: int) -> Needs:
    """What training `module` (on the meta device) takes.

    Weights, gradients and optimizer state are counted; activations are what autograd keeps in one forward pass of a picture,
    measured on the meta device, where nothing is computed.
    """
    weights = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    states = 2 if options.optimizer == "adam" else 1
    kept = _kept_for_backward(module, height_px, width_px)
    fixed = PROCESS_MIB + MARGIN * weights * (2 + states) / 2**20
    # Two checkpoints of weights and optimizer state, up to two best weights, the final weights, and one file being written.
    disk = weights * (3 * (1 + states) + 3) / 2**20
    return Needs(fixed, MARGIN * kept / 2**20, disk)


def _kept_for_backward(module: nn.Module, height_px: int, width_px: int) -> int:
    """Bytes that autograd keeps for one picture, weights aside."""
    own = {id(p.untyped_storage()) for p in module.parameters()}
    own_sizes = {p.shape for p in module.parameters()}
    storages: dict[int, int] = {}
    alive: list[Any] = []

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own and tensor.shape not in own_sizes:
            alive.append(storage)
            storages[storage._cdata] = storage.nbytes()
        return tensor

    pictures = torch.zeros(2, 3, height_px, width_px, dtype=torch.uint8, device="meta")  # two: batch norm wants more than one value
    module.train()
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        module(pictures)
    return sum(storages.values()) // len(pictures)


def refuse_what_does_not_fit(found: Needs, options: Options, engine: Engine, folder: Path) -> str | None:
    """Raise TrainingError where memory will not suffice, with a batch size that fits; return a warning where the disk is short."""
    available = _available_mib(engine)
    # All processes of a machine have its memory in common, but each has a card of its own.
    found = found.shared(1 if engine.device.startswith("cuda") else launched().local_size, engine.processes)
    needed = found.memory_mib(options.batch_size)
    if available is not None and needed > available:
        fitting = int((available - found.fixed_mib) / found.picture_mib)
        advice = f"take --batch-size {fitting} or less" if fitting >= 1 else "take smaller pictures (--size) or a smaller network"
        raise TrainingError(
            f"This training needs about {needed:,.0f} MiB of memory with batches of {options.batch_size}, and {available:,.0f} MiB are"
            f" free: {advice}, or --anyway to try."
        )
    free = shutil.disk_usage(folder).free / 2**20
    if found.disk_mib > free:
        return f"The run needs about {found.disk_mib:,.0f} MiB of disk at most, and {free:,.0f} MiB are free in {folder}."
    return None


def _available_mib(engine: Engine) -> float | None:
    if engine.device.startswith("cuda"):
        return torch.cuda.mem_get_info(engine.device)[0] / 2**20
    return memory_available_mib()
