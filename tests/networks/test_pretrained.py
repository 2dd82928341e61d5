"""Weights in and out: every tensor accounted for, nothing unpickled, GoogLeNet's numbers against a second implementation."""

import hashlib
import os
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from tench.config import Preprocessing, cache_folder
from tench.errors import NotFoundError, WeightsError
from tench.networks.pretrained import (
    GOOGLENET_PREPROCESSING,
    find_googlenet_weights,
    load_googlenet,
    load_into,
    read_weights,
    save_weights,
    sha256_of,
)

IMAGENET_OF_TEN = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}

MODULES = {  # input channels, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (Szegedy et al. 2015, table 1)
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def caffe_tensors() -> dict[str, Tensor]:
    """116 random tensors with the names and shapes of Caffe's GoogLeNet, large enough that every layer says something."""
    shapes = {"conv1/7x7_s2": (64, 3, 7, 7), "conv2/3x3_reduce": (64, 64, 1, 1), "conv2/3x3": (192, 64, 3, 3)}
    for name, (channels, n1, r3, n3, r5, n5, pool) in MODULES.items():
        own = {"1x1": (n1, channels, 1, 1), "3x3_reduce": (r3, channels, 1, 1), "3x3": (n3, r3, 3, 3)}
        own |= {"5x5_reduce": (r5, channels, 1, 1), "5x5": (n5, r5, 5, 5), "pool_proj": (pool, channels, 1, 1)}
        shapes |= {f"inception_{name}/{layer}": shape for layer, shape in own.items()}
    shapes["loss3/classifier"] = (1000, 1024)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        tensors[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    return tensors


def forward_by_hand(t: dict[str, Tensor], x: Tensor) -> Tensor:
    """GoogLeNet as its weights' description has it, on normalised BGR pictures; an implementation apart from the table's."""

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return functional.relu(functional.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"], stride, padding))

    def inception(x: Tensor, name: str) -> Tensor:
        p = f"inception_{name}"
        middle = conv(conv(x, f"{p}/3x3_reduce"), f"{p}/3x3", padding=1)
        wide = conv(conv(x, f"{p}/5x5_reduce"), f"{p}/5x5", padding=2)
        return torch.cat([conv(x, f"{p}/1x1"), middle, wide, conv(functional.max_pool2d(x, 3, 1, 1), f"{p}/pool_proj")], 1)

    def pool(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    x = functional.local_response_norm(pool(conv(x, "conv1/7x7_s2", 2, 3)), 5, 1e-4, 0.75, 1.0)
    x = pool(functional.local_response_norm(conv(conv(x, "conv2/3x3_reduce"), "conv2/3x3", padding=1), 5, 1e-4, 0.75, 1.0))
    x = pool(inception(inception(x, "3a"), "3b"))
    for name in ("4a", "4b", "4c", "4d", "4e"):
        x = inception(x, name)
    x = inception(inception(pool(x), "5a"), "5b")
    return functional.linear(x.mean((2, 3)), t["loss3/classifier.weight"], t["loss3/classifier.bias"])


def by_hand(t: dict[str, Tensor], pictures: Tensor) -> Tensor:
    """The same from RGB pictures 0-255."""
    return forward_by_hand(t, pictures.flip(1) - torch.tensor([104.00699, 116.66877, 122.67891]).view(1, 3, 1, 1))


def write_onnx(path: Path, tensors: dict[str, Tensor], external: str = "") -> Path:
    """A file named as the model zoo names things, down to the size that feeds its Reshape."""
    onnx = pytest.importorskip("onnx")
    ending = {"weight": "_w_0", "bias": "_b_0"}
    graph = onnx.GraphProto(name="bvlc_googlenet")
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), layer + ending[kind]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1024]), "OC2_DUMMY_1"))
    graph.node.append(onnx.helper.make_node("Reshape", ["pool5/7x7_s1_2", "OC2_DUMMY_1"], ["OC2_DUMMY_0"]))
    if external:
        tensor = graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=external)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


