"""What the tests of several processes run in one process and in each of two: `python sharing.py TABLE PICTURES FOLDER`."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tench.config import Engine, Rules, load_recipe
from tench.data.sources import open_source
from tench.networks.reference import from_table
from tench.networks.table import parse
from tench.training.batchnorm import Synchronised
from tench.training.group import Group, joined
from tench.training.plan import Plan
from tench.training.train import train

KEPT: dict[str, Any] = {"last_partial_batch": "kept"}
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "one step": ("modern", {}, {"batch_size": 54, "epochs": 1}),
    "unequal shares": ("modern", KEPT, {"batch_size": 7, "epochs": 1}),
    "more epochs": ("modern", KEPT, {"batch_size": 7, "epochs": 4}),
    "of r2018b": ("r2018b", {}, {"batch_size": 7, "epochs": 2, "learn_rate": 0.1}),
    "with dropout": ("modern", {}, {"batch_size": 8, "epochs": 20}),
}
"""Trainings by their names: recipe, other rules, options. 54 pictures to fit: 7 x 7 and a rest of 5. The last is of another table."""
PLAIN = "Dropout, 0.2\n"
"""What is taken out of the table for all others."""


def plan_of(table: str, pictures: Path, way: str, engine: Engine, **more: Any) -> Plan:
    recipe_name, rules, options = WAYS[way]
    table = table if way == "with dropout" else table.replace(PLAIN, "")
    recipe = load_recipe(recipe_name)
    recipe = recipe.model_copy(update={"rules": Rules.model_validate(recipe.rules.model_dump() | rules)})
    resolved = recipe.resolve({"learn_rate": 0.05, "patience": 40, "seed": 1}, options, more)
    return Plan(from_table(parse(table)), open_source(pictures), recipe, resolved, engine)


def whole_and_shares(case: str, n: int) -> tuple[Tensor, nn.BatchNorm2d]:
    """A batch and a batch norm for it, alike in every process; of `far` the mean is a thousand times the spread."""
    generator = torch.Generator().manual_seed(3)
    dtype = torch.float64 if case == "float64" else torch.float32
    x = torch.randn(n, 4, 3, 5, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.5, 3.0])[:, None, None]
    x = (x + (1000.0 if case == "far" else 1.0)).to(dtype).to(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(4, affine=case != "plain", momentum=None if case == "cumulative" else 0.1).to(dtype)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2.0, generator=generator)
    return x, norm


def through(norm: nn.BatchNorm2d, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Two batches through `norm`, and the gradients of a sum of its outputs weighted by `weights`."""
    x = x.detach().requires_grad_()
    with torch.no_grad():
        norm(x / 2)
    y = norm(x)
    (y * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    found = {"y": y.detach(), "of x": x.grad, **dict(norm.named_buffers())}
    return found | {f"of {name}": parameter.grad for name, parameter in norm.named_parameters() if parameter.grad is not None}


def norm_differences(group: Group) -> dict[str, dict[str, float]]:
    """How far a synchronised batch norm is from torch's on the whole batch, as a share of the largest value; by case and tensor."""
    cases = {}
    for case, n in (("float64", 7), ("float32", 8), ("far", 7), ("plain", 5), ("cumulative", 5), ("one value", 2)):
        x, norm = whole_and_shares(case, n)
        if case == "one value":
            x = x[:, :, :1, :1]
        weights = torch.cos(torch.arange(x.numel(), dtype=x.dtype)).view(x.shape)
        mine = group.share(np.arange(n))
        expected = through(norm, x, weights)
        _, again = whole_and_shares(case, n)
        with Synchronised(group):
            found = through(again, x[mine], weights[mine])
        if norm.affine:
            group.add([found["of weight"], found["of bias"]])
        for name in ("y", "of x"):
            expected[name] = expected[name][mine]
        cases[case] = {name: relative(found[name], expected[name]) for name in expected}
    return cases


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value; the number of values must be the same."""
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-12))


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """The length of the difference as a share of the length, of all that is learnt as one vector, and of all running statistics.

    (Of each tensor by itself it would say nothing: the bias of a convolution before a batch norm is nothing but rounding.)
    """
    assert list(found) == list(expected)
    running = [name for name in expected if "running" in name]
    learnt = [name for name in expected if expected[name].is_floating_point() and name not in running and "normalise" not in name]
    lengths = {}
    for what, names in (("weights", learnt), ("running statistics", running)):
        ours, theirs = (torch.cat([tensors[name].double().flatten() for name in names]) for tensors in (found, expected))
        lengths[what] = float((ours - theirs).norm() / theirs.norm())
    return lengths


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def start_two(*arguments: str | Path) -> list[subprocess.Popen[bytes]]:
    """This file in two processes, without torchrun, whose own start takes seconds."""
    port = str(free_port())
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, __file__, *map(str, arguments)]
    return [subprocess.Popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]


def main(table: str, pictures: Path, folder: Path) -> None:
    """The batch norms, then every way of training, synchronised and two of them not."""
    engine = Engine(threads=1, processes=2)
    with joined() as group:
        (folder / f"norms-{group.rank}.json").write_text(json.dumps(norm_differences(group)))
        runs = [train(plan_of(table, pictures, way, engine), folder / way) for way in WAYS]
        own = {way: plan_of(table, pictures, way, engine, norm_parts=2) for way in ("one step", "more epochs")}
        runs += [train(plan, folder / f"{way}, each its own") for way, plan in own.items()]
    assert all((run.record.status == "finished") == group.leads for run in runs)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
