"""How much more pictures would bring: heads fitted on parts of the pictures there are, on features that are kept."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from tench.config import TransferOptions
from tench.data.order import drawn
from tench.training.loop import Watcher
from tench.training.plan import Plan
from tench.training.transfer import features_of, fitted_head, load, start_of

SHARES = (0.25, 0.5)
DRAWS = 3
"""Heads for each share, on other pictures each: with few pictures much depends on which they are."""


@dataclass(frozen=True)
class Point:
    """Top-1 (0 to 1) on the test pictures of heads fitted on so many `pictures` of all classes together: the mean over draws."""

    pictures: int
    top1: float


def learning_curve(plan: Plan, how: TransferOptions, weights: Path | None = None, shares: Sequence[float] = SHARES) -> tuple[Point, ...]:
    """A point for each of the `shares` of the plan's pictures to fit; a share that leaves a class without a picture is passed over.

    Heads are fitted as the plan's is, with the same pictures to choose the hold by. Nothing is chosen by these points.
    """
    pretrained = load(plan, weights, how.leave_unseen_out)
    parts, labels = pretrained.prepared.roles, torch.from_numpy(pretrained.prepared.feed.labels)
    needed = (parts.fit, parts.select, parts.test)
    ends = np.cumsum([len(part) for part in needed])[:-1]
    found = features_of(plan, pretrained, np.concatenate(needed), Watcher()).tensor_split(torch.from_numpy(ends))
    fit, select, test = ((features, labels[part]) for features, part in zip(found, needed, strict=True))

    def top1(chosen: NDArray[np.bool_], draw: int) -> float:
        seeded = dataclasses.replace(plan, options=plan.options.model_copy(update={"seed": plan.options.seed + draw}))
        start = start_of(pretrained.backbone, seeded, how)
        _, head, _ = fitted_head(seeded, how, start, (fit[0][chosen], fit[1][chosen]), select)
        return float((head.log_probabilities(test[0]).argmax(1) == test[1]).double().mean())

    points = []
    for share in shares:
        if share * fit[1].bincount().min() >= 1:
            draws = [_drawn(plan, parts.fit, share, draw) for draw in range(DRAWS)]
            points.append(Point(int(draws[0].sum()), fmean(top1(chosen, draw) for draw, chosen in enumerate(draws))))
    return tuple(points)


def _drawn(plan: Plan, fit: NDArray[np.int64], share: float, draw: int) -> NDArray[np.bool_]:
    """`share` of the pictures `fit`, class by class, as a mask over them."""
    pictures = [plan.source.pictures[i] for i in fit]
    chosen = np.zeros(len(fit), dtype=np.bool_)
    for label in range(len(plan.source.classes)):
        members = np.flatnonzero([picture.label == label for picture in pictures])
        chosen[members] = drawn([pictures[i].sha256 for i in members], share, plan.options.seed, f"curve {draw}")
    return chosen
