"""Photographs from files to probabilities of a thousand classes by one engine: seconds for one photograph, and a second for many."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("engine", choices=("tench", "torch", "onnxruntime", "openvino"))
parser.add_argument("folder", type=Path)
parser.add_argument("model", type=Path)
parser.add_argument("--weights", type=Path)
parser.add_argument("--precision", choices=("float32", "bfloat16"), help="of torch (float32 without it) or OpenVINO (its own choice)")
options = parser.parse_args()
files = sorted(options.folder.rglob("*.JPEG"))
BATCH = 32
COMPARED = 32
"""So many photographs' highest probabilities are reported, so that engines can be compared in what they answer."""


def pixels(path: Path) -> np.ndarray:
    """A photograph as most scripts read it."""
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, each row's: the model's graph ends in logits."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def batches(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[list[Path]], list[float]]:
    """From files to each one's highest probability, decoded and computed batch after batch by `function`."""

    def run(paths: list[Path]) -> list[float]:
        parts = [function(np.stack([pixels(path) for path in paths[i : i + BATCH]])) for i in range(0, len(paths), BATCH)]
        return np.concatenate(parts).max(1).tolist()

    return run


if options.engine == "tench":
    from tench.runtime import tune_process

    tune_process()
    import tench

    recogniser = tench.load("googlenet", weights=options.weights, classes="all")

    def run(paths: list[Path]) -> list[float]:
        return [guesses[0].probability for guesses in recogniser.predict_many(paths)]
elif options.engine == "torch":
    import torch

    from tench.networks.pretrained import load_googlenet

    bfloat16 = options.precision == "bfloat16"
    memory_format = torch.channels_last if bfloat16 else torch.contiguous_format
    network = load_googlenet(options.weights).eval().to(memory_format=memory_format)

    def by_torch(batch: np.ndarray) -> np.ndarray:
        shown = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return network(shown).float().softmax(1).numpy()

    run = batches(by_torch)
elif options.engine == "onnxruntime":
    import onnxruntime

    session = onnxruntime.InferenceSession(options.model.read_bytes(), providers=["CPUExecutionProvider"])
    run = batches(lambda batch: softmax(session.run(None, {"pictures": batch})[0]))
else:
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "f32"} if options.precision == "float32" else {}
    compiled = openvino.compile_model(openvino.Core().read_model(options.model), "CPU", hint)
    run = batches(lambda batch: softmax(compiled(batch)[0]))

run(files[:1])
singles = []
for path in files[1:11]:
    began = time.perf_counter()
    run([path])
    singles.append(time.perf_counter() - began)
began = time.perf_counter()
answers = run(files)
taken = time.perf_counter() - began
print(json.dumps({"one_s": sorted(singles)[5], "photographs_per_s": len(files) / taken, "answers": answers[:COMPARED]}))
