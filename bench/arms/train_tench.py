"""Epochs by tench, from JPEG files: seconds of each epoch, decoding in the first, and the share of the time a step waits for pictures."""

import argparse
import json
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("folder", "network"):
    parser.add_argument(name)
for name in ("size", "batch", "epochs"):
    parser.add_argument(name, type=int)
parser.add_argument("--untuned", action="store_true")
options = parser.parse_args()

if not options.untuned:
    from tench.runtime import tune_process

    tune_process()

import tench  # noqa: E402 (the memory settings come before torch)
from tench.training import feed  # noqa: E402
from tench.training.loop import Watcher  # noqa: E402

waited = 0.0
augmented = feed.Feed.augmented


def timed(self: feed.Feed, *given: object) -> object:
    global waited
    began = time.perf_counter()
    found = augmented(self, *given)  # type: ignore[arg-type]
    waited += time.perf_counter() - began
    return found


feed.Feed.augmented = timed  # type: ignore[method-assign,assignment]


class Clock(Watcher):
    """Notes when epochs end, and what validating took of them."""

    def __init__(self) -> None:
        self.train_s: list[float] = []
        self.since = time.perf_counter()

    def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
        self.last_step = time.perf_counter()

    def epoch_ended(self, line: dict[str, object]) -> None:
        self.train_s.append(self.last_step - self.since)
        self.since = time.perf_counter()


clock = Clock()
common = {"size_px": options.size, "batch_size": options.batch, "epochs": options.epochs, "patience": None}
with tempfile.TemporaryDirectory() as runs:
    run = tench.train(options.network, options.folder, recipe="modern", runs=runs, watcher=clock, **common)
    n = (run.record.data.n_fit // options.batch) * options.batch
    engine = run.record.engine
print(
    json.dumps(
        {
            "photographs_per_s": n / min(clock.train_s[1:]),
            "all_epochs_photographs_per_s": n * options.epochs / sum(clock.train_s),
            "first_epoch_s": clock.train_s[0],
            "waiting_share": waited / sum(clock.train_s),
            "engine": f"{engine['layout']}{', compiled' if engine['compiled'] else ''}",
            "macs": run.record.network.macs,
            "folder": Path(options.folder).name,
        }
    )
)
