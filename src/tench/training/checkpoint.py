"""Checkpoints: what a training needs to go on as if it had never stopped. safetensors and JSON, the newest two kept."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from tench.errors import RecordError
from tench.networks.pretrained import sha256_of
from tench.records import make_folder, write_bytes_atomically, write_json_atomically
from tench.records.files import remove_abandoned
from tench.records.model import finite

KEPT = 2
DAMAGED = "damaged-"
"""What the files of a checkpoint that cannot be used are renamed to begin with: kept, but out of the way of those to come."""


@dataclass
class Progress:
    """Where a training stands, between two steps. Epochs and steps count from 0."""

    epoch: int = 0
    step_in_epoch: int = 0
    best_epoch: int | None = None
    best_loss: float | None = None
    best_top1: float | None = None
    best_sha256: str | None = None
    """Of the file with the best weights."""
    stale: int = 0
    """Validations since the last improvement."""
    pictures_shown: int = 0
    train_s: float = 0.0
    """Seconds spent in steps."""
    wall_s: float = 0.0
    """Seconds since the start, interruptions left out."""
    solver_rate: float | None = None
    solver_steps: int = 0


def save(folder: Path, progress: Progress, tensors: dict[str, Tensor], place: int) -> None:
    """Write a checkpoint and forget all but the newest two. `place` rises with every place between two steps at which one is made.

    The JSON is written last and names its own sha256 and that of the tensors: a pair that was cut short or changed since is never
    taken for a whole one.
    """
    make_folder(folder)
    data = safetensors.torch.save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    path = folder / f"step-{place:09d}.safetensors"
    write_bytes_atomically(path, data)
    values = {"progress": asdict(progress), "sha256": sha256_of(path)}
    write_json_atomically(path.with_suffix(".json"), values | {"own_sha256": _own_sha256(values)})
    _forget_older(folder)


def _own_sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(finite(values), sort_keys=True).encode()).hexdigest()


def save_best(folder: Path, epoch: int, tensors: dict[str, Tensor]) -> str:
    """Keep the weights of `epoch`, the best so far; returns their file's sha256. Older ones go when no checkpoint speaks of them."""
    make_folder(folder)
    data = safetensors.torch.save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    write_bytes_atomically(best_path(folder, epoch), data)
    return hashlib.sha256(data).hexdigest()


def best_path(folder: Path, epoch: int) -> Path:
    """The file of the best weights, found in `epoch` (from 0)."""
    return folder / f"best-{epoch:05d}.safetensors"


def load_newest(folder: Path, say: Callable[[str], None]) -> tuple[Progress, dict[str, Tensor]] | None:
    """The newest whole checkpoint, or None where there is none. A damaged one is put aside, and `say` is told.

    Only for who holds the run: what killed processes left half written is removed.
    """
    remove_abandoned(folder)
    for description in sorted({path.with_suffix(".json") for path in folder.glob("step-*")}, reverse=True):
        try:
            return _load(description)
        except (RecordError, SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            say(f"The checkpoint {description} is damaged ({error}); going back to the one before it, or to the beginning.")
            _put_aside(description)
    return None


def _put_aside(description: Path) -> None:
    """Else the two newest that are kept might be damaged ones, and those to come would be forgotten in their place."""
    tensors = description.with_suffix(".safetensors")
    if not description.exists():
        tensors.unlink()  # a half that a kill left: without the other it is of no use
        return
    for path in (description, tensors):
        if path.exists():
            path.replace(path.with_name(DAMAGED + path.name))


def _load(description: Path) -> tuple[Progress, dict[str, Tensor]]:
    tensors_path = description.with_suffix(".safetensors")
    if missing := [path.name for path in (description, tensors_path) if not path.exists()]:
        raise RecordError(f"{missing[0]} is missing, as it is after a kill while it was written")
    values: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
    own = values.pop("own_sha256", None)  # not in those of earlier versions, nor the best weights' hash
    if own not in (None, _own_sha256(values)):
        raise RecordError(f"{description.name} has changed since it was written")
    if sha256_of(tensors_path) != values["sha256"]:
        raise RecordError(f"the sha256 of {tensors_path.name} is not the one that was written down")
    progress = Progress(**values["progress"])
    if progress.best_epoch is not None:
        best = best_path(description.parent, progress.best_epoch)
        if not best.exists() or progress.best_sha256 not in (None, sha256_of(best)):
            raise RecordError(f"the best weights it speaks of, of epoch {progress.best_epoch + 1}, are missing or damaged")
    return progress, safetensors.torch.load_file(tensors_path)


def _forget_older(folder: Path) -> None:
    descriptions = sorted(folder.glob("step-*.json"), reverse=True)
    for old in descriptions[KEPT:]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    try:
        needed = {json.loads(kept.read_text(encoding="utf-8"))["progress"]["best_epoch"] for kept in descriptions[:KEPT]}
    except (OSError, ValueError, KeyError, TypeError):  # damaged since: what it needs is not known, so nothing more is removed
        return
    for path in folder.glob("best-*.safetensors"):
        if int(path.stem.removeprefix("best-")) not in needed:
            path.unlink()
    for path in folder.glob("step-*.safetensors"):
        if not path.with_suffix(".json").exists():
            path.unlink()
