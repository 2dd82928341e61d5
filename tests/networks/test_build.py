"""Built networks: what the table says is what torch counts, and what each row does is what its formula says."""

import math

import numpy as np
import pytest
import torch
import torchvision
from network_texts import EVERY_KIND, RESNET18, VGG16
from torch import Tensor, nn
from torch.nn import functional

from tench.config import Preprocessing
from tench.errors import TableError, UsageError
from tench.networks import Table, builtin_table, builtin_tables, parse
from tench.networks.build import TableNetwork, build, count_on_module
from tench.networks.reference import network

TEXTS = {"every kind": EVERY_KIND, "vgg16": VGG16, "resnet18": RESNET18}


def table_called(name: str) -> Table:
    return parse(TEXTS[name]) if name in TEXTS else builtin_table(name)


def plain(table: Table) -> Preprocessing:
    height, width = table.input_px
    return Preprocessing(height_px=height, width_px=width)


def made(*rows: str, classes: int = 2, side: int = 6) -> TableNetwork:
    table = parse("\n".join([f"ImageInput, {side}x{side}", *rows, f"FullyConnected, {classes}", "SoftMax", f"ClassOutput, {classes}"]))
    return build(table, plain(table)).eval()


def pictures(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", [*builtin_tables(), *TEXTS])
def test_modules_are_what_their_tables_say(name: str) -> None:
    table = table_called(name)
    with torch.device("meta"):
        network = build(table, plain(table))
        assert all(p.is_meta for p in network.parameters())
    seen: dict[str, tuple[int, ...]] = {}
    for facts in table.layers()[1:]:
        module = network.get_submodule(facts.path)
        module.register_forward_hook(lambda module, inputs, output, path=facts.path: seen.update({path: tuple(output.shape)}))
        assert sum(p.numel() for p in module.parameters()) == facts.parameters, facts.path
    assert count_on_module(network, table.input_px) == (table.parameters, table.macs)
    said = {facts.path: (1, *facts.output_shape) for facts in table.layers()[1:]}
    *_, last = said
    assert seen == said | {last: (1, table.n_classes)}


@pytest.mark.parametrize("name", ["network_84_8153", "googlenet"])
def test_counts_hold_at_other_sizes(name: str) -> None:
    table = builtin_table(name).resized(64).with_classes(7)
    with torch.device("meta"):
        network = build(table, plain(table))
    assert count_on_module(network, 64) == (table.parameters, table.macs)


def test_resnet18_computes_what_torchvisions_does_with_the_same_weights() -> None:
    table = parse(RESNET18).resized(65)
    ours, theirs = build(table, plain(table), seed=3), torchvision.models.resnet18(weights=None)
    for own, other in zip(_in_order(ours), _in_order(theirs), strict=True):
        other.load_state_dict(own.state_dict())
    x = pictures(2, 65, 65)
    for mode in (True, False):
        with torch.no_grad():
            torch.testing.assert_close(ours.train(mode)(x), theirs.train(mode)(x.float()), rtol=1e-4, atol=1e-3)


def _in_order(network: nn.Module) -> list[nn.Module]:
    """Modules with weights, those of shortcuts last."""
    own = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    return [part for _, part in sorted(own, key=lambda pair: "shortcut" in pair[0] or "downsample" in pair[0])]


def test_inception_is_four_branches_side_by_side() -> None:
    network = made("Inception, 1x1=2, 3x3_reduce=3, 3x3=4, 5x5_reduce=2, 5x5=3, pool=1, norm=none, name=i")
    weights = {name.replace(".conv.", "."): p for name, p in network.i.named_parameters()}

    def conv(x: Tensor, name: str, padding: int = 0) -> Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding).relu()

    x = pictures(2, 6, 6).float()
    for name in list(weights):
        if name.endswith("bias"):
            weights[name].data.uniform_(-1, 1)
    expected = [
        conv(x, "1x1"),
        conv(conv(x, "branch_1.3x3_reduce"), "branch_1.3x3", 1),
        conv(conv(x, "branch_2.5x5_reduce"), "branch_2.5x5", 2),
        conv(functional.max_pool2d(x, 3, 1, 1), "branch_3.pool_proj"),
    ]
    torch.testing.assert_close(network.i(x), torch.cat(expected, dim=1))


def test_a_residual_adds_its_input_and_puts_no_relu_after() -> None:
    network = made("Residual:", "  ReLU", "  Scale, -0.5")
    x = torch.tensor([-2.0, 0.0, 3.0]).view(1, 3, 1, 1)
    assert network.residual_1(x).flatten().tolist() == [-2.0, 0.0, 1.5]
    assert x.flatten().tolist() == [-2.0, 0.0, 3.0]


def test_a_projected_shortcut_has_the_bodys_stride_and_no_relu() -> None:
    network = made("Residual, shortcut=projection:", "  Conv, 3x3, 4, stride=2", "  Scale, 0")
    block, x = network.residual_1, pictures(1, 6, 6).float()
    expected = functional.conv2d(x, block.shortcut.conv.weight, stride=2) / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(block(x), expected)
    assert block(x).min() < 0


