"""A new last layer for GoogLeNet from JPEG files: by tench, by tench with features kept, by passing through it every epoch in plain
torch, or just one pass of ONNX Runtime over all photographs."""

import argparse
import json
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("how", choices=("tench", "torch", "onnxruntime"))
parser.add_argument("folder", type=Path)
parser.add_argument("weights", type=Path)
parser.add_argument("model", type=Path)
parser.add_argument("--epochs", type=int, default=6)
options = parser.parse_args()
began = time.perf_counter()

if options.how == "tench":
    from tench.runtime import tune_process

    tune_process()
    import tench

    with tempfile.TemporaryDirectory() as runs:
        began = time.perf_counter()
        tench.transfer("googlenet", options.folder, weights=options.weights, runs=runs)
        first = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as runs:
        began = time.perf_counter()
        tench.transfer("googlenet", options.folder, weights=options.weights, runs=runs)
        print(json.dumps({"first_s": first, "again_s": time.perf_counter() - began}))
elif options.how == "torch":
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from tench.networks.pretrained import load_googlenet

    steps = transforms.Compose([transforms.Resize((224, 224), antialias=True), transforms.PILToTensor()])
    train = DataLoader(datasets.ImageFolder(options.folder / "train", steps), 32, shuffle=True, num_workers=2)
    test = DataLoader(datasets.ImageFolder(options.folder / "val", steps), 32, num_workers=2)
    network = load_googlenet(options.weights).eval()
    head = nn.Linear(network.head.in_features, 10)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
    began = time.perf_counter()
    for _ in range(options.epochs):
        for batch, targets in train:
            with torch.no_grad():
                features = network.features(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features), targets).backward()
            optimizer.step()
    with torch.no_grad():
        for batch, _ in test:
            head(network.features(batch)).argmax(1)
    taken = time.perf_counter() - began
    print(json.dumps({"first_s": taken, "again_s": taken}))
else:
    import numpy as np
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(options.model.read_bytes(), providers=["CPUExecutionProvider"])
    files = sorted(options.folder.rglob("*.JPEG"))
    began = time.perf_counter()
    for first in range(0, len(files), 32):
        pictures = [np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in files[first : first + 32]]
        session.run(None, {"pictures": np.stack(pictures)})
    taken = time.perf_counter() - began
    print(json.dumps({"first_s": taken, "again_s": taken}))
