"""What the arms that train have in common: the task as arguments, one solver for all, and the line that each prints.

Keras runs in an environment of its own, so this needs nothing but Python.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

RATE, MOMENTUM, DECAY = 0.001, 0.9, 1e-4
"""SGD of every arm. The rate is low, so that GoogLeNet, which has no batch norm, stays finite; speed does not depend on it."""
SHIFT, SCALES = 30 / 224, (0.9, 1.1)
"""Augmentation of every arm: the largest shift as a share of the side, and the scales; half the photographs are mirrored."""


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments of every arm that trains; each adds its own."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("folder", type=Path, help="with train/ and val/, a folder a class in each")
    found.add_argument("network", help="a table of tench's")
    for name in ("size", "batch", "epochs"):
        found.add_argument(name, type=int)
    return found


def n_classes(folder: Path) -> int:
    """How many classes the photographs below `folder` have."""
    return sum(entry.is_dir() for entry in (folder / "train").iterdir())


def report(epoch_s: Sequence[float], n: int, **more: object) -> None:
    """Print what an arm measured, as JSON: `epoch_s` are the seconds of its epochs, each of `n` photographs."""
    line = {"photographs_per_s": n / min(epoch_s[1:]), "all_epochs_photographs_per_s": n * len(epoch_s) / sum(epoch_s)}
    print(json.dumps(line | more))
