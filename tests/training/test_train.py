"""Trainings from start to end: they learn, repeat, stop when they should, and go on after being killed as if they had not."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from conftest import TINY_TABLE
from stopping import StopAfter
from tench.config import Engine, Precision, load_recipe
from tench.console import Teller
from tench.data.sources import open_source
from tench.errors import ConfigError, InterruptedTraining, ResumeError, TrainingError
from tench.networks.reference import Network, from_table, network
from tench.networks.table import parse
from tench.records import Run, load_run
from tench.training.loop import Training, Watcher
from tench.training.plan import Plan, prepare
from tench.training.train import resume, train

ENGINE = Engine(threads=1)


@pytest.fixture
def plan_of(tiny_net: Path, tiny_folder: Path) -> Any:
    def make(recipe: str = "modern", net: Network | None = None, **options: Any) -> Plan:
        loaded = load_recipe(recipe)
        defaults = {"batch_size": 8, "epochs": 3, "learn_rate": 0.05}
        return Plan(net or network(tiny_net), open_source(tiny_folder), loaded, loaded.resolve(defaults, options), ENGINE)

    return make


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.weights_path)


def same(a: Run, b: Run) -> bool:
    ours, theirs = weights(a), weights(b)
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("recipe", "optimizer", "rate"),
    # N(0, 0.01^2) weights start so small a network so slowly that the faithful rules need a high rate to learn in seconds.
    [("modern", "sgdm", 0.05), ("modern", "adam", 0.01), ("r2018b", "adam", 0.01), ("quick", "sgdm", 0.1)],
)
def test_a_network_learns(plan_of: Any, tmp_path: Path, recipe: str, optimizer: str, rate: float) -> None:
    run = train(plan_of(recipe, optimizer=optimizer, learn_rate=rate, epochs=15, patience=15), tmp_path)
    assert run.record.result is not None
    assert run.record.result.top1 > 0.8, run.history()
    assert run.history()[0]["loss"] > run.history()[-1]["loss"]


def test_what_a_finished_run_holds(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of()
    run = load_run(train(plan, tmp_path, study="a study", row="a row").folder)
    record, found = run.record, run.predictions()
    assert record.status == "finished"
    assert (record.study, record.row) == ("a study", "a row")
    assert (record.data.n_fit, record.data.n_select, record.data.n_test) == (54, 6, 30)
    assert record.identity == plan.identity(kind="train", transfer=None)
    assert record.options["size_px"] == 16
    assert record.result is not None
    assert record.result.correct == int(found.correct.sum())
    assert record.result.epochs == len(run.history()) == 3
    assert record.result.pictures_shown == 3 * 48, "the last partial batch of 6 is dropped"
    assert found.log_probabilities.shape == (30, 3)
    assert np.exp(found.log_probabilities).sum(1) == pytest.approx(1, abs=1e-5)
    assert not run.checkpoints.exists()
    assert str(tmp_path) not in json.dumps(record.model_dump()), "no path of the machine in a record"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(plan_of: Any, tmp_path: Path) -> None:
    first, again, other = (train(plan_of(seed=seed), tmp_path / name) for seed, name in ((3, "a"), (3, "b"), (4, "c")))
    assert same(first, again)
    assert not same(first, other)


def test_the_state_of_the_users_random_numbers_is_left_alone(plan_of: Any, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(plan_of(epochs=1), tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("recipe", ["modern", "r2018b"])
@pytest.mark.parametrize("optimizer", ["sgdm", "adam"])
@pytest.mark.parametrize("steps", [1, 6, 9])
def test_stopped_and_resumed_ends_with_the_same_bits(plan_of: Any, tmp_path: Path, recipe: str, optimizer: str, steps: int) -> None:
    """After the first step, at the very end of an epoch, and in mid-epoch; with dropout, augmentation and drops of the rate."""
    plan = plan_of(recipe, optimizer=optimizer, drop_period=1, mirror=True)
    whole = train(plan, tmp_path / "whole")
    with pytest.raises(InterruptedTraining, match="tench resume") as stopped:
        train(plan, tmp_path / "cut", StopAfter(steps))
    assert stopped.value.exit_code == 130
    (folder,) = (tmp_path / "cut").iterdir()
    assert load_run(folder).record.status == "interrupted"
    resumed = resume(load_run(folder), plan)
    assert same(whole, resumed)
    timeless = [{k: v for k, v in line.items() if not k.endswith("_s")} for line in whole.history()]
    assert [{k: v for k, v in line.items() if not k.endswith("_s")} for line in resumed.history()] == timeless
    assert np.array_equal(whole.predictions().log_probabilities, resumed.predictions().log_probabilities)


POOLED = """[pooled]
ImageInput, 16x16
Conv, 3x3, 8, norm=none, activation=none
MaxPool, 2x2
BatchNorm
ReLU
Residual:
    Conv, 3x3, 8
