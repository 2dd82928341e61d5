"""Training steps of a table on noise for some seconds: alone, beside a program that keeps a core busy, or beside another of the same."""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack

import torch
from torch.nn import functional

from tench.config import Preprocessing
from tench.networks.reference import network
from tench.runtime import autocast, choose_engine

WARM_UP = 3
FOREVER_S = 86_400
BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> None:
    """Measure and print the seconds of a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="a table of tench's")
    for name in ("size", "batch", "threads"):
        parser.add_argument(name, type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("beside", choices=("nothing", "busy", "same"))
    options = parser.parse_args()
    same = [sys.executable, __file__, options.network, *map(str, (options.size, options.batch, options.threads, FOREVER_S)), "nothing"]
    others = {"nothing": [], "busy": [BUSY], "same": [same]}[options.beside]
    with ExitStack() as stack:
        for command in others:
            other = subprocess.Popen(command)
            stack.callback(other.wait)
            stack.callback(other.kill)
        print(json.dumps({"step_s": step_s(options)}))


def step_s(options: argparse.Namespace) -> float:
    """Seconds a step."""
    engine = choose_engine("cpu")
    torch.set_num_threads(options.threads)
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
    return (time.perf_counter() - began) / count


if __name__ == "__main__":
    main()
