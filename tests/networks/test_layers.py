"""Rows: shapes, parameters, multiply-adds and receptive fields by hand, against torch, and against published figures."""

import itertools

import pytest
import torch
from network_texts import RESNET18, VGG16
from torch import nn

from tench.errors import TableError
from tench.networks import parse
from tench.networks.layers import (
    AvgPool,
    BatchNorm,
    Branch,
    Concat,
    Conv,
    Dropout,
    FullyConnected,
    Inception,
    MaxPool,
    ReLU,
    Residual,
    Scale,
)
from tench.networks.rows import Field, named


def test_convolution_by_hand() -> None:
    row = Conv((3, 5), 8, stride=(2, 1), padding=(1, 0), groups=2)
    assert row.output_shape((4, 9, 9)) == (8, 5, 5)  # (9 + 2 - 3) // 2 + 1 and 9 - 5 + 1
    assert row.parameters((4, 9, 9)) == 8 * 2 * 15 + 8 + 16  # weights, biases, scale and offset
    assert row.macs((4, 9, 9)) == 8 * 2 * 15 * 25


@pytest.mark.parametrize(("row", "extra"), [(Conv((1, 1), 5), 15), (Conv((1, 1), 5, bias=False), 10), (Conv((1, 1), 5, norm="none"), 5)])
def test_biases_and_batch_norm_are_counted(row: Conv, extra: int) -> None:
    assert row.parameters((2, 4, 4)) == 10 + extra


def test_same_padding_gives_the_side_over_the_stride_rounded_up() -> None:
    for side, kernel, stride in itertools.product(range(1, 20), (1, 3, 5, 7), (1, 2, 3)):
        assert Conv((kernel, kernel), 1, (stride, stride)).output_shape((1, side, side)) == (1, -(-side // stride), -(-side // stride))


@pytest.mark.parametrize("ceil", [False, True])
def test_pools_have_torchs_sizes(ceil: bool) -> None:
    for side, kernel, stride, padding in itertools.product(range(1, 13), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2)):
        if 2 * padding > kernel or side + 2 * padding < kernel:
            continue
        ours = MaxPool((kernel, kernel), (stride, stride), (padding, padding), ceil).output_shape((1, side, side))
        theirs = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)(torch.zeros(1, 1, side, side, device="meta"))
        assert ours == tuple(theirs.shape[1:]), (side, kernel, stride, padding)


def test_a_pools_stride_is_its_size() -> None:
    assert MaxPool((2, 2)) == MaxPool((2, 2), (2, 2))
    assert AvgPool((2, 2)).output_shape((7, 14, 14)) == (7, 7, 7)


def test_fully_connected_by_hand() -> None:
    row = FullyConnected(10)
    assert row.output_shape((512, 7, 7)) == (10, 1, 1)
    assert (row.parameters((512, 7, 7)), row.macs((512, 7, 7))) == (250_890, 250_880)
    assert FullyConnected(10, bias=False).parameters((512, 7, 7)) == 250_880


def test_blocks_add_up_what_they_hold() -> None:
    body = (Conv((3, 3), 6, (2, 2), bias=False), BatchNorm(), ReLU())
    block = Residual(body, shortcut="projection")
    assert block.output_shape((4, 8, 8)) == (6, 4, 4)
    assert block.parameters((4, 8, 8)) == (6 * 4 * 9 + 12) + 12 + (6 * 4 + 12)
    assert block.macs((4, 8, 8)) == 16 * (6 * 4 * 9 + 6 * 4)
    both = Concat((Branch(body), MaxPool((2, 2))))
    assert both.output_shape((4, 8, 8)) == (10, 4, 4)
    assert both.parameters((4, 8, 8)) == 6 * 4 * 9 + 12 + 12


def test_inception_3a_has_the_papers_counts() -> None:
    row = Inception(64, 96, 128, 16, 32, 32, norm="none")
    weights = 192 * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32
    assert row.output_shape((192, 28, 28)) == (256, 28, 28)
    assert row.parameters((192, 28, 28)) == weights + 64 + 96 + 128 + 16 + 32 + 32
    assert row.macs((192, 28, 28)) == weights * 28 * 28 == 128_049_152


def test_receptive_field_by_hand() -> None:
    field = Field()
    for kernel, stride in ((7, 2), (3, 2), (3, 1)):
        field = field.through((kernel, 1), (stride, 1))
    assert field == Field(size=(7 + 2 * 2 + 2 * 4, 1), jump=(4, 1))


@pytest.mark.parametrize(
    ("text", "parameters", "giga_macs", "receptive_field_px"),
    [(VGG16, 138_357_544, 15.47, 212), (RESNET18, 11_689_512, 1.814, 435)],  # torchvision's model cards; Araujo et al., Distill 2019
    ids=["vgg16", "resnet18"],
)
def test_published_figures(text: str, parameters: int, giga_macs: float, receptive_field_px: int) -> None:
    table = parse(text)
    assert table.parameters == parameters
    assert table.macs / 1e9 == pytest.approx(giga_macs, abs=0.005)
    assert table.receptive_field_px == receptive_field_px


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Conv((3, 3), 0), "channels is 0"),
        (lambda: Conv((2, 3), 4), "odd height and width"),
        (lambda: Conv((3, 3), 4, groups=3), "3 groups"),
        (lambda: Conv((3, 3), 4, name="a.b"), "name is 'a.b'"),
        (lambda: MaxPool((2, 2), padding=(2, 2)), "at most half"),
        (lambda: Dropout(1.0), "below 1"),
        (lambda: Scale(float("nan")), "finite"),
        (lambda: Residual(()), "no rows"),
    ],
)
def test_values_that_are_not_allowed_are_refused(make: object, says: str) -> None:
    with pytest.raises(TableError, match=says):
        make()  # type: ignore[operator]


def test_shapes_that_do_not_fit_are_refused() -> None:
    for row, shape, says in (
        (Conv((5, 5), 4, padding="valid"), (3, 4, 4), "window of 5x5 does not fit into the 4x4"),
        (MaxPool((2, 2)), (3, 1, 1), "less than 1 pixel"),
        (Conv((1, 1), 4, groups=2), (3, 4, 4), "3 channels"),
        (Residual((Conv((3, 3), 4),)), (3, 4, 4), "4x4x4 and 4x4x3"),
        (Concat((MaxPool((2, 2)), ReLU())), (3, 4, 4), "2x2x3 and 4x4x3"),
    ):
        with pytest.raises(TableError, match=says):
            row.output_shape(shape)


def test_rows_are_named_by_kind_and_number() -> None:
    rows = (Conv((3, 3), 4), ReLU(), Conv((3, 3), 4, name="mine"), MaxPool((2, 2)), Conv((1, 1), 4))
    assert [name for name, _ in named(rows)] == ["conv_1", "relu_1", "mine", "max_pool_1", "conv_3"]
