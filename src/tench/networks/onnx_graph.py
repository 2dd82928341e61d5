"""A built table as an ONNX model, written node by node, so that other engines can compute what the module computes in evaluation mode."""

from collections.abc import Sequence
from functools import singledispatchmethod
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tench.errors import UsageError
from tench.networks.build import Concat, FullyConnected, LocalResponseNorm, Normalise, Residual, Scale, TableNetwork

OPSET = 17
IR_VERSION = 8
"""Of the file format: what opset 17 came with, so that runtimes of 2022 and later read it."""
PICTURES = "pictures"
"""The input: uint8 RGB (n, height, width, 3), as pictures are decoded."""
Output = Literal["features", "logits", "maps"]


def onnx_model(network: TableNetwork, outputs: Sequence[Output] = ("logits",)) -> bytes:
    """The model of `network` from pictures to what is asked for, in that order: `logits` (n, classes), `features` (n, n_features), which
    go into its head, and `maps` (n, channels, rows, columns), those of the last row with a convolution in it.

    Raises UsageError where there is no such row.
    """
    graph, rows = _Graph(), list(network.children())
    ends: dict[Output, int] = {"logits": len(rows), "features": network.table.head_index}
    if "maps" in outputs:
        ends["maps"] = _last_convolution(network)
    value = graph.node("Transpose", PICTURES, perm=[0, 3, 1, 2])
    for done in range(max(ends[output] for output in outputs) + 1):
        for output in (output for output in outputs if ends[output] == done):
            graph.result(value, output)
        if done < len(rows):
            value = graph.add(rows[done], value)
    height, width = network.preprocessing.height_px, network.preprocessing.width_px
    pictures = helper.make_tensor_value_info(PICTURES, TensorProto.UINT8, ["n", height, width, 3])
    answers = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n"] + [None] * _DIMENSIONS[output]) for output in outputs]
    made = helper.make_graph(graph.nodes, network.table.name, [pictures], answers, graph.tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="tench")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


_DIMENSIONS: dict[Output, int] = {"logits": 1, "features": 1, "maps": 3}


def _last_convolution(network: TableNetwork) -> int:
    """How many rows, the normalisation with them, end with the last one that has a convolution in it."""
    ends = [i for i, row in enumerate(network.children(), start=1) if any(isinstance(part, nn.Conv2d) for part in row.modules())]
    if not ends:
        raise UsageError(f"{network.table.name} has no convolution, so it has no maps to give out.")
    return ends[-1]


class _Graph:
    """Nodes and tensors so far. `add` takes a module and the name of its input, and gives the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:
        result = result or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    def result(self, value: str, output: Output) -> None:
        """Give `value` out under the name `output`: maps as they are, anything else flat."""
        if output == "maps":
            self.node("Identity", value, result=output)
        else:
            self.node("Flatten", value, result=output, axis=1)

    def tensor(self, value: Tensor | float) -> str:
        array = value.detach().cpu().contiguous().numpy() if isinstance(value, Tensor) else np.float32(value)
        self.tensors.append(numpy_helper.from_array(np.asarray(array), f"tensor_{len(self.tensors)}"))
        return self.tensors[-1].name

    @singledispatchmethod
    def add(self, module: nn.Module, x: str) -> str:
        raise NotImplementedError(type(module).__name__)

    @add.register
    def _(self, module: Normalise, x: str) -> str:
        x = self.node("Cast", x, to=TensorProto.FLOAT)
        if module.flips_channels:
            self.tensors.append(numpy_helper.from_array(np.array([2, 1, 0]), f"tensor_{len(self.tensors)}"))
            x = self.node("Gather", x, self.tensors[-1].name, axis=1)
        return self.node("Div", self.node("Sub", x, self.tensor(module.mean)), self.tensor(module.std))

    @add.register
    def _(self, module: nn.Sequential, x: str) -> str:
        for child in module:
            x = self.add(child, x)
        return x

    @add.register
    def _(self, module: Concat, x: str) -> str:
        return self.node("Concat", *[self.add(branch, x) for branch in module], axis=1)

    @add.register
    def _(self, module: Residual, x: str) -> str:
        return self.node("Add", self.add(module.shortcut, x), self.add(module.body, x))

    @add.register
    def _(self, module: nn.Conv2d, x: str) -> str:
        tensors = [self.tensor(module.weight)] + ([] if module.bias is None else [self.tensor(module.bias)])
        pads = _both_ends(module.padding)
        return self.node("Conv", x, *tensors, kernel_shape=module.kernel_size, strides=module.stride, pads=pads, group=module.groups)

    @add.register
    def _(self, module: nn.BatchNorm2d, x: str) -> str:
        assert module.running_mean is not None and module.running_var is not None
        tensors = [self.tensor(t) for t in (module.weight, module.bias, module.running_mean, module.running_var)]
        return self.node("BatchNormalization", x, *tensors, epsilon=module.eps)

    @add.register
    def _(self, module: nn.ReLU, x: str) -> str:
        return self.node("Relu", x)

    @add.register(nn.Identity)
    @add.register(nn.Dropout)
    def _(self, module: nn.Module, x: str) -> str:
        return x

    @add.register
    def _(self, module: nn.MaxPool2d, x: str) -> str:
        return self.node("MaxPool", x, **_window(module))

    @add.register
    def _(self, module: nn.AvgPool2d, x: str) -> str:
        return self.node("AveragePool", x, count_include_pad=1, **_window(module))

    @add.register
    def _(self, module: nn.AdaptiveMaxPool2d, x: str) -> str:
        return self.node("GlobalMaxPool", x)

    @add.register
    def _(self, module: nn.AdaptiveAvgPool2d, x: str) -> str:
        return self.node("GlobalAveragePool", x)

    @add.register
    def _(self, module: nn.Upsample, x: str) -> str:
        self.tensors.append(numpy_helper.from_array(np.array(module.size, dtype=np.int64), f"tensor_{len(self.tensors)}"))
        sizes = self.node("Concat", self.node("Shape", x, start=0, end=2), self.tensors[-1].name, axis=0)
        return self.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")

    @add.register
    def _(self, module: LocalResponseNorm, x: str) -> str:
        return self.node("LRN", x, size=module.size, alpha=module.alpha, beta=module.beta, bias=module.k)

    @add.register
    def _(self, module: FullyConnected, x: str) -> str:
        flat, linear = self.node("Flatten", x, axis=1), module.linear
        tensors = [self.tensor(linear.weight)] + ([] if linear.bias is None else [self.tensor(linear.bias)])
        return self.add(module.relu, self.node("Gemm", flat, *tensors, transB=1))

    @add.register
    def _(self, module: Scale, x: str) -> str:
        return self.node("Mul", x, self.tensor(module.factor))

    @add.register
    def _(self, module: nn.Flatten, x: str) -> str:
        return self.node("Flatten", x, axis=1)


def _window(module: nn.MaxPool2d | nn.AvgPool2d) -> dict[str, Any]:
    return {
        "kernel_shape": _pair(module.kernel_size),
        "strides": _pair(module.stride),
        "pads": _both_ends(module.padding),
        "ceil_mode": int(module.ceil_mode),
    }


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _both_ends(padding: Any) -> list[int]:
    return _pair(padding) * 2
