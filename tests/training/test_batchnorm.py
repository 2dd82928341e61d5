"""Batch norm's statistics against numbers computed from the pictures themselves."""

import torch
from torch import Tensor, nn

from tench.training.batchnorm import batch_statistics, pool_statistics


def pictures(n: int, seed: int) -> Tensor:
    return torch.randn(n, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 3 + 2


def test_validation_may_use_the_batch_statistics_and_leaves_the_running_ones_alone() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    x = pictures(16, 1)
    running = module[0].running_mean.clone()
    with batch_statistics(module):
        y = module(x)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    assert torch.allclose(y, (x - mean) / (variance + 1e-5).sqrt(), atol=1e-5)
    assert torch.equal(module[0].running_mean, running)
    assert module[0].num_batches_tracked == 0
    assert torch.allclose(module(x), x / (1 + 1e-5) ** 0.5, atol=1e-6), "afterwards the running statistics (0 and 1) are back"


def test_a_loss_of_infinity_while_validating_does_not_poison_the_running_statistics() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3)).eval()
    with batch_statistics(module):
        module(pictures(4, 1) * float("inf"))
    assert torch.equal(module[0].running_mean, torch.zeros(3))


def test_the_pass_after_training_pools_over_unequal_batches_with_the_biased_variance() -> None:
    batches = [pictures(8, 1), pictures(8, 2) * 2, pictures(3, 3) - 7]
    module = nn.Sequential(nn.BatchNorm2d(3))
    pool_statistics(module, batches)
    everything = torch.cat(batches).double()
    assert torch.allclose(module[0].running_mean.double(), everything.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(module[0].running_var.double(), everything.var((0, 2, 3), unbiased=False), rtol=1e-5)


def test_the_pass_normalises_each_layer_by_its_batch_before_the_next_is_counted() -> None:
    """The second norm sees what the first gives in train mode: by the batch's statistics, not by the pooled ones."""
    module = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    batches = [pictures(8, 1), pictures(8, 2) * 5]
    pool_statistics(module, batches)
    with torch.no_grad():
        inner = torch.cat([torch.relu(nn.functional.batch_norm(b, None, None, training=True)) for b in batches]).double()
    assert torch.allclose(module[2].running_mean.double(), inner.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(module[2].running_var.double(), inner.var((0, 2, 3), unbiased=False), rtol=1e-4)
