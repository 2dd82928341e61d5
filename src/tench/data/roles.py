"""Which pictures are learnt from, which decide, and which are scored: drawn by seed and content, stratified by class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tench.config import Options, Rules
from tench.data.order import Indices, drawn
from tench.data.sources import Source
from tench.errors import DataError
from tench.records import RunRecord

MOST_LEFT_OUT = 0.25
"""Share of the training pictures that may be kept out to be scored; of Imagenette's it is 0.04."""


@dataclass(frozen=True)
class Roles:
    """Sorted int64 indices into `source.pictures`. `fit` and `select` have no picture in common, nor has `fit` with `test`."""

    fit: Indices
    """Learnt from."""
    select: Indices
    """Decides when to stop and which weights are best."""
    test: Indices
    """Scored once, after training."""
    unseen: Indices | None
    """Those of `test` and of the training pictures held out that no pretraining saw; None: not known."""


def roles(source: Source, rules: Rules, options: Options, leave_out: NDArray[np.bool_] | None = None) -> Roles:
    """The roles of the pictures under `rules` and `options`.

    `leave_out`, bool of shape (n_pictures,), holds training pictures out of `fit` and `select` (None: what the options leave
    out); test pictures stay what they are. `options.share` and `options.test_share` take a part of each class's training and
    test pictures; the part for a smaller share lies within that for a larger one. Raises DataError if a class has nothing left for a role.
    """
    leave_out = left_out(source, options) if leave_out is None else leave_out
    in_train = np.array([picture.split == "train" for picture in source.pictures], dtype=np.bool_)
    held_out = in_train & leave_out if leave_out is not None else np.zeros_like(in_train)
    train = _part(source, in_train & ~held_out, options.share, options.seed, "share")
    # Drawn without the run's seed: runs with different seeds must be scored on the same pictures to be compared.
    test = _part(source, ~in_train, options.test_share, 0, "test share")
    select = test if rules.select_from == "test" else _part(source, train, rules.select_share, options.seed, "select", leave=1)
    fit = train & ~select
    _check_complete(source, {"fit": fit, "select": select, "test": test})
    return Roles(_indices(fit), _indices(select), _indices(test), _unseen(source, test | held_out))


def roles_of(source: Source, record: RunRecord) -> Roles:
    """The roles that the pictures of `source` had in a run on them."""
    mask = np.isin([picture.name for picture in source.pictures], record.data.left_out)
    return roles(source, Rules.model_validate(record.rules), Options.model_validate(record.options), mask)


def _part(source: Source, among: NDArray[np.bool_], share: float, seed: int, purpose: str, leave: int = 0) -> NDArray[np.bool_]:
    """`share` of the pictures `among`, class by class, as a mask over all pictures."""
    labels = np.array([picture.label for picture in source.pictures])
    chosen = np.zeros_like(among)
    for label in range(len(source.classes)):
        members = np.flatnonzero(among & (labels == label))
        chosen[members] = drawn([source.pictures[i].sha256 for i in members], share, seed, purpose, leave)
    return chosen


def _check_complete(source: Source, masks: dict[str, NDArray[np.bool_]]) -> None:
    labels = np.array([picture.label for picture in source.pictures])
    lacking = [
        f"{name.id} in {role}"
        for role, mask in masks.items()
        for label, name in enumerate(source.classes)
        if not np.any(mask & (labels == label))
    ]
    if lacking:
        raise DataError(
            f"{source.name}: no pictures are left of {', '.join(lacking)}. Take a larger share, or add pictures of these classes."
        )


def _unseen(source: Source, scored: NDArray[np.bool_]) -> Indices | None:
    unseen = source.unseen
    return None if unseen is None else _indices(scored & unseen)


def unseen_training_pictures(source: Source) -> NDArray[np.bool_] | None:
    """Training pictures that pretraining never saw, to be scored beside the test pictures, bool (n,).

    None where it is not known which they are, and where they are more than MOST_LEFT_OUT of the training pictures: there are then
    enough of them to learn from, and among the test pictures to score.
    """
    unseen = source.unseen
    in_train = np.array([picture.split == "train" for picture in source.pictures], dtype=np.bool_)
    if unseen is None or (unseen & in_train).sum() > MOST_LEFT_OUT * in_train.sum():
        return None
    held_out: NDArray[np.bool_] = unseen & in_train
    return held_out


def left_out(source: Source, options: Options) -> NDArray[np.bool_] | None:
    """What `options.leave_unseen_out` keeps out of a training from scratch, bool (n,); None: nothing."""
    return unseen_training_pictures(source) if options.leave_unseen_out else None


def _indices(mask: NDArray[np.bool_]) -> Indices:
    return np.flatnonzero(mask).astype(np.int64)
