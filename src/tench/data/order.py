"""Which picture comes when: orders and draws that are functions of seeds and contents alone, so that nothing has state."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tench.errors import ConfigError

Indices = NDArray[np.int64]

_ORDER_STREAM = 1
"""Sets these random numbers apart from others drawn from the same seed."""


def epoch_order(n: int, seed: int, epoch: int, shuffle: Literal["once", "every_epoch"]) -> Indices:
    """A permutation of 0 to n - 1, int64 of shape (n,): the same in all epochs with `once`, else one of its own for each."""
    key = epoch if shuffle == "every_epoch" else 0
    return np.random.default_rng([_ORDER_STREAM, seed, key]).permutation(n).astype(np.int64)


def batches(order: Indices, batch_size: int, last: Literal["dropped", "kept"]) -> list[Indices]:
    """`order` cut into batches; a last one that is not full is dropped or kept.

    Raises ConfigError if dropping it would leave no batch at all.
    """
    end = len(order) // batch_size * batch_size if last == "dropped" else len(order)
    if end == 0:
        raise ConfigError(f"batch_size is {batch_size}, but there are only {len(order)} pictures; take a smaller batch size.")
    return [order[start : min(start + batch_size, end)] for start in range(0, end, batch_size)]


def drawn(contents: Sequence[str], share: float, seed: int, purpose: str, leave: int = 0) -> NDArray[np.bool_]:
    """A seeded draw of about `share` of the pictures: bool of shape (n,), at least one True and, with `leave`, that many False.

    Pictures are ranked by sha256(purpose, seed, content hash). So the draw does not depend on names or order, a smaller
    share is part of a larger one, and exact copies are drawn together.
    """
    ranks = [hashlib.sha256(f"{purpose}:{seed}:{content}".encode()).hexdigest() for content in contents]
    count = min(max(round(share * len(ranks)), 1), len(ranks) - leave)
    if count <= 0:
        return np.zeros(len(ranks), dtype=np.bool_)
    last = sorted(ranks)[count - 1]
    return np.array([rank <= last for rank in ranks], dtype=np.bool_)
