"""The numbers in the guide's figures are what torch's own layers give, and depend on the picture and the seed alone."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tench.data.pictograms import picture as demo_picture
from tench.errors import RecordError
from tench.explain.guide import convolved, demo, fresh_activations, guide_arrays, write_guide
from tench.explain.guide_learning import ridge
from tench.records.guide import GUIDE_ARRAYS, read_guide_arrays

PICTURE = demo_picture("fish", np.random.default_rng(4), 150)[:, :130]


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return guide_arrays(PICTURE, 3)


def test_every_array_is_as_declared(arrays: dict[str, np.ndarray]) -> None:
    assert {name: (str(a.dtype), a.shape) for name, a in arrays.items()} == GUIDE_ARRAYS


def test_the_same_picture_and_seed_give_the_same_and_torchs_random_state_is_left_alone(arrays: dict[str, np.ndarray]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = guide_arrays(PICTURE, 3)
    assert torch.equal(torch.rand(3), expected)
    assert all(np.array_equal(arrays[name], again[name]) for name in GUIDE_ARRAYS)
    other = guide_arrays(PICTURE, 4)
    assert not np.array_equal(arrays["augmented"], other["augmented"])
    assert not np.array_equal(arrays["norm_counts"], other["norm_counts"])


@pytest.mark.parametrize(("padding", "stride", "name"), [(0, 1, "filtered"), (1, 1, "padded"), (1, 2, "strided")])
def test_convolution_is_that_of_a_conv2d_and_of_a_sum_by_hand(arrays: dict[str, np.ndarray], padding: int, stride: int, name: str) -> None:
    layer = nn.Conv2d(1, 3, 3, stride, padding, bias=False)
    layer.weight.data = torch.from_numpy(arrays["kernels"].astype(np.float32))[:, None]
    expected = layer(torch.from_numpy(arrays["grey"].astype(np.float32))[None, None])[0].detach().numpy()
    assert np.array_equal(arrays[name], expected if name == "filtered" else expected[0])
    window = arrays["grey"][10:13, 20:23].astype(int)
    assert arrays["filtered"][0, 10, 20] == (window * arrays["kernels"][0]).sum()


def test_the_numbers_of_the_patch_are_the_pictures_own(arrays: dict[str, np.ndarray]) -> None:
    patch, kernel = arrays["patch"].astype(int), arrays["kernels"][0]
    assert np.array_equal(arrays["patch_products"], patch[1:4, 1:4] * kernel)
    assert (
        arrays["patch_products"].sum()
        == arrays["patch_valid"][1, 1]
        == arrays["patch_same"][2, 2]
        == arrays["filtered"][0, 1:-1, 1:-1].max()
    )
    assert np.array_equal(arrays["patch_same"][1:4, 1:4], arrays["patch_valid"])
    assert np.array_equal(arrays["patch_same"][::2, ::2], arrays["patch_strided"])
    windows = np.lib.stride_tricks.sliding_window_view(arrays["grey"], (5, 5)).reshape(-1, 25)
    assert (windows == arrays["patch"].reshape(25)).all(1).any()


def test_a_whole_number_survives_the_filter() -> None:
    ramp = np.arange(0, 250, 10, dtype=np.uint8).repeat(25).reshape(25, 25).T
    assert (convolved(ramp, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.int16)) == 80).all()


def test_pooling_is_torchs(arrays: dict[str, np.ndarray]) -> None:
    numbers = torch.from_numpy(arrays["pool_numbers"].astype(np.float32))[None, None]
    assert np.array_equal(arrays["pool_largest"], nn.MaxPool2d(2)(numbers)[0, 0].numpy())
    assert np.array_equal(arrays["pool_mean"], nn.AvgPool2d(2)(numbers)[0, 0].numpy())
    blocks = arrays["grey"].reshape(28, 4, 28, 4)
    assert np.array_equal(arrays["max_pooled"], blocks.max((1, 3)))
    assert np.abs(arrays["mean_pooled"] - blocks.mean((1, 3))).max() <= 0.5


def test_normalisation_is_that_of_a_batchnorm2d_in_training(arrays: dict[str, np.ndarray]) -> None:
    before = fresh_activations(arrays["picture"], 3)
    after = nn.BatchNorm2d(8).train()(before).detach()
    shown = before.mean((0, 2, 3)).argsort()[[0, 4, 7]]
    for stage, values in enumerate((before, after)):
        channels = values[:, shown].transpose(0, 1).flatten(1)
        assert arrays["norm_mean"][stage] == pytest.approx(channels.mean(1).numpy(), abs=1e-4)
        assert arrays["norm_deviation"][stage] == pytest.approx(channels.std(1, correction=0).numpy(), rel=1e-5)
        counts = np.histogram(channels[0].numpy(), arrays["norm_edges"][stage])[0]
        assert np.abs(arrays["norm_counts"][stage, 0] - counts).sum() <= 20  # float rounding at the edges of the bins
    assert arrays["norm_mean"][1] == pytest.approx(0, abs=1e-4)
    assert arrays["norm_deviation"][1] == pytest.approx(1, abs=0.01)
    assert (arrays["norm_counts"].sum(2) == 64 * 22 * 22).all()


def test_relu_and_softmax_are_torchs(arrays: dict[str, np.ndarray]) -> None:
    assert np.array_equal(arrays["rectified"], nn.ReLU()(torch.from_numpy(arrays["padded"])).numpy())
    assert arrays["quarter_probabilities"] == pytest.approx(nn.Softmax(1)(torch.from_numpy(arrays["quarter_logits"])).numpy(), abs=1e-6)
    right = arrays["quarter_logits"].argmax(1) == arrays["quarter_labels"]
    assert right[0]
    assert arrays["quarter_probabilities"].max(1).argmin() == 1


def test_solvers_go_as_torchs_optimizers(arrays: dict[str, np.ndarray]) -> None:
    kinds = (lambda p: torch.optim.SGD(p, 0.01, momentum=0.9), lambda p: torch.optim.Adam(p, 0.1))
    for way, kind in zip(arrays["valley_ways"], kinds, strict=True):
        at = torch.tensor(way[0], requires_grad=True)
        optimizer = kind([at])
        for expected in way[1:]:
            optimizer.zero_grad()
            ((at[0] ** 2 + 20 * at[1] ** 2) / 2).backward()
            optimizer.step()
            assert at.detach().numpy() == pytest.approx(expected, abs=1e-4)
    assert arrays["valley_heights"][:, 0] == pytest.approx((4 + 20 * 1.6**2) / 2)
    assert arrays["valley_heights"][:, -1].max() < 0.01


def test_ridge_solves_the_normal_equations_and_holds_all_but_the_constant() -> None:
    rng = np.random.default_rng(0)
    inputs, wanted = np.hstack([np.ones((9, 1)), rng.normal(size=(9, 3))]), rng.normal(size=9)
    held = 0.3 * np.diag([0.0, 1, 1, 1])
    expected = np.linalg.solve(inputs.T @ inputs + held, inputs.T @ wanted)
    assert ridge(inputs, wanted, 0.3) == pytest.approx(expected)


def test_l2_makes_weights_smaller_and_fits_what_was_learnt_less_closely(arrays: dict[str, np.ndarray]) -> None:
    without, with_l2 = np.linalg.norm(arrays["line_weights"], axis=1)
    assert with_l2 < without
    assert arrays["line_errors"][1, 0] >= arrays["line_errors"][0, 0]
    grey = arrays["picture"].mean(2) / 255
    assert (np.abs(grey - arrays["line"]).max(1) < 1e-6).any()
    errors = arrays["line_fits"] - arrays["line"]
    assert arrays["line_errors"][:, 0] == pytest.approx(np.sqrt((errors[:, arrays["line_at"]] ** 2).mean(1)), abs=1e-4)


def test_shifts_stay_within_the_studys_share_and_scales_within_its_range(arrays: dict[str, np.ndarray]) -> None:
    draws = arrays["augment_draws"]
    assert np.abs(draws[:, 2:4]).max() <= 30 / 224
    assert draws[:, :2].min() >= 0.9
    assert draws[:, :2].max() <= 1.1
    assert all(not np.array_equal(one, other) for one, other in pairwise([arrays["picture"], *arrays["augmented"]]))


def test_a_picture_of_any_size_and_without_any_contrast_will_do() -> None:
    flat = guide_arrays(np.full((9, 300, 3), 77, np.uint8), 0)
    assert (flat["filtered"] == 0).all()
    assert all(np.isfinite(a).all() for a in flat.values())


def test_the_guide_is_written_once_beside_the_runs_and_read_back(tmp_path: Path) -> None:
    path = write_guide(tmp_path / "runs", PICTURE, seed=3)
    assert path == tmp_path / "runs" / "guide" / "guide.npz"
    read = read_guide_arrays(path)
    assert read is not None
    assert np.array_equal(read["grey"], guide_arrays(PICTURE, 3)["grey"])
    written = path.stat().st_mtime_ns
    assert write_guide(tmp_path / "runs", None).stat().st_mtime_ns == written


def test_a_damaged_guide_is_named_and_none_is_none(tmp_path: Path) -> None:
    path = tmp_path / "guide.npz"
    assert read_guide_arrays(path) is None
    path.write_bytes(b"PK no zip at all")
    with pytest.raises(RecordError, match=r"guide\.npz cannot be read: .* Delete that folder"):
        read_guide_arrays(path)
    np.savez(path, **{name: np.zeros(2) for name in GUIDE_ARRAYS})
    with pytest.raises(RecordError, match="the array picture is float64"):
        read_guide_arrays(path)


def test_the_demo_arrays_that_come_with_tench_are_these_computed_anew() -> None:
    from tench.report.guide import demo_arrays

    kept, anew = demo_arrays(), guide_arrays(demo(), 0)
    for name in ("kernels", "patch_products", "augment_draws", "valley_rates", "quarter_numbers", "line_at"):
        assert kept[name] == pytest.approx(anew[name]), name
    # Another version of Pillow may draw the picture a little differently.
    assert np.abs(kept["picture"].astype(int) - anew["picture"]).mean() < 3
