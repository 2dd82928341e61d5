"""A network's answers for many pictures, in float32 by the fastest engine there is, equal to torch within a tolerance that is checked every
time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tench.config import Engine
from tench.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Output = Literal["features", "logits"]
Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Session = Callable[[Sequence[str], NDArray[np.uint8]], list[NDArray[np.float32]]]

BATCH = 32
TOLERANCE = 1e-4
"""Largest difference from torch's answers, as a share of the largest of those, at which another engine's answers are taken."""
WORTH_IT = 64
"""Pictures from which on it pays to write the model for another engine and to check it."""


@dataclass(frozen=True)
class Computer:
    """`compute`: uint8 RGB pictures (n, height, width, 3) to float32 (n, width); `engine`: what computes, in words."""

    compute: Compute
    engine: str

    def of(self, pixels: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """What it computes for `pixels[indices]`, at least one, a batch at a time."""
        return np.concatenate([self.compute(pixels[indices[first : first + BATCH]]) for first in range(0, len(indices), BATCH)])


def fastest(module: "nn.Module", sample: NDArray[np.uint8], engine: Engine, output: Output = "logits") -> Computer:
    """The fastest way to `output` of `module`, which is in evaluation mode and stays as it is.

    On a CPU, networks that are tables are computed by ONNX Runtime, after its answers to the pictures `sample` were compared with
    torch's: where they differ by more than TOLERANCE, and for everything else, torch computes.
    """
    by_torch = _torch(module, engine, output)
    by_onnxruntime = _onnxruntime(module, engine, output)
    if by_onnxruntime is None:
        return Computer(by_torch, "torch")
    expected = by_torch(sample)
    difference = float(np.abs(by_onnxruntime(sample) - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not difference <= TOLERANCE:
        return Computer(by_torch, "torch")
    return Computer(by_onnxruntime, f"ONNX Runtime, within {difference:.0e} of torch")


@contextmanager
def computing(
    module: "nn.Module", pixels: NDArray[np.uint8], indices: NDArray[np.int64], engine: Engine, output: Output = "logits"
) -> Iterator[Computer]:
    """A computer for `pixels[indices]`, uint8 RGB (n, height, width, 3), may be a memory map: the fastest, checked on the first of
    them, or torch where they are few. The module is in evaluation mode meanwhile, each of its parts as before afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        if len(indices) >= WORTH_IT:
            yield fastest(module, pixels[indices[:BATCH]], engine, output)
        else:
            yield Computer(_torch(module, engine, output), "torch")
    finally:
        for part, training in modes:
            part.training = training


@dataclass(frozen=True)
class Answers:
    """Natural log-probabilities, float32 (n, n_classes), and the `engine` that computed them, in words."""

    log_probabilities: NDArray[np.float32]
    engine: str


def log_probabilities(module: "nn.Module", pixels: NDArray[np.uint8], indices: NDArray[np.int64], engine: Engine) -> Answers:
    """What `module`, which gives logits, answers to `pixels[indices]`, by the fastest way. Raises UsageError where there are none."""
    if not len(indices):
        raise UsageError("There are no pictures to score: the list of indices is empty.")
    with computing(module, pixels, indices, engine) as computer:
        return Answers(normalised(computer.of(pixels, indices)), computer.engine)


def normalised(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Natural log-probabilities of `logits`, (n, n_classes), computed in float64."""
    wide = logits.astype(np.float64)
    return np.asarray(wide - np.logaddexp.reduce(wide, axis=1, keepdims=True), dtype=np.float32)


def _torch(module: "nn.Module", engine: Engine, output: Output) -> Compute:
    import torch

    function = module.features if output == "features" else module

    def compute(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Pictures stored (height, width, 3) are channels_last once permuted, without a further copy.
        batch = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
        batch = (batch if engine.layout == "channels_last" else batch.contiguous()).to(engine.device)
        with torch.inference_mode():
            values: NDArray[np.float32] = function(batch).float().cpu().numpy()  # type: ignore[operator]
        return values

    return compute


def _onnxruntime(module: "nn.Module", engine: Engine, output: Output) -> Compute | None:
    """ONNX Runtime's function for `module`; None where it cannot have one."""
    from tench.networks.build import TableNetwork

    if engine.device != "cpu" or not isinstance(module, TableNetwork):
        return None
    from tench.networks.onnx_graph import onnx_model

    run = session(onnx_model(module, (output,)), engine.threads)

    def compute(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return run([output], pictures)[0]

    return compute


def session(model: bytes, threads: int) -> Session:
    """ONNX Runtime's function for an ONNX model with one input: names of outputs, and pictures, uint8 (n, height, width, 3), to float32
    arrays. On the CPU. Raises what ONNX Runtime raises for a model it cannot use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: its warnings are about optimisations
    made = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(outputs: Sequence[str], pictures: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        found = made.run(list(outputs), {made.get_inputs()[0].name: np.ascontiguousarray(pictures)})
        return [np.asarray(values, dtype=np.float32) for values in found]

    return run
