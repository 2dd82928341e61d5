"""Epochs in plain torch, as its reference scripts do them: ImageFolder, torchvision's transforms, DataLoader, SGD; or by timm's parts."""

import argparse
import os
import time
from collections.abc import Iterable

import task
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tench.config import Preprocessing
from tench.networks.build import build
from tench.networks.table import builtin_table

Batches = Iterable[tuple[Tensor, Tensor]]


def parser() -> argparse.ArgumentParser:
    """The task, and what is particular to plain torch."""
    found = task.parser(__doc__ or "")
    found.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of the DataLoader")
    found.add_argument("--channels-last", action="store_true", help="network and photographs in that memory layout")
    found.add_argument("--bfloat16", action="store_true", help="under torch.autocast")
    found.add_argument("--timm", action="store_true", help="dataset, loader and optimizer of timm, as its train.py makes them")
    return found


def torchvision_parts(options: argparse.Namespace, network: nn.Module) -> tuple[Batches, torch.optim.Optimizer]:
    """Loader and optimizer as in torchvision's references/classification."""
    from torchvision import datasets, transforms

    steps = transforms.Compose(
        [
            transforms.Resize((options.size, options.size), antialias=True),
            transforms.RandomAffine(0, translate=(task.SHIFT, task.SHIFT), scale=task.SCALES),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )
    pictures = datasets.ImageFolder(options.folder / "train", steps)
    loader: Batches = DataLoader(
        pictures, options.batch, shuffle=True, num_workers=options.workers, drop_last=True, persistent_workers=options.workers > 0
    )
    return loader, torch.optim.SGD(network.parameters(), lr=task.RATE, momentum=task.MOMENTUM, weight_decay=task.DECAY)


def timm_parts(options: argparse.Namespace, network: nn.Module) -> tuple[Batches, torch.optim.Optimizer]:
    """The same by timm. Its window of random size and place comes nearest to a shift and a scale; the network itself normalises."""
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    loader: Batches = create_loader(
        create_dataset("", root=str(options.folder), split="train", is_training=True),
        input_size=(3, options.size, options.size),
        batch_size=options.batch,
        is_training=True,
        scale=(task.SCALES[0] ** 2, 1.0),
        ratio=task.SCALES,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1 / 255, 1 / 255, 1 / 255),
        num_workers=options.workers,
        device=torch.device("cpu"),
    )
    return loader, create_optimizer_v2(network, opt="sgd", lr=task.RATE, momentum=task.MOMENTUM, weight_decay=task.DECAY)


def main() -> None:
    """Train and report; a step's wait for its batch is counted, and that for an epoch's first one beside."""
    options = parser().parse_args()
    table = builtin_table(options.network).resized(options.size).with_classes(task.n_classes(options.folder))
    network: nn.Module = build(table, Preprocessing(height_px=options.size, width_px=options.size, std=(64, 64, 64)))
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)
    loader, optimizer = (timm_parts if options.timm else torchvision_parts)(options, network)
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    epoch_s, waits = [], []
    for _ in range(options.epochs):
        waits, n = [], 0
        network.train()
        began = asked = time.perf_counter()
        for batch, targets in loader:
            waits.append(time.perf_counter() - asked)
            shown = batch.contiguous(memory_format=memory_format)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
                loss = nn.functional.cross_entropy(network(shown), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            n += len(targets)
            asked = time.perf_counter()
        epoch_s.append(time.perf_counter() - began)
    task.report(epoch_s, n, waiting_share=sum(waits) / epoch_s[-1], first_wait_share=waits[0] / epoch_s[-1])


if __name__ == "__main__":
    main()
