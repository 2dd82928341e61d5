"""GFLOP/s of the product of two 2048 x 2048 matrices, for each precision named: what this machine can reach at all."""

import argparse
import json
import time

import torch

SIDE = 2048
SECONDS = 1.5


def rate(precision: str) -> float:
    """GFLOP/s of products one after the other, for SECONDS."""
    a = torch.rand(SIDE, SIDE).to(getattr(torch, precision))
    _ = a @ a
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        _ = a @ a
        n += 1
    return 2 * SIDE**3 * n / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("precision", nargs="+", choices=("float32", "bfloat16"))
    print(json.dumps({precision: rate(precision) for precision in parser.parse_args().precision}))
