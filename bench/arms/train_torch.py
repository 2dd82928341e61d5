"""The same epochs in plain torch, as its reference scripts do them: ImageFolder, torchvision's transforms, DataLoader, SGD."""

import argparse
import json
import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from tench.config import Preprocessing
from tench.networks.build import build
from tench.networks.table import builtin_table

parser = argparse.ArgumentParser()
for name in ("folder", "network"):
    parser.add_argument(name)
for name in ("size", "batch", "epochs"):
    parser.add_argument(name, type=int)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--channels-last", action="store_true")
options = parser.parse_args()

steps = transforms.Compose(
    [
        transforms.Resize((options.size, options.size), antialias=True),
        transforms.RandomAffine(0, translate=(30 / 224, 30 / 224), scale=(0.9, 1.1)),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
)
pictures = datasets.ImageFolder(f"{options.folder}/train", steps)
loader = DataLoader(
    pictures, options.batch, shuffle=True, num_workers=options.workers, drop_last=True, persistent_workers=options.workers > 0
)
table = builtin_table(options.network).resized(options.size).with_classes(len(pictures.classes))
network: nn.Module = build(table, Preprocessing(height_px=options.size, width_px=options.size, std=(64, 64, 64)))
if options.channels_last:
    network = network.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
seconds = []
for _ in range(options.epochs):
    began = time.perf_counter()
    network.train()
    for batch, targets in loader:
        shown = batch.contiguous(memory_format=torch.channels_last) if options.channels_last else batch
        loss = nn.functional.cross_entropy(network(shown), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    seconds.append(time.perf_counter() - began)
n = len(loader) * options.batch
print(json.dumps({"photographs_per_s": n / min(seconds[1:]), "all_epochs_photographs_per_s": n * options.epochs / sum(seconds)}))
