"""What is seen inside a network is what its layers compute, by formulas of its own; what is not there is not made up."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tench.config import Preprocessing
from tench.explain.heat import grad_cam
from tench.explain.inside import MOST_MAPS, Network, as_batch, first_filters, last_convolution, parts_with_maps, row_maps, title
from tench.networks.build import build
from tench.networks.foreign import ForeignNetwork
from tench.networks.table import parse

PIXELS = np.random.default_rng(2).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
GLOBAL = "GlobalAvgPool\nFullyConnected, 3\nSoftMax\nClassOutput, 3\n"


def table_network(rows: str, channels: str = "RGB", px: int = 12) -> Network:
    size = Preprocessing(height_px=px, width_px=px, mean=(90.0, 110.0, 130.0), std=(60.0, 60.0, 60.0))
    table = parse(f"[t]\nImageInput, {px}x{px}\n{rows}{GLOBAL}")
    return build(table, size.model_copy(update={"channels": channels}), seed=4).eval()


def foreign(module: nn.Module) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ForeignNetwork(module, Preprocessing(height_px=12, width_px=12, std=(255.0, 255.0, 255.0)), 3).eval()


def scaled(heat: Tensor) -> np.ndarray:
    """Positive part, each map's largest value brought to 255."""
    positive = heat.clamp_min(0)
    return (255 * positive / positive.amax((1, 2), keepdim=True)).round().numpy()


def up_to(network: Network, row: str, x: Tensor) -> Tensor:
    """What the row of a table network gives."""
    for name, module in network.named_children():
        x = module(x)
        if name == row:
            break
    return x


# --- Grad-CAM --------------------------------------------------------------------------------------------------------


def test_before_a_global_average_grad_cam_is_the_class_activation_map() -> None:
    """Zhou et al. 2016: the maps, weighted by the class's row of the last layer; a mean's gradient is the same at every place."""
    network = table_network("Conv, 3x3, 4\nMaxPool, 2x2\nConv, 3x3, 5\n")
    batch, targets = as_batch(PIXELS, network), [0, 1, 2, 0, 1, 2]
    layer = last_convolution(network, parts_with_maps(network, batch))
    assert layer is not None and layer.path == "conv_2"
    with torch.no_grad():
        maps = up_to(network, "conv_2", batch)
        weighted = torch.einsum("nc,nchw->nhw", network.head.weight[targets], maps)
    found = grad_cam(network, layer.module, batch, targets)
    assert found.shape == (6, 6, 6)
    assert np.abs(found - scaled(weighted)).max() <= 1
    assert {int(heat.max()) for heat in found} <= {0, 255}


def test_a_relu_in_place_behind_the_convolution_does_not_change_what_grad_cam_saw() -> None:
    """By hand: the weight of map k is the class's weight times the share of k's places above 0, for ReLU passes only those."""
    convolution, last = nn.Conv2d(3, 5, 3), nn.Linear(5, 3)
    network = foreign(nn.Sequential(convolution, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last))
    batch = as_batch(PIXELS, network)
    with torch.no_grad():
        maps = functional.conv2d(batch / 255, convolution.weight, convolution.bias)
        alpha = last.weight[1] * (maps > 0).float().mean((2, 3))
        expected = scaled((alpha[:, :, None, None] * maps).sum(1))
    layer = last_convolution(network, parts_with_maps(network, batch))
    assert layer is not None
    assert np.abs(grad_cam(network, layer.module, batch, [1] * 6) - expected).max() <= 1


def test_no_evidence_gives_an_empty_map() -> None:
    network = table_network("Conv, 3x3, 4\n")
    with torch.no_grad():
        network.head.weight.zero_()
    layer = network.get_submodule("conv_1")
    assert not grad_cam(network, layer, as_batch(PIXELS[:2], network), [0, 1]).any()


def test_gradients_of_parameters_and_weights_stay_as_they_are() -> None:
    network = table_network("Conv, 3x3, 4\n")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grad_cam(network, network.get_submodule("conv_1"), as_batch(PIXELS, network), [0] * 6)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# --- rows ------------------------------------------------------------------------------------------------------------


