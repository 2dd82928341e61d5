"""Photographs from files to probabilities of a thousand classes by one engine: seconds for one photograph, and a second for many."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("engine", choices=("tench", "torch", "onnxruntime", "openvino"))
parser.add_argument("folder", type=Path)
parser.add_argument("model", type=Path)
parser.add_argument("--weights", type=Path)
options = parser.parse_args()
files = sorted(options.folder.rglob("*.JPEG"))
BATCH = 32


def pixels(path: Path) -> np.ndarray:
    """A photograph as most scripts read it."""
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def batches(function):
    """A function of files that decodes and computes batch after batch."""
    return lambda paths: [function(np.stack([pixels(p) for p in paths[i : i + BATCH]])) for i in range(0, len(paths), BATCH)]


if options.engine == "tench":
    from tench.runtime import tune_process

    tune_process()
    import tench

    recogniser = tench.load("googlenet", weights=options.weights, classes="all")

    def run(paths: list[Path]) -> object:
        return recogniser.predict_many(paths)
elif options.engine == "torch":
    import torch

    from tench.networks.pretrained import load_googlenet

    network = load_googlenet(options.weights).eval()

    def by_torch(batch: np.ndarray) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(batch).permute(0, 3, 1, 2)).softmax(1).numpy()

    run = batches(by_torch)
elif options.engine == "onnxruntime":
    import onnxruntime

    session = onnxruntime.InferenceSession(options.model.read_bytes(), providers=["CPUExecutionProvider"])
    run = batches(lambda batch: session.run(None, {"pictures": batch})[0])
else:
    import openvino

    compiled = openvino.compile_model(openvino.Core().read_model(options.model), "CPU")
    run = batches(lambda batch: compiled(batch)[0])

run(files[:1])
singles = []
for path in files[1:11]:
    began = time.perf_counter()
    run([path])
    singles.append(time.perf_counter() - began)
began = time.perf_counter()
run(files)
print(json.dumps({"one_s": sorted(singles)[5], "photographs_per_s": len(files) / (time.perf_counter() - began)}))
