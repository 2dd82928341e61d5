"""The memory of one training: peak of a process of its own, and how much of it is its own and how much mapped from files, in MiB."""

import argparse
import json
import tempfile
from pathlib import Path

from tench.runtime import tune_process

parser = argparse.ArgumentParser(description=__doc__)
for name in ("folder", "network"):
    parser.add_argument(name)
for name in ("size", "batch"):
    parser.add_argument(name, type=int)
parser.add_argument("--untuned", action="store_true")
options = parser.parse_args()
if not options.untuned:
    tune_process()

import tench  # noqa: E402 (the memory settings come before torch)
from tench.training.loop import Watcher  # noqa: E402


def status() -> dict[str, float]:
    """Lines of /proc/self/status that are of memory, in MiB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


class Looker(Watcher):
    """Looks after every step."""

    def __init__(self) -> None:
        self.own = self.mapped = 0.0

    def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
        now = status()
        self.own, self.mapped = max(self.own, now["RssAnon"]), max(self.mapped, now["RssFile"])


looker = Looker()
with tempfile.TemporaryDirectory() as runs:
    common = {"size_px": options.size, "batch_size": options.batch, "epochs": 1, "recipe": "modern", "exhibits": False}
    run = tench.train(options.network, options.folder, device="cpu", runs=runs, watcher=looker, **common)
found = {"peak_mib": status()["VmHWM"], "own_mib": looker.own, "mapped_mib": looker.mapped}
print(json.dumps(found | {"precision": run.record.engine["precision"]}))
