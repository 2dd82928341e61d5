"""From how few pictures a class a new last layer for GoogLeNet learns, on Imagenette: the table that `tench new` shows."""

import argparse
import dataclasses
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import numpy as np

PICTURES = (3, 5, 10, 20, 50, 100, 200)
TABLE = Path(__file__).parents[1] / "src" / "tench" / "wizard" / "expected.toml"


def main() -> None:
    """Measure, print, and write what the package keeps. No times are taken, so other work on the machine does not matter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette")
    parser.add_argument("--weights", default=os.environ.get("TENCH_WEIGHTS"), help="GoogLeNet's")
    parser.add_argument("--seeds", type=int, default=10, help="draws of the pictures, for each number of pictures a class")
    parser.add_argument("--save", type=Path, default=TABLE)
    options = parser.parse_args()
    if not (options.data and options.weights):
        sys.exit("Name the photographs by --data or TENCH_DATA, GoogLeNet's weights by --weights or TENCH_WEIGHTS.")
    text = measured(options.data, Path(options.weights), range(options.seeds))
    print(text)
    options.save.write_text(text, encoding="utf-8")


def measured(data: str, weights: Path, seeds: range) -> str:
    """The table as TOML: top-1 on the pictures GoogLeNet never saw, by the number of training pictures a class."""
    from tench import __version__
    from tench.config import Engine, Options, TransferOptions, load_recipe
    from tench.data.roles import roles, unseen_training_pictures
    from tench.data.sources import open_source
    from tench.networks.reference import network
    from tench.training.loop import Watcher
    from tench.training.plan import Plan
    from tench.training.transfer import features_of, fitted_head, load, start_of

    recipe, source = load_recipe("transfer"), open_source(data)
    plan = Plan(network("googlenet"), source, recipe, recipe.resolve(), Engine(threads=1))
    # Users' classes are none of ImageNet's as a rule, so the new layer starts at random here too.
    how, pretrained = TransferOptions(head_start="random"), load(plan, weights, leave_unseen_out=True)
    found = features_of(plan, pretrained, np.arange(len(source.pictures)), Watcher())
    labels, unseen = pretrained.prepared.feed.labels, unseen_training_pictures(source)
    rows = []
    for pictures in PICTURES:
        shares = []
        for seed in seeds:
            seeded = dataclasses.replace(plan, options=plan.options.model_copy(update={"seed": seed}))
            parts = roles(source, plan.rules, Options(seed=seed), unseen | ~drawn_training(source, labels, unseen, pictures, seed))
            fit, select = ((found[part], _labels(labels, part)) for part in (parts.fit, parts.select))
            _, head, _ = fitted_head(seeded, how, start_of(pretrained.backbone, seeded, how), fit, select)
            answers = head.log_probabilities(found[parts.unseen]).argmax(1).numpy()
            shares.append(float((answers == labels[parts.unseen]).mean()))
        print(pictures, shares, file=sys.stderr, flush=True)
        rows.append(f"\n[[row]]\npictures = {pictures}\ntop1 = {fmean(shares):.4f}\nlow = {min(shares):.4f}\nhigh = {max(shares):.4f}\n")
    return (
        "# What `tench new` says of the accuracy to expect. Written by bench/few.py. pictures: training pictures a class (a tenth of them\n"
        "# choose how strongly the layer is held, the others are fitted); top1: mean over the seeds, low and high: the range.\n\n"
        f'[provenance]\nnetwork = "googlenet"\nweights_sha256 = "{pretrained.weights_sha256}"\ndata = "{source.name}"\n'
        f'data_sha256 = "{source.sha256}"\nclasses = {len(source.classes)}\nscored = {len(parts.unseen)}\n'
        f'seeds = {list(seeds)}\nhead_start = "random"\ntench = "{__version__}"\ndate = "{datetime.now(UTC).date()}"\n' + "".join(rows)
    )


def drawn_training(source: "object", labels: np.ndarray, unseen: np.ndarray, pictures: int, seed: int) -> np.ndarray:
    """So many training pictures of each class that are not `unseen`, drawn by seed and content, bool (n,)."""
    from tench.data.order import drawn

    usable = np.array([picture.split == "train" for picture in source.pictures]) & ~unseen
    chosen = np.zeros_like(usable)
    for label in range(len(source.classes)):
        members = np.flatnonzero(usable & (labels == label))
        chosen[members] = drawn([source.pictures[i].sha256 for i in members], pictures / len(members), seed, "few")
    return chosen


def _labels(labels: np.ndarray, part: np.ndarray) -> "object":
    import torch

    return torch.from_numpy(labels[part])


if __name__ == "__main__":
    main()
