"""Transfer with a small stand-in for a pretrained network, so that every number can be checked."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import draw_tiny_folder
from tench import inference
from tench.config import Engine, Preprocessing, TransferOptions, load_recipe
from tench.data import imagenette
from tench.data.sources import open_source
from tench.errors import RecordError, TrainingError, UsageError
from tench.networks.build import TableNetwork, build
from tench.networks.reference import network
from tench.networks.table import load_table
from tench.training import transfer as module_under_test
from tench.training.facts import differences
from tench.training.plan import Plan
from tench.training.transfer import transfer, untrained

ENGINE = Engine(threads=1)
PREPROCESSING = Preprocessing(height_px=16, width_px=16, mean=(100.0, 100.0, 100.0), std=(60.0, 60.0, 60.0))
CLASSES = imagenette.classes()
COLOURS = {kind.wnid: (40 + 200 * (n & 1), 40 + 200 * (n >> 1 & 1), 40 + 100 * (n >> 2)) for n, kind in enumerate(CLASSES)}
IMAGENET_ROWS = [kind.imagenet_index for kind in CLASSES]
UNSEEN = {"train": 2, "val": 1}
"""Pictures of a class that bear a name of ImageNet's validation set."""


class CountingNetwork:
    """Stands for `load_pretrained`: a network with 1,000 outputs from a fixed seed, which counts the pictures it looks at."""

    def __init__(self, net: Path) -> None:
        self.table = load_table(net).with_classes(1000)
        self.looked_at = 0

    def __call__(self, reference: str, weights: Path | None) -> TableNetwork:
        made = build(self.table, PREPROCESSING, "he", seed=11).eval()
        made.normalise.register_forward_hook(lambda _, inputs, output: self._count(len(inputs[0])))
        return made

    def _count(self, n: int) -> None:
        self.looked_at += n