def test_weights_come_back_bit_for_bit_with_their_metadata(tmp_path: Path) -> None:
    written, read = small().to(memory_format=torch.channels_last), small()
    save_weights(written, tmp_path / "w.safetensors", {"network": "small", "żółty": "ß"})
    tensors, metadata = read_weights(tmp_path / "w.safetensors")
    assert metadata == {"network": "small", "żółty": "ß"}
    load_into(read, tensors, "w.safetensors")
    for name, tensor in written.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_tied_weights_are_written_and_read(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    save_weights(tied, tmp_path / "w.safetensors", {})
    tensors, _ = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(tensors["0.weight"], tensors["1.weight"])


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused_with_its_path(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(small(), path, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"w\.safetensors cannot be read as safetensors"):
        read_weights(path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["MALICIOUS_TARGET"],)


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALICIOUS_TARGET", str(tmp_path / "broken_in"))
    path = tmp_path / "w.safetensors"
    torch.save({"weight": Malicious()}, path)
    with pytest.raises(WeightsError, match=r"pickled \.pt and \.pth files are never opened"):
        read_weights(path)
    assert not (tmp_path / "broken_in").exists()


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no weights file .*absent\.safetensors"):
        read_weights(tmp_path / "absent.safetensors")


def test_every_tensor_that_does_not_fit_is_named_and_nothing_is_copied() -> None:
    module = small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tensors = {name: tensor + 1 for name, tensor in before.items()}
    del tensors["1.running_mean"]
    tensors["3.weight"] = torch.zeros(2, 5)
    tensors["0.bias"] = torch.zeros(4, dtype=torch.int64)
    tensors["aux.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_into(module, tensors, "there.safetensors")
    message = str(caught.value)
    assert message.startswith("there.safetensors does not fit")
    for part in ("1 missing: 1.running_mean", "1 foreign: aux.weight", "3.weight is 2x5, needed 2x4", "0.bias is torch.int64"):
        assert part in message
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "long").write_bytes(bytes(3_000_000))
    assert sha256_of(tmp_path / "long") == hashlib.sha256(bytes(3_000_000)).hexdigest()


def test_weights_are_looked_for_in_the_option_then_the_environment_then_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    assert find_googlenet_weights(None) is None
    cached = cache_folder() / "weights" / "bvlc_googlenet.safetensors"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_googlenet_weights(None) == cached
    in_folder = tmp_path / "folder" / "googlenet-12.onnx"
    in_folder.parent.mkdir()
    in_folder.touch()
    monkeypatch.setenv("TENCH_WEIGHTS", str(in_folder.parent))
    assert find_googlenet_weights(None) == in_folder
    explicit = tmp_path / "own.safetensors"
    explicit.touch()
    assert find_googlenet_weights(explicit) == explicit


def test_a_named_place_without_weights_is_an_error_even_if_the_cache_has_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        find_googlenet_weights(tmp_path / "nowhere")
    monkeypatch.setenv("TENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(NotFoundError, match="named by TENCH_WEIGHTS"):
        find_googlenet_weights(None)


def test_googlenet_computes_what_a_second_implementation_does(tmp_path: Path, caffe_tensors: dict[str, Tensor]) -> None:
    save_file(caffe_tensors, tmp_path / "g.safetensors")
    network = load_googlenet(tmp_path / "g.safetensors")
    assert not network.training
    pictures = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        expected, given = by_hand(caffe_tensors, pictures), network(pictures.to(torch.uint8))
    assert given.shape == (2, 1000)
    assert (given - expected).abs().max() < 1e-4 * expected.abs().max()


def test_googlenet_at_another_size(tmp_path: Path, caffe_tensors: dict[str, Tensor]) -> None:
    save_file(caffe_tensors, tmp_path / "g.safetensors")
    small_pictures: Preprocessing = GOOGLENET_PREPROCESSING.model_copy(update={"height_px": 97, "width_px": 97})
    network = load_googlenet(tmp_path / "g.safetensors", small_pictures)
    pictures = torch.randint(0, 256, (1, 3, 97, 97), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        expected, given = by_hand(caffe_tensors, pictures), network(pictures)
    assert (given - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_model_zoos_onnx_gives_the_same_network(tmp_path: Path, caffe_tensors: dict[str, Tensor]) -> None:
    save_file(caffe_tensors, tmp_path / "g.safetensors")
    first = load_googlenet(tmp_path / "g.safetensors").state_dict()
    second = load_googlenet(write_onnx(tmp_path / "g.onnx", caffe_tensors)).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_googlenet_tensors_that_do_not_fit_are_named(tmp_path: Path, caffe_tensors: dict[str, Tensor], form: str) -> None:
    wrong = dict(caffe_tensors)
    del wrong["inception_4c/5x5.bias"]
    wrong["loss1/classifier.weight"] = torch.zeros(2, 2)
    wrong["loss3/classifier.weight"] = torch.zeros(10, 1024)
    path = tmp_path / f"g.{form}"
    if form == "onnx":
        write_onnx(path, wrong)
    else:
        save_file(wrong, path)
    with pytest.raises(WeightsError) as caught:
        load_googlenet(path)
    message = str(caught.value)
    assert str(path) in message
    for part in (
        "1 missing: inception_4c/5x5.bias",
        "1 foreign: loss1/classifier.weight",
        "loss3/classifier.weight is 10x1024, needed 1000x1024",
    ):
        assert part in message


def test_onnx_that_is_damaged_or_reaches_for_other_files_is_refused(tmp_path: Path, caffe_tensors: dict[str, Tensor]) -> None:
    pytest.importorskip("onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\x00no onnx" * 9)
    with pytest.raises(WeightsError, match=r"bad\.onnx cannot be read as ONNX"):
        load_googlenet(tmp_path / "bad.onnx")
    with pytest.raises(WeightsError, match="keeps tensors in other files"):
        load_googlenet(write_onnx(tmp_path / "g.onnx", caffe_tensors, external="../../secret"))


@pytest.mark.shared
def test_the_real_weights_recognise_real_photographs(shared_data: Path, shared_weights: Path) -> None:
    """Untrained, ten-way, 98.65 % of the 3,925 are right; 40 are enough to notice RGB for BGR (then 43 % of 1,000-way)."""
    network = load_googlenet(shared_weights)
    pictures, labels = validation_photographs(shared_data, every=99)
    with torch.inference_mode():
        logits = torch.cat([network(batch) for batch in pictures.split(30)])
    ten = list(IMAGENET_OF_TEN.values())
    right = int((logits[:, ten].argmax(1) == labels).sum())
    assert len(labels) == 40
    assert right >= len(labels) - 2
    assert 0.6 <= float((logits.argmax(1) == torch.tensor(ten)[labels]).float().mean()) <= 0.88


def validation_photographs(data: Path, every: int) -> tuple[Tensor, Tensor]:
    """Every so many-th validation photograph (n, 3, 224, 224) uint8, and its class 0-9."""
    if data.is_dir():
        files = sorted(data.rglob("val/*/*.JPEG"))[::every]
        found = [(path.parent.name, path.read_bytes()) for path in files]
    else:
        with tarfile.open(data) as archive:
            members = sorted((m for m in archive if "/val/" in m.name and m.isfile()), key=lambda m: m.name)[::every]
            members.sort(key=lambda m: m.offset)
            found = [(m.name.split("/")[-2], archive.extractfile(m).read()) for m in members]  # type: ignore[union-attr]
    photographs = [np.asarray(Image.open(BytesIO(content)).convert("RGB").resize((224, 224))) for _, content in found]
    labels = [list(IMAGENET_OF_TEN).index(wnid) for wnid, _ in found]
    return torch.from_numpy(np.stack(photographs)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)