def test_maps_of_a_row_are_its_output_each_scaled_by_itself() -> None:
    network = table_network("Conv, 3x3, 20\nMaxPool, 2x2\n")
    batch = as_batch(PIXELS[:3], network)
    rows = row_maps(network, batch, parts_with_maps(network, batch))
    assert [(row.title, row.shape) for row in rows] == [("Conv, 3x3, 20", (20, 12, 12)), ("MaxPool, 2x2", (20, 6, 6))]
    assert rows[0].maps.shape == (3, MOST_MAPS, 12, 12)
    with torch.no_grad():
        output = up_to(network, "conv_1", batch).numpy()
    for place, channel in ((0, 0), (MOST_MAPS - 1, 19)):
        one = output[2, channel]
        expected = 255 * (one - one.min()) / max(one.max() - one.min(), 1e-30)
        assert np.abs(rows[0].maps[2, place] - expected).max() <= 0.51


def test_large_maps_are_averaged_down() -> None:
    network = table_network("Conv, 3x3, 2\n", px=224)
    row = row_maps(network, torch.zeros(1, 3, 224, 224), parts_with_maps(network, torch.zeros(1, 3, 224, 224)))[0]
    assert row.shape == (2, 224, 224)
    assert row.maps.shape == (1, 2, 112, 112)


def test_blocks_are_one_row_and_the_last_of_them_is_what_grad_cam_looks_at() -> None:
    network = table_network("Conv, 3x3, 4\nResidual:\n  Conv, 3x3, 4\n  Conv, 3x3, 4\nReLU\n")
    parts = parts_with_maps(network, as_batch(PIXELS, network))
    rows = row_maps(network, as_batch(PIXELS, network), parts)
    assert [row.title for row in rows] == ["Conv, 3x3, 4", "Residual", "ReLU"]
    layer = last_convolution(network, parts)
    assert layer is not None and title(network, layer.path) == "Residual"


class Attention(nn.Module):
    """Has a tensor (n, heads, tokens, width) inside, which is no maps."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        heads: Tensor = self.norm(tokens.unflatten(2, (2, 4)).transpose(1, 2))
        return heads.transpose(1, 2).flatten(2)


class Transformer(nn.Module):
    """Patches by a convolution, attention, a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.blocks, self.last = nn.Conv2d(3, 8, 3, 3), nn.Sequential(Attention(), Attention()), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.patches(x).flatten(2).mT).mean(1))  # type: ignore[no-any-return]


def test_of_a_foreign_network_its_steps_are_shown_and_attention_is_passed_by() -> None:
    network = foreign(nn.Sequential(Transformer()))
    batch = as_batch(PIXELS, network)
    rows = row_maps(network, batch, parts_with_maps(network, batch))
    assert [(row.title, row.shape) for row in rows] == [("0.patches, Conv2d", (8, 4, 4))]


class Twice(nn.Module):
    """Calls the same pool behind each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.pool, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(self.b(self.pool(self.a(x)))).amax((2, 3)))  # type: ignore[no-any-return]


def test_a_module_that_is_called_twice_is_shown_twice() -> None:
    network = foreign(Twice())
    batch = as_batch(PIXELS, network)
    rows = row_maps(network, batch, parts_with_maps(network, batch))
    assert [row.title.split(",")[0] for row in rows if row.shape[1] > 1] == ["a", "pool", "b"]


# --- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_filters_are_the_first_kernels_in_rgb(channels: str) -> None:
    network = table_network("Conv, 3x3, 4\nConv, 3x3, 5\n", channels)
    found = first_filters(network, parts_with_maps(network, as_batch(PIXELS, network)))
    assert found is not None
    kernels = network.get_parameter("conv_1.conv.weight").detach().numpy()
    assert found[0] == "Conv, 3x3, 4"
    assert np.array_equal(found[1], kernels[:, ::-1] if channels == "BGR" else kernels)


def test_a_convolution_that_does_not_see_the_picture_itself_has_no_filters_to_show() -> None:
    network = foreign(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))
    parts = parts_with_maps(network, as_batch(PIXELS, network))
    assert first_filters(network, parts) is None
    layer = last_convolution(network, parts)
    assert layer is not None and layer.path == "module.1"
