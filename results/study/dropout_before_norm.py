"""Why network_74_1656 ends below its neighbours: the weights of a row on `select` under three kinds of batch norm statistics.

`TENCH_DATA=... python results/study/dropout_before_norm.py RUN...`, each the folder of a run of the study, weights included; what it said
is in dropout_before_norm.txt. Scores no test picture.
"""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from tench.config import Engine, load_study
from tench.data.sources import open_source
from tench.studies.entries import Choices, entries
from tench.training.batchnorm import batch_statistics, pool_statistics
from tench.training.feed import training_batches
from tench.training.group import Group
from tench.training.plan import Prepared, prepare

BATCHES = 80


def main(run: Path) -> None:
    """Print what the weights of `run` are worth under each kind of statistics."""
    print(run.name)
    choices = Choices(recipe="r2018b_small", size_px=64, rows=(run.name.split("-")[0],))
    (entry,), _ = entries(load_study("study"), open_source(os.environ["TENCH_DATA"]), Engine(), choices, None)
    prepared = prepare(entry.plan)
    module = prepared.module
    module.load_state_dict(safetensors.torch.load_file(run / "weights.safetensors"))
    show("as the run ended, pooled with dropout on", prepared)
    show("of each batch", prepared, lambda: batch_statistics(module))
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    batches = training_batches(prepared.roles.fit, entry.plan.rules, entry.plan.options, epoch=10)[:BATCHES]
    module.train()
    pool_statistics(module, (prepared.feed.augmented(batch, 10) for batch in batches), Group())
    show(f"pooled over {BATCHES} batches with dropout off", prepared)


@torch.inference_mode()
def show(statistics: str, prepared: Prepared, within: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
    """Print top-1 and mean loss on `select`, in batches of 32 in a drawn order."""
    order, right, loss = np.random.default_rng(0).permutation(prepared.roles.select), 0, 0.0
    prepared.module.eval()
    with within():
        for first in range(0, len(order), 32):
            batch = order[first : first + 32]
            logits, targets = prepared.module(prepared.feed.pictures(batch)).float(), prepared.feed.targets(batch)
            right += int((logits.argmax(1) == targets).sum())
            loss += nn.functional.cross_entropy(logits, targets, reduction="sum").item()
    print(f"{statistics}: {100 * right / len(order):.2f} % of {len(order)}, loss {loss / len(order):.3f}")


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(Path(folder))