GlobalMaxPool
FullyConnected, 3
Scale, 0.5
ClassOutput, 3
"""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_crops_and_muon_learn_and_are_resumed_bit_for_bit(plan_of: Any, tmp_path: Path, precision: Precision) -> None:
    options = {"optimizer": "muon", "learn_rate": 0.2, "epochs": 8, "crop_px": 10, "size_px": 16, "kernel_rate": 0.08}
    plan = plan_of("sprint", from_table(parse(POOLED)), **options)
    plan = dataclasses.replace(plan, engine=plan.engine.model_copy(update={"precision": precision}))
    whole = train(plan, tmp_path / "whole")
    with pytest.raises(InterruptedTraining):
        train(plan, tmp_path / "cut", StopAfter(9))
    (folder,) = (tmp_path / "cut").iterdir()
    assert same(whole, resume(load_run(folder), plan))
    result = whole.record.result
    assert result is not None
    assert result.top1 > 0.8, whole.history()
    assert whole.record.network.macs == parse(POOLED).macs, "counted on whole pictures"
    assert result.training_flop == 6 * parse(POOLED).resized(10).macs * result.pictures_shown
    assert result.solver_flop
    assert result.scored_by == "torch", "30 pictures are too few for another engine to pay"


def test_products_of_bfloat16_numbers_are_taken_by_training_and_refused_by_the_studys_rules(plan_of: Any, tmp_path: Path) -> None:
    bfloat16 = Engine(threads=1, precision="bfloat16")
    single, faithful = plan_of(epochs=1), dataclasses.replace(plan_of("r2018b"), engine=bfloat16)
    runs = [train(plan, tmp_path / "runs") for plan in (single, dataclasses.replace(plan_of(epochs=1, seed=1), engine=bfloat16))]
    assert [run.record.engine["precision"] for run in runs] == ["float32", "bfloat16"]
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in weights(runs[1]).values())
    assert faithful.engine.precision == "float32"
    other = train(dataclasses.replace(single, engine=bfloat16), tmp_path / "others")
    differences = [(weights(runs[0])[name] - tensor).abs().max() for name, tensor in weights(other).items() if tensor.is_floating_point()]
    assert 0 < max(differences) < 0.1, "the same training, rounded otherwise"


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("modern", {"crop_px": 20}, "crop_px is 20, but the pictures are 16 pixels wide"),
        ("modern", {"crop_px": 10}, "tiny is tied to pictures of 16 pixels by its first FullyConnected"),
        ("r2018b", {"crop_px": 10}, "a mean picture is for whole pictures"),
        ("modern", {"kernel_rate": 0.1}, "kernel_rate is an option of the optimizer muon alone"),
    ],
)
def test_crops_and_options_that_cannot_act_are_refused(plan_of: Any, recipe: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(recipe, **options)


@pytest.mark.slow
def test_a_compiled_run_is_resumed_bit_for_bit(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of(mirror=True)
    whole = train(plan, tmp_path / "whole", compiled=True)
    assert whole.record.engine["compiled"]
    with pytest.raises(InterruptedTraining):
        train(plan, tmp_path / "cut", StopAfter(9), compiled=True)
    (folder,) = (tmp_path / "cut").iterdir()
    assert same(whole, resume(load_run(folder), dataclasses.replace(plan, engine=Engine.model_validate(whole.record.engine))))


KILLED = """
import sys
from pathlib import Path
from tench.config import Engine, load_recipe
from tench.data.sources import open_source
from tench.networks.reference import network
from tench.training.plan import Plan
from tench.training import loop
from tench.training.train import train
loop.SAVE_EVERY_S = 0.0
recipe = load_recipe("modern")
options = recipe.resolve({"batch_size": 8, "epochs": 40, "learn_rate": 0.05})
train(Plan(network(sys.argv[1]), open_source(sys.argv[2]), recipe, options, Engine(threads=1)), Path(sys.argv[3]))
"""


def test_killed_with_kill_9_and_resumed_ends_with_the_same_bits(plan_of: Any, tmp_path: Path, tiny_net: Path, tiny_folder: Path) -> None:
    """Killed while it saves after every step, so that the blow may fall into the middle of a checkpoint."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, tiny_net, tiny_folder, tmp_path / "killed"])
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/checkpoints/step-00000002*.json")):
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = (tmp_path / "killed").iterdir()
    run = load_run(folder)
    assert run.record.status == "running"
    assert not run.in_use
    plan = plan_of(epochs=40)
    assert same(resume(run, plan), train(plan, tmp_path / "whole"))


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of(epochs=4)
    whole = train(plan, tmp_path / "whole")
    with pytest.raises(InterruptedTraining):
        train(plan, tmp_path / "cut", StopAfter(15))
    (folder,) = (tmp_path / "cut").iterdir()
    newest = max((folder / "checkpoints").glob("step-*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    said: list[str] = []
    watcher = Watcher()
    watcher.say = said.append  # type: ignore[method-assign]
    assert same(whole, resume(load_run(folder), plan, watcher))
    assert len(said) == 1
    assert "is damaged" in said[0]


def test_resuming_refuses_what_has_changed_and_lists_it(plan_of: Any, tmp_path: Path) -> None:
    with pytest.raises(InterruptedTraining):
        train(plan_of(), tmp_path, StopAfter(2))
    (folder,) = tmp_path.iterdir()
    with pytest.raises(ResumeError, match=r"option learn_rate: was 0\.05, is 0\.01"):
        resume(load_run(folder), plan_of(learn_rate=0.01))
    run = resume(load_run(folder), plan_of(learn_rate=0.01), anyway=True)
    assert any("resumed although option learn_rate" in note for note in run.record.notes)


def test_patience_counts_epochs_without_improvement_and_best_weights_come_back(plan_of: Any, tmp_path: Path) -> None:
    plan = plan_of(patience=2, epochs=30)
    prepared = prepare(plan)
    losses = iter([1.0, 0.8, 0.9, 0.8, 0.7])
    states: list[torch.Tensor] = []

    class Judged(Training):
        def validate(self) -> tuple[float, float]:
            states.append(self.module.state_dict()["conv_1.conv.weight"].clone())
            return next(losses), 0.5

    run = _empty_run(plan, tmp_path)
    told: list[str] = []
    watcher = Watcher()
    watcher.say = told.append  # type: ignore[method-assign]
    training = Judged(plan, prepared, run, watcher)
    assert training.to_the_end() == "no improvement on select for 2 epochs"
    assert told == ["Stopped after epoch 4 of at most 30: no improvement on select for 2 epochs."]
    assert len(run.history()) == 4, "0.9 and the equal 0.8 are no improvement: improvement is strictly lower"
    assert torch.equal(training.module.state_dict()["conv_1.conv.weight"], states[1])
    assert [line["best"] for line in run.history()] == [True, True, False, False]


def test_only_every_nth_epoch_and_the_last_are_validated(plan_of: Any, tmp_path: Path) -> None:
    told: list[str] = []
    teller = Teller(Console(file=StringIO(), width=120))
    teller.say = told.append  # type: ignore[method-assign]
    run = train(plan_of(epochs=5, validation_period=2), tmp_path, teller)
    assert [line["select_top1"] is not None for line in run.history()] == [False, True, False, True, True]
    assert run.record.result is not None
    assert run.record.result.best_epoch in (2, 4, 5)
    assert len([text for text in told if "/5" in text]) == 5


@pytest.mark.parametrize(("threads", "share", "said"), [(2, 0.5, True), (2, 0.1, False), (1, 0.9, False)])
def test_beside_other_work_fewer_threads_are_advised_once(
    plan_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, share: float, said: bool
) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))  # no trial of another test's is remembered: it has its own threads
    monkeypatch.setattr("tench.console.used_by_others", lambda: share)
    told: list[str] = []
    teller = Teller(Console(file=StringIO(), width=120))
    teller.say = told.append  # type: ignore[method-assign]
    for seed in (0, 1):
        train(dataclasses.replace(plan_of(epochs=1, seed=seed), engine=Engine(threads=threads)), tmp_path, teller)
    assert sum("with --threads 1 it may go faster" in text for text in told) == said


