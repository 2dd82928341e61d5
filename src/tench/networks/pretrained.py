"""Weights in and out: safetensors with metadata, every tensor accounted for, and the classical GoogLeNet's own weights."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tench.config import Preprocessing, cache_folder
from tench.errors import NotFoundError, RecordError, WeightsError
from tench.networks.build import TableNetwork, build
from tench.networks.table import builtin_table
from tench.records import written_atomically

GOOGLENET_PREPROCESSING = Preprocessing(height_px=224, width_px=224, channels="BGR", mean=(104.00699, 116.66877, 122.67891))
"""What the classical GoogLeNet's weights were trained on: blue, green, red, 0-255, minus the channel means, not divided."""

GOOGLENET_FILES = ("bvlc_googlenet.safetensors", "googlenet-12.onnx")
"""Names under which GoogLeNet's weights are looked for in a folder: tench's form, then the ONNX model zoo's."""


def sha256_of(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write parameters and buffers of `module`, and `metadata`, into the safetensors file `path`, whole or not at all.

    Raises RecordError where it cannot be written.
    """
    # safetensors wants plain, unshared memory: channels-last kernels are laid out anew, tied weights are written twice.
    tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in module.state_dict().items()}
    try:
        with written_atomically(path) as temporary:
            save_file(tensors, temporary, dict(metadata))
    except SafetensorError as error:  # what it makes of a full disk
        raise RecordError(f"{path} could not be written: {error}. Make room or mend the folder, then try again.") from error


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata, of the safetensors file `path`.

    Raises NotFoundError where there is no such file, WeightsError where it is cut short, damaged or of another format.
    Nothing is ever unpickled.
    """
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: {error}. The file is cut short, damaged or of another format"
            " (pickled .pt and .pth files are never opened); get it again, or give a .safetensors file."
        ) from None


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into the parameters and buffers of `module`, all of them or none.

    Raises WeightsError that names what is missing, foreign (not of this network), of another shape or of another type.
    `where` says in the message where the tensors are from.
    """
    _copy(module.state_dict(), tensors, where)


def _copy(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    common = [(name, tensors[name], own[name]) for name in own if name in tensors]
    faults = {
        "missing": [name for name in own if name not in tensors],
        "foreign": [name for name in tensors if name not in own],
        "of another shape": [f"{name} is {_shape(t)}, needed {_shape(o)}" for name, t, o in common if t.shape != o.shape],
        "of another type": [
            f"{name} is {t.dtype}, needed {o.dtype}" for name, t, o in common if t.is_floating_point() != o.is_floating_point()
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {fault}: {_some(names)}" for fault, names in faults.items() if names)
        raise WeightsError(f"{where} does not fit the network. {listed}. Give the weights of this very network, with the same classes.")
    with torch.no_grad():
        for _, tensor, target in common:
            target.copy_(tensor)


def find_googlenet_weights(explicit: Path | None = None) -> Path | None:
    """GoogLeNet's weights: `explicit`, else TENCH_WEIGHTS (each a file or a folder), else tench's cache; None where there are none.

    Raises NotFoundError where `explicit` or TENCH_WEIGHTS names something that is not there.
    """
    named = explicit or (Path(os.environ["TENCH_WEIGHTS"]) if os.environ.get("TENCH_WEIGHTS") else None)
    if named is None:
        return _googlenet_in(cache_folder() / "weights")
    found = named if named.is_file() else _googlenet_in(named)
    if found is None:
        source = "" if explicit else " (named by TENCH_WEIGHTS)"
        raise NotFoundError(
            f"There are no GoogLeNet weights at {named}{source}: it is neither a file nor a folder with"
            f" {' or '.join(GOOGLENET_FILES)}. Check the path, or get them by `tench weights get googlenet`."
        )
    return found


def _googlenet_in(folder: Path) -> Path | None:
    return next((folder / name for name in GOOGLENET_FILES if (folder / name).is_file()), None)


def load_googlenet(path: Path, preprocessing: Preprocessing | None = None) -> TableNetwork:
    """The classical GoogLeNet with its 1,000 ImageNet outputs and the weights of `path`, in evaluation mode.

    `path` is safetensors with Caffe's layer names (`conv1/7x7_s2.weight`) or the ONNX model zoo's file (`conv1/7x7_s2_w_0`).
    Another size than 224 may be asked for through `preprocessing`: the network averages over whatever is left.
    Raises WeightsError that names every tensor that is missing, foreign or misshapen.
    """
    preprocessing = preprocessing or GOOGLENET_PREPROCESSING
    table = builtin_table("googlenet")
    if preprocessing.height_px != table.input_px[0]:
        table = table.resized(preprocessing.height_px)
    network = build(table, preprocessing)
    tensors = _onnx_tensors(path) if path.suffix == ".onnx" else read_weights(path)[0]
    own = {_caffe_name(name): tensor for name, tensor in network.state_dict().items() if not name.startswith("normalise.")}
    _copy(own, tensors, str(path))
    return network.eval()


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise NotFoundError(f"There is no weights file {path}; check the path.")


def _onnx_tensors(path: Path) -> dict[str, Tensor]:
    """The trained tensors of an ONNX file under Caffe's names: `NAME_w_0` as `NAME.weight`, `NAME_b_0` as `NAME.bias`."""
    _require_file(path)
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx.external_data_helper import uses_external_data

    try:
        graph = onnx.load(path, load_external_data=False).graph
        trained = [tensor for tensor in graph.initializer if tensor.name not in _reshape_sizes(graph.node)]
        if elsewhere := [tensor.name for tensor in trained if uses_external_data(tensor)]:
            raise ValueError(f"it keeps tensors in other files, which tench does not open: {_some(elsewhere)}")
        return {_from_onnx_name(t.name): torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in trained}
    except (DecodeError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as ONNX: {error}. Get the file again.") from None


def _reshape_sizes(nodes: Iterable[Any]) -> set[str]:
    """Names of the initializers that are no weights but the sizes a Reshape is to give."""
    return {node.input[1] for node in nodes if node.op_type == "Reshape" and len(node.input) > 1}


def _from_onnx_name(onnx_name: str) -> str:
    for ending, kind in {"_w_0": ".weight", "_b_0": ".bias"}.items():
        if onnx_name.endswith(ending):
            return onnx_name.removesuffix(ending) + kind
    return onnx_name


def _caffe_name(module_name: str) -> str:
    """`inception_3a.branch_1.3x3.conv.weight` is `inception_3a/3x3.weight` in Caffe's words."""
    *path, kind = module_name.split(".")
    return "/".join(part for part in path if part not in ("conv", "linear") and not part.startswith("branch_")) + f".{kind}"


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a single number"


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