def test_plain_rows_do_what_their_formulas_say() -> None:
    network = made(
        *["GlobalMaxPool, name=max", "ReLU, name=relu", "LocalResponseNorm, 3, alpha=0.6, beta=0.5, k=2, name=lrn", "BatchNorm, name=norm"],
        *["Scale, 0.1, name=scale", "AvgPool, 1x1, name=average"],
    )
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[-1.0, -2.0], [-3.0, -4.0]], [[0.0, 0.0], [0.0, 8.0]]])[None]
    assert network.get_submodule("max")(x).flatten().tolist() == [4.0, -1.0, 8.0]
    assert network.get_submodule("relu")(x).min() == 0
    values = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    near = torch.tensor([1.0 + 4, 1 + 4 + 9, 4 + 9]).view(1, 3, 1, 1)
    torch.testing.assert_close(network.get_submodule("lrn")(values), values / (2 + 0.6 / 3 * near).sqrt())
    torch.testing.assert_close(network.get_submodule("norm").train()(x).mean((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(network.get_submodule("scale")(x), x / 10)


def test_dropout_is_inverted_and_only_there_in_training() -> None:
    row = made("Dropout, 0.25").dropout_1
    ones = torch.ones(100_000)
    assert row(ones).equal(ones)
    dropped = row.train()(ones)
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 4 / 3])
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.01)


def test_avg_pool_counts_the_zeros_of_its_padding() -> None:
    pool = made("AvgPool, 3x3, stride=1, padding=1").avg_pool_1
    assert pool(torch.ones(1, 1, 3, 3))[0, 0].tolist()[0] == pytest.approx([4 / 9, 6 / 9, 4 / 9])


def test_normalise_subtracts_divides_and_turns_to_bgr() -> None:
    table = parse(EVERY_KIND)
    facts = {"height_px": 16, "width_px": 12, "mean": (10.0, 20.0, 30.0), "std": (1.0, 2.0, 4.0)}
    red_green_blue = torch.tensor([50, 60, 70], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 16, 12)
    rgb = build(table, Preprocessing(**facts)).normalise(red_green_blue)
    bgr = build(table, Preprocessing(**facts, channels="BGR")).normalise(red_green_blue)
    assert rgb[0, :, 0, 0].tolist() == [40, 20, 10]
    assert bgr[0, :, 0, 0].tolist() == [60, 20, 5]
    assert next(name for name, _ in build(table, Preprocessing(**facts)).named_children()) == "normalise"


def test_a_mean_picture_begins_as_zeros_and_is_kept_with_the_weights() -> None:
    table = parse(EVERY_KIND)
    network = build(table, Preprocessing(height_px=16, width_px=12, per_pixel_mean=True, mean=(9, 9, 9)))
    mean = network.state_dict()["normalise.mean"]
    assert mean.shape == (3, 16, 12)
    assert not mean.any()
    mean[1, 2, 3] = 5
    assert network.normalise(torch.zeros(1, 3, 16, 12))[0, 1, 2, 3] == -5


def test_features_go_into_the_head() -> None:
    table = parse(EVERY_KIND)
    network = build(table, plain(table)).eval()
    x = pictures(4, 16, 12)
    features = network.features(x)
    assert features.shape == (4, network.head.in_features) == (4, 7)
    torch.testing.assert_close(network(x), 0.1 * network.head(features))
    assert network.head is network.fully_connected_2.linear
    assert (features >= 0).all()
    assert network(x).min() < 0


def test_parameters_are_named_by_row() -> None:
    network = made("Conv, 3x3, 4", "Conv, 3x3, 4, name=conv2/3x3", "FullyConnected, 3")
    assert {name.rsplit(".", 1)[0] for name, _ in network.named_parameters()} == {
        *("conv_1.conv", "conv_1.norm", "conv2/3x3.conv", "conv2/3x3.norm", "fully_connected_1.linear", "fully_connected_2.linear"),
    }


@pytest.mark.parametrize("name", ["forward", "normalise", "head", "table", "training"])
def test_names_that_torch_needs_are_refused(name: str) -> None:
    with pytest.raises(TableError, match=f"called {name} cannot be built"):
        made(f"Conv, 3x3, 4, name={name}")


SPREADS = {"normal_0.01": 0.01, "normal_0.01_scaled": 0.01, "glorot": math.sqrt(2 / (9 * 64 + 9 * 128)), "he": math.sqrt(2 / (9 * 64))}


@pytest.mark.parametrize("initial_weights", SPREADS)
def test_initial_weights_have_their_spread(initial_weights: str) -> None:
    table = parse("ImageInput, 8x8\nConv, 3x3, 64\nConv, 3x3, 128\nFullyConnected, 400\nFullyConnected, 2\nClassOutput, 2")
    network = build(table, plain(table), initial_weights, seed=1)
    conv, linear = network.conv_2.conv, network.fully_connected_1.linear
    inputs = 128 * 64
    of_linear = SPREADS | {"glorot": math.sqrt(2 / (inputs + 400)), "he": math.sqrt(2 / inputs)}
    for weight, spread in ((conv.weight, SPREADS[initial_weights]), (linear.weight, of_linear[initial_weights])):
        assert weight.std().item() == pytest.approx(spread, rel=0.02)
        assert abs(weight.mean().item()) < spread / 50
        largest = math.sqrt(3) if initial_weights == "glorot" else 6
        assert weight.abs().max() <= largest * spread * 1.0001
    assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))
    assert all((p == 1).all() for name, p in network.named_parameters() if name.endswith("norm.weight"))
    assert not network.conv_1.norm.running_mean.any()
    assert (network.conv_1.norm.running_var == 1).all()
    assert network.conv_1.norm.num_batches_tracked == 0


