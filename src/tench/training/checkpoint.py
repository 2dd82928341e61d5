"""Checkpoints: what a training needs to go on as if it had never stopped. safetensors and JSON, the newest two kept."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from tench.errors import RecordError
from tench.networks.pretrained import sha256_of
from tench.records import write_bytes_atomically, write_json_atomically

KEPT = 2


@dataclass
class Progress:
    """Where a training stands, between two steps. Epochs and steps count from 0."""

    epoch: int = 0
    step_in_epoch: int = 0
    best_epoch: int | None = None
    best_loss: float | None = None
    best_top1: float | None = None
    stale: int = 0
    """Validations since the last improvement."""
    pictures_shown: int = 0
    train_s: float = 0.0
    """Seconds spent in steps."""
    wall_s: float = 0.0
    """Seconds since the start, interruptions left out."""
    solver_rate: float | None = None
    solver_steps: int = 0


def save(folder: Path, progress: Progress, tensors: dict[str, Tensor], step: int) -> None:
    """Write the checkpoint of `step` and forget all but the newest two.

    The JSON is written last and names the tensors' sha256: a pair that was cut short is never taken for a whole one.
    """
    folder.mkdir(exist_ok=True)
    data = safetensors.torch.save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    path = folder / f"step-{step:09d}.safetensors"
    write_bytes_atomically(path, data)
    write_json_atomically(path.with_suffix(".json"), {"progress": asdict(progress), "sha256": sha256_of(path)})
    _forget_older(folder)


def save_best(folder: Path, epoch: int, tensors: dict[str, Tensor]) -> None:
    """Keep the weights of `epoch`, the best so far. Older ones go when no checkpoint speaks of them any more."""
    folder.mkdir(exist_ok=True)
    data = safetensors.torch.save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    write_bytes_atomically(best_path(folder, epoch), data)


def best_path(folder: Path, epoch: int) -> Path:
    """The file of the best weights, found in `epoch` (from 0)."""
    return folder / f"best-{epoch:05d}.safetensors"


def load_newest(folder: Path, say: Callable[[str], None]) -> tuple[Progress, dict[str, Tensor]] | None:
    """The newest whole checkpoint, or None where there is none. A damaged one is passed over, and `say` is told."""
    for description in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            return _load(description)
        except (RecordError, OSError, ValueError, TypeError, KeyError) as error:
            say(f"The checkpoint {description} is damaged ({error}); going back to the one before it.")
    return None


def _load(description: Path) -> tuple[Progress, dict[str, Tensor]]:
    values: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
    tensors_path = description.with_suffix(".safetensors")
    if sha256_of(tensors_path) != values["sha256"]:
        raise RecordError(f"the sha256 of {tensors_path.name} is not the one that was written down")
    progress = Progress(**values["progress"])
    if progress.best_epoch is not None and not best_path(description.parent, progress.best_epoch).exists():
        raise RecordError(f"the best weights it speaks of, of epoch {progress.best_epoch + 1}, are missing")
    return progress, safetensors.torch.load_file(tensors_path)


def _forget_older(folder: Path) -> None:
    descriptions = sorted(folder.glob("step-*.json"), reverse=True)
    for old in descriptions[KEPT:]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    needed = {json.loads(kept.read_text(encoding="utf-8"))["progress"]["best_epoch"] for kept in descriptions[:KEPT]}
    for path in folder.glob("best-*.safetensors"):
        if int(path.stem.removeprefix("best-")) not in needed:
            path.unlink()
    for path in folder.glob("step-*.safetensors"):
        if not path.with_suffix(".json").exists():
            path.unlink()