@pytest.fixture
def pretrained(tiny_net: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CountingNetwork:
    made = CountingNetwork(tiny_net)
    monkeypatch.setattr(module_under_test, "load_pretrained", made)
    monkeypatch.setattr(inference, "_onnxruntime", lambda *_: None)  # it would pass by the module, where pictures are counted
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    return made


@pytest.fixture(scope="module")
def imagenette_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imagenette's ten classes with drawn pictures, 12 and 5 of each, named as its files are."""
    folder = draw_tiny_folder(tmp_path_factory.mktemp("drawn") / "imagenette", {"train": 12, "val": 5}, COLOURS)
    for path in sorted(folder.rglob("*.png")):
        split, wnid = path.parts[-3:-1]
        prefix = f"ILSVRC2012_val_{split}" if int(path.stem) < UNSEEN[split] else wnid
        path.rename(path.with_name(f"{prefix}_{path.name}"))
    return folder


def plan_for(net: Path, data: Path, recipe: str = "transfer", seen_hashes: Path | None = None, **options: Any) -> Plan:
    loaded = load_recipe(recipe)
    return Plan(network(net), open_source(data, seen_hashes=seen_hashes), loaded, loaded.resolve(options), ENGINE)


def test_a_frozen_backbone_with_a_new_head_learns_and_is_only_passed_once(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    plan = plan_for(tiny_net, imagenette_like)
    run = transfer(plan, TransferOptions(), tmp_path / "runs")
    record = run.record
    assert record.status == "finished"
    assert record.result is not None
    assert record.result.top1 > 0.5
    assert pretrained.looked_at == 120 + 50
    assert record.data.n_fit + record.data.n_select == 120 - 20
    again = transfer(plan, TransferOptions(), tmp_path / "again")
    assert pretrained.looked_at == 170, "the second time all features come from the cache"
    assert np.array_equal(run.predictions().log_probabilities, again.predictions().log_probabilities)


def test_pictures_never_seen_in_pretraining_are_left_out_and_scored_apart(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    run = transfer(plan_for(tiny_net, imagenette_like), TransferOptions(), tmp_path / "runs")
    result, found = run.record.result, run.predictions()
    assert result is not None
    assert result.unseen is not None
    assert result.seen is not None
    assert (result.n, result.unseen.n, result.seen.n) == (50, 30, 40)
    assert sorted(run.record.data.left_out) == sorted(name for name in found.names if "train/" in name)
    assert all("ILSVRC2012_val" in name for name in run.record.data.left_out)
    used = transfer(plan_for(tiny_net, imagenette_like), TransferOptions(leave_unseen_out=False), tmp_path / "used")
    assert used.record.data.left_out == ()
    assert used.record.data.n_fit + used.record.data.n_select == 120
    assert used.record.result is not None
    assert used.record.result.unseen is not None
    assert used.record.result.unseen.n == 10


def test_a_users_list_says_which_pictures_were_never_seen(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    """It wins over the names of Imagenette's files, is part of what makes the run, and where it lay is kept for going on."""
    seen = sorted(path for path in imagenette_like.rglob("*.png") if path.stem[-3:] != "011")
    (tmp_path / "seen.txt").write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in seen), encoding="utf-8")
    run = transfer(plan_for(tiny_net, imagenette_like, seen_hashes=tmp_path / "seen.txt"), TransferOptions(), tmp_path / "runs")
    assert {Path(name).stem[-3:] for name in run.record.data.left_out} == {"011"}
    assert len(run.record.data.left_out) == 10
    assert run.record.result is not None
    assert run.record.result.unseen is not None
    assert run.record.result.unseen.n == 10, "all test pictures are in the list"
    assert run.local()["seen_hashes"] == str(tmp_path / "seen.txt")
    plain = plan_for(tiny_net, imagenette_like)
    assert any("the list of pictures seen" in text for text in differences(run.record, plain))
    assert plain.identity() != plan_for(tiny_net, imagenette_like, seen_hashes=tmp_path / "seen.txt").identity()


def test_untrained_is_the_arg_max_over_the_classes_own_outputs(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    plan = plan_for(tiny_net, imagenette_like)
    run = untrained(plan, tmp_path / "runs")
    found = run.predictions()
    prepared = module_under_test.load(plan, None, True).prepared
    with torch.no_grad():
        pixels = torch.from_numpy(prepared.feed.pixels[prepared.roles.test]).permute(0, 3, 1, 2)
        expected = pretrained("tiny", None)(pixels)[:, IMAGENET_ROWS].log_softmax(1)
    assert np.allclose(found.log_probabilities[found.test], expected.numpy(), atol=1e-4)
    assert run.record.kind == "untrained"
    assert run.record.network.pretrained_on == "ImageNet-1k"


def test_a_held_head_stays_at_the_imagenet_rows_of_its_classes(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    run = transfer(plan_for(tiny_net, imagenette_like), TransferOptions(hold=1e6), tmp_path / "runs")
    stored, original = load_file(run.weights_path), pretrained("tiny", None)
    head = original.head.weight.detach()[IMAGENET_ROWS]
    assert torch.allclose(stored["fully_connected_2.linear.weight"], head, atol=1e-4)
    assert torch.equal(stored["conv_1.conv.weight"], original.get_parameter("conv_1.conv.weight"))


def test_classes_that_imagenet_does_not_know_start_at_random_and_cannot_be_scored_untrained(
    pretrained: CountingNetwork, tiny_net: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    run = transfer(plan_for(tiny_net, tiny_folder), TransferOptions(hold=0.001), tmp_path / "runs")
    assert run.record.result is not None
    assert run.record.result.top1 > 0.8
    assert run.record.result.unseen is None
    with pytest.raises(UsageError, match="blue, green, red"):
        untrained(plan_for(tiny_net, tiny_folder), tmp_path / "runs")


def test_fine_tuning_moves_everything_but_the_frozen_rows(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    plan = plan_for(tiny_net, imagenette_like, "fine_tune", epochs=2)
    run = transfer(plan, TransferOptions(method="fine_tune", freeze_until="conv_1"), tmp_path / "runs")
    stored, original = load_file(run.weights_path), pretrained("tiny", None).state_dict()
    assert torch.equal(stored["conv_1.conv.weight"], original["conv_1.conv.weight"])
    assert not torch.equal(stored["conv_2.conv.weight"], original["conv_2.conv.weight"])
    assert len(run.history()) == 2
    assert run.record.result is not None
    assert run.record.result.unseen is not None
    assert run.record.transfer is not None
    assert run.record.transfer["freeze_until"] == "conv_1"


def test_an_unknown_row_to_freeze_lists_those_there_are(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    plan = plan_for(tiny_net, imagenette_like, "fine_tune", epochs=1)
    with pytest.raises(UsageError, match="conv_1, max_pool_1"):
        transfer(plan, TransferOptions(method="fine_tune", freeze_until="conv1"), tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == [], "what is refused has not begun"


def test_a_fine_tuning_that_needs_too_much_memory_is_refused_and_may_be_had_anyway(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tench.training.resources.memory_available_mib", lambda: 600.1)
    plan, how = plan_for(tiny_net, imagenette_like, "fine_tune", epochs=1), TransferOptions(method="fine_tune")
    with pytest.raises(TrainingError, match="--anyway"):
        transfer(plan, how, tmp_path / "runs")
    assert transfer(plan, how, tmp_path / "runs", anyway=True).record.status == "finished"


def test_a_transfer_that_was_killed_is_simply_run_again(
    pretrained: CountingNetwork, tiny_net: Path, imagenette_like: Path, tmp_path: Path
) -> None:
    plan = plan_for(tiny_net, imagenette_like)
    first = transfer(plan, TransferOptions(), tmp_path)
    first.update(status="running", result=None)
    again = transfer(plan, TransferOptions(), tmp_path)
    assert again.folder == first.folder
    assert again.record.status == "finished"
    with pytest.raises(RecordError, match="its result stands"):
        transfer(plan, TransferOptions(), tmp_path)


@pytest.mark.shared
def test_googlenet_untrained_on_real_photographs(shared_data: Path, shared_weights: Path, tmp_path: Path) -> None:
    """98.65 % on all 3,925 (results/); here on a twentieth of them, where at least 95 % must be right."""
    loaded = load_recipe("transfer")
    plan = Plan(network("googlenet"), open_source(shared_data), loaded, loaded.resolve({"test_share": 0.02}), Engine(threads=2))
    run = untrained(plan, tmp_path, weights=shared_weights)
    found = run.predictions()
    assert found.test.sum() > 70
    assert found.correct[found.test].mean() > 0.95
    assert run.record.result is not None
    assert run.record.result.unseen is not None
    assert run.record.result.unseen.n >= 366