def test_scaled_weights_keep_the_spread_of_what_a_layer_puts_out() -> None:
    """At 64 pixels the first FullyConnected has 2,048 of 25,088 inputs: its weights are sqrt(12.25) = 3.5 times as large, no others are."""
    made = network("network_84_8153").build
    small, own = Preprocessing(height_px=64, width_px=64), Preprocessing(height_px=224, width_px=224)
    scaled, plain_spread = made(10, small, "normal_0.01_scaled", 1), made(10, small, "normal_0.01", 1)
    differ = [name for name, weight in scaled.state_dict().items() if not weight.equal(plain_spread.state_dict()[name])]
    assert differ == ["fully_connected_1.linear.weight"]
    assert torch.allclose(scaled.fully_connected_1.linear.weight, 3.5 * plain_spread.fully_connected_1.linear.weight)
    at_own_size = made(10, own, "normal_0.01_scaled", 1).state_dict()
    assert all(at_own_size[name].equal(weight) for name, weight in made(10, own, "normal_0.01", 1).state_dict().items())
    narrow = torch.rand(64, 2048) @ scaled.fully_connected_1.linear.weight.T
    wide = torch.rand(64, 25088) @ at_own_size["fully_connected_1.linear.weight"].T
    assert narrow.std().item() == pytest.approx(wide.std().item(), rel=0.05)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    table = parse(EVERY_KIND)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(table, plain(table), seed=1).state_dict()
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(6)
    again, other = build(table, plain(table), seed=1).state_dict(), build(table, plain(table), seed=2).state_dict()
    assert all(first[name].equal(again[name]) for name in first)
    assert not first["conv_1.conv.weight"].equal(other["conv_1.conv.weight"])
    assert all(torch.isfinite(value).all() for value in first.values())


def test_unknown_initial_weights_are_refused() -> None:
    table = parse(EVERY_KIND)
    with pytest.raises(UsageError, match=r"'xavier'; take one of normal_0\.01, normal_0\.01_scaled, glorot, he"):
        build(table, plain(table), "xavier")


@pytest.mark.parametrize("mode", [True, False])
def test_channels_last_gives_the_same(mode: bool) -> None:
    table = parse(EVERY_KIND)
    x = pictures(4, 16, 12)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = build(table, plain(table)).to(memory_format=layout).train(mode)
        torch.manual_seed(0)
        logits = network(x.contiguous(memory_format=layout))
        logits.square().sum().backward()
        results.append((logits.detach(), network.conv_1.conv.weight.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


def test_channels_last_stays_channels_last_through_blocks() -> None:
    network = made("Conv, 3x3, 4", "Residual:", "  Conv, 3x3, 4", "Concat:", "  ReLU", "  MaxPool, 1x1", "LocalResponseNorm, 3")
    seen = []
    for part in (network.normalise, network.conv_1, network.residual_1, network.concat_1):
        part.register_forward_hook(lambda module, inputs, output: seen.append(output.is_contiguous(memory_format=torch.channels_last)))
    network.to(memory_format=torch.channels_last)(pictures(2, 6, 6).contiguous(memory_format=torch.channels_last))
    assert seen == [True] * 4


def test_every_weight_learns() -> None:
    table = parse(EVERY_KIND)
    network = build(table, plain(table), seed=4).train()
    functional.cross_entropy(network(pictures(8, 16, 12)), torch.arange(8) % 5).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


def test_a_copy_in_double_precision_agrees() -> None:
    table = parse(EVERY_KIND)
    network = build(table, plain(table)).eval()
    x = pictures(3, 16, 12)
    single = network(x).detach()
    np.testing.assert_allclose(single.numpy(), network.double()(x).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_counting_leaves_the_module_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 4, 2))
    network.train()
    network[1].eval()
    assert count_on_module(network, (8, 6)) == (3 * 4 * 9 + 4 + 8 + 96 * 2 + 2, 3 * 4 * 9 * 24 + 96 * 2)
    assert [part.training for part in network] == [True, False, True, True]
    assert not network[1].running_mean.any()


def test_resize_is_bilinear_with_half_pixel_centres() -> None:
    network = made("Resize, 4x2")
    x = torch.tensor([[0.0, 4.0], [8.0, 12.0]]).expand(1, 3, 2, 2)
    rows = [[0.0, 4.0], [2.0, 6.0], [6.0, 10.0], [8.0, 12.0]]  # centres of four rows lie at -1/4, 1/4, 3/4, 5/4 of two
    assert network.resize_1(x)[0, 0].tolist() == rows
