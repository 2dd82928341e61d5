"""Training steps of a table on noise, on all cores' threads, for some seconds."""

import argparse
import json
import time

import torch
from torch.nn import functional

from tench.config import Preprocessing
from tench.networks.reference import network
from tench.runtime import autocast, choose_engine, core_count

WARM_UP = 3


def main() -> None:
    """Measure and print the seconds of a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="a table of tench's")
    for name in ("size", "batch"):
        parser.add_argument(name, type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    engine = choose_engine("cpu")
    torch.set_num_threads(core_count())
    module = network(options.network).build(10, Preprocessing(height_px=options.size, width_px=options.size))
    module = module.to(memory_format=torch.channels_last).train()
    solver = torch.optim.SGD(module.parameters(), 1e-3)
    pictures = torch.randint(0, 256, (options.batch, 3, options.size, options.size), dtype=torch.uint8)
    pictures, targets = pictures.contiguous(memory_format=torch.channels_last), torch.arange(options.batch) % 10

    def step() -> None:
        with autocast(engine):
            logits = module(pictures)
        functional.cross_entropy(logits.float(), targets).backward()
        solver.step()
        solver.zero_grad()

    for _ in range(WARM_UP):
        step()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < options.seconds:
        step()
        count += 1
    print(json.dumps({"step_s": (time.perf_counter() - began) / count}))


if __name__ == "__main__":
    main()