def test_r2018b_keeps_the_last_weights_and_stops_on_its_test_pictures(plan_of: Any, tmp_path: Path) -> None:
    run = train(plan_of("r2018b", epochs=2), tmp_path)
    assert "stopped on its test pictures" in run.record.notes
    assert run.record.data.n_select == run.record.data.n_test == 30
    assert run.record.preprocessing["per_pixel_mean"] is True
    assert len(run.record.data.never_shown) == 60 % 8
    assert any(difference.startswith("result is last") for difference in run.record.rule_differences)


def test_batch_norm_after_dropout_is_said_of_the_run(plan_of: Any, tmp_path: Path) -> None:
    thinned = TINY_TABLE.replace("MaxPool", "Dropout, 0.3\nMaxPool", 1)
    note = "batch norm after dropout: its statistics are of thinned values"
    assert note in train(plan_of(net=from_table(parse(thinned)), epochs=1), tmp_path).record.notes
    assert note not in train(plan_of(epochs=1), tmp_path).record.notes


def test_per_pixel_mean_is_the_mean_picture_of_the_fit_pictures(plan_of: Any) -> None:
    prepared = prepare(plan_of("r2018b"))
    expected = prepared.feed.pixels[prepared.roles.fit].astype(np.float64).mean(0)
    assert np.allclose(prepared.module.get_buffer("normalise.mean").permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_per_channel_statistics_are_those_of_the_fit_pictures(plan_of: Any) -> None:
    prepared = prepare(plan_of("modern"))
    pictures = prepared.feed.pixels[prepared.roles.fit].astype(np.float64)
    assert prepared.preprocessing.mean == pytest.approx(pictures.mean((0, 1, 2)))
    assert prepared.preprocessing.std == pytest.approx(pictures.std((0, 1, 2)))


def test_a_loss_that_is_not_finite_ends_the_training_and_is_never_saved(plan_of: Any, tmp_path: Path) -> None:
    unnormalised = TINY_TABLE.replace("3x3, 8", "3x3, 8, norm=none")
    plan = dataclasses.replace(plan_of(learn_rate=100.0, epochs=20), network=from_table(parse(unnormalised)))
    with pytest.raises(TrainingError, match=r"became (nan|inf) in epoch \d+, at step \d+.*--learn-rate"):
        train(plan, tmp_path)
    (folder,) = tmp_path.iterdir()
    run = load_run(folder)
    assert run.record.status == "failed"
    for path in run.checkpoints.glob("*.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values()), path


def test_a_batch_larger_than_the_pictures_is_refused(plan_of: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only 54 pictures"):
        train(plan_of(batch_size=64), tmp_path)


SINGLE_VALUES = "ImageInput, 16x16\nConv, 3x3, 4\nGlobalAvgPool\nFullyConnected, 8\nBatchNorm\nFullyConnected, 3\nSoftMax\nClassOutput, 3\n"


def test_a_batch_norm_that_would_see_a_single_value_is_named_before_the_first_step(plan_of: Any, tmp_path: Path) -> None:
    """Thirty validation pictures in batches of 29 leave one, and behind the pool a batch norm has one value of it."""
    net = from_table(parse(SINGLE_VALUES))
    with pytest.raises(ConfigError, match=r"in `select` there is a batch of one.*1 value per channel.*another --batch-size than 29"):
        train(plan_of("r2018b", net=net, batch_size=29), tmp_path / "refused")
    assert train(plan_of("r2018b", net=net, batch_size=28, epochs=1), tmp_path).record.status == "finished"
    assert train(plan_of("r2018b", batch_size=29, epochs=1), tmp_path).record.status == "finished", "its maps have more values than one"


def test_a_training_that_needs_too_much_memory_is_refused_with_a_batch_size_that_fits(
    plan_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tench.training.resources.memory_available_mib", lambda: 601.0)
    plan = plan_of(batch_size=48)

    def tried(*_: Any) -> None:
        pytest.fail("pictures were decoded, or a step tried, before the memory was looked at")

    with monkeypatch.context() as before:
        before.setattr("tench.training.train.prepare", tried)
        before.setattr("tench.training.train.proposed", tried)
        with pytest.raises(TrainingError, match=r"take --batch-size \d+ or less, or --anyway"):
            train(plan, tmp_path)
    assert train(plan, tmp_path, anyway=True).record.status == "finished"


def _empty_run(plan: Plan, folder: Path) -> Run:
    from tench.records import create_run
    from tench.training.facts import record_of

    folder.mkdir(exist_ok=True)
    return create_run(folder, record_of(plan, prepare(plan), "train"))


def test_googlenet_from_scratch_never_goes_by_the_name_of_the_pretrained_one(plan_of: Any, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of(size_px=64), network=network("googlenet"))
    run = _empty_run(plan, tmp_path)
    assert run.record.network.name == "googlenet from scratch"
    assert run.id.startswith("googlenet-from-scratch-64px-modern")
    assert run.record.network.weights_sha256 is None
