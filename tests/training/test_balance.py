"""Weights of classes in the loss: the numbers by hand, a step by hand, and what they are for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

import tench.cli
from tench.comparison.notes import options_text
from tench.comparison.results import by_arm
from tench.config import Engine, load_recipe
from tench.data.sources import ClassName, Source, open_source
from tench.networks.reference import from_table, network
from tench.networks.table import parse
from tench.records import Run, list_runs
from tench.report.provenance import command
from tench.training.balance import class_weights
from tench.training.feed import training_batches
from tench.training.head import Head, choose_hold, fit_head
from tench.training.loop import Training, Watcher
from tench.training.plan import Plan, plan_of, prepare
from tench.training.train import train

RESULTS = Path(__file__).parents[2] / "results"
ENGINE = Engine(threads=1)
LINEAR = """[linear]
ImageInput, 4x4
FullyConnected, 3, activation=none
SoftMax
ClassOutput, 3
"""


@pytest.fixture
def uneven(tiny_folder: Path, tmp_path: Path) -> Path:
    """The discs with 18 blue, 9 green and 3 red ones to learn from."""
    for path in sorted(tiny_folder.rglob("*.png")):
        split, name = path.parts[-3:-1]
        if split == "val" or int(path.stem) < {"blue": 18, "green": 9, "red": 3}[name]:
            target = tmp_path / "uneven" / split / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "uneven"


def plan_for(data: Path, net: Any, recipe: str = "modern", smoothing: float = 0.0, **options: Any) -> Plan:
    loaded = load_recipe(recipe)
    loaded = loaded.model_copy(update={"rules": loaded.rules.model_copy(update={"label_smoothing": smoothing})})
    return Plan(net, open_source(data), loaded, loaded.resolve({"augment": False, "size_px": 4}, options), ENGINE)


def test_balanced_weights_by_hand_and_as_scikit_learn_has_them() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    weights = class_weights("balanced", labels, 3)
    assert weights is not None
    assert weights.tolist() == pytest.approx([9 / 18, 9 / 6, 9 / 3])
    assert weights.tolist() == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels).tolist())
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert class_weights("none", labels, 3) is None


@pytest.mark.parametrize(("recipe", "smoothing"), [("modern", 0.0), ("modern", 0.2), ("r2018b", 0.0)])
def test_the_first_step_is_that_of_the_weighted_loss(uneven: Path, tmp_path: Path, recipe: str, smoothing: float) -> None:
    """W' = W - rate (1/b) sum of w(y) (p - t) x', written out in numpy, t being the smoothed target; biases likewise."""
    options = {"optimizer": "sgdm", "learn_rate": 0.01, "l2": 0, "batch_size": 10, "class_weights": "balanced", "epochs": 1}
    plan = plan_for(uneven, from_table(parse(LINEAR)), recipe, smoothing, **options)
    prepared = prepare(plan)
    batch = training_batches(prepared.roles.fit, plan.rules, plan.options, 0)[0]
    with torch.no_grad():
        pictures = prepared.feed.pictures(batch)
        x = prepared.module.features(pictures).double().numpy()
        before = {name: value.detach().double().numpy().copy() for name, value in prepared.module.named_parameters()}
    w, b = before["fully_connected_1.linear.weight"], before["fully_connected_1.linear.bias"]
    y, counts = prepared.feed.labels[batch], np.bincount(prepared.feed.labels[prepared.roles.fit])
    of_class = counts.sum() / (3 * counts)
    logits = x @ w.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    target = (1 - smoothing) * np.eye(3)[y] + smoothing / 3
    error = of_class[y][:, None] * (p - target) / len(batch)
    run = Run(tmp_path, None)  # type: ignore[arg-type]
    training = Training(plan, prepared, run, Watcher())
    loss = training._loss(prepared.module(pictures), prepared.feed.targets(batch))
    assert loss.item() == pytest.approx(float(-(of_class[y] * (target * np.log(p)).sum(1)).mean()), rel=1e-5)
    loss.backward()
    training.solver.step(0.01)
    after = dict(prepared.module.named_parameters())
    assert after["fully_connected_1.linear.weight"].detach().numpy() == pytest.approx(w - 0.01 * error.T @ x, rel=1e-3, abs=1e-5)
    assert after["fully_connected_1.linear.bias"].detach().numpy() == pytest.approx(b - 0.01 * error.sum(0), rel=1e-3, abs=1e-5)


def test_validation_weighs_as_training_does(uneven: Path, tmp_path: Path) -> None:
    plan = plan_for(uneven, from_table(parse(LINEAR)), batch_size=4, class_weights="balanced")
    prepared = prepare(plan)
    training = Training(plan, prepared, Run(tmp_path, None), Watcher())  # type: ignore[arg-type]
    loss, top1 = training.validate()
    select = prepared.roles.select
    logits, targets = prepared.module.eval()(prepared.feed.pictures(select)), prepared.feed.targets(select)
    assert loss == pytest.approx(functional.cross_entropy(logits, targets, training.class_weights).item(), rel=1e-5)
    assert loss != pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-5)
    assert top1 == pytest.approx(float((logits.argmax(1) == targets).float().mean()))


def test_a_training_records_them_and_is_another_run(uneven: Path, tiny_net: Path, tmp_path: Path) -> None:
    plans = [
        plan_for(uneven, network(tiny_net), size_px=16, batch_size=8, epochs=1, class_weights=how) for how in ("balanced", "none", None)
    ]
    run = train(plans[0], tmp_path)
    assert run.record.options["class_weights"] == "balanced"
    assert "classes weighted alike" in options_text(run.record)
    assert "--class-weights balanced" in command(run.record).text
    assert plans[0].identity() != plans[1].identity() == plans[2].identity()


@pytest.mark.parametrize("how", [None, "balanced"])
def test_the_command_line_trains_with_them(
    uneven: Path, tiny_net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str | None
) -> None:
    monkeypatch.setenv("TENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TENCH_NO_TUNING", "1")
    words = ["train", str(tiny_net), "--data", str(uneven), "--epochs", "1", "--batch-size", "8", "--no-exhibits", "--quiet"]
    monkeypatch.setattr("sys.argv", ["tench", *words, *(["--class-weights", how] if how else [])])
    with pytest.raises(SystemExit) as end:
        tench.cli.main()
    assert not end.value.code
    (run,) = list_runs(tmp_path / "runs").runs
    assert run.record.options["class_weights"] == (how or "none")


def test_a_seed_from_before_there_were_any_stands_in_one_arm_with_a_later_one(uneven: Path, tiny_net: Path, tmp_path: Path) -> None:
    net = network(tiny_net)
    later, earlier, other = (
        train(plan_for(uneven, net, size_px=16, batch_size=8, epochs=1, seed=seed, class_weights=how), tmp_path).record
        for seed, how in ((0, "none"), (1, "none"), (2, "balanced"))
    )
    options = {key: value for key, value in earlier.options.items() if key != "class_weights"}
    arms = by_arm([later, earlier.model_copy(update={"options": options}), other])
    assert [[record.seed for record in arm] for arm in arms] == [[0, 1], [2]]


def test_the_weighted_head_is_at_its_minimum_and_as_if_rare_pictures_were_there_more_often() -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.tensor([0] * 40 + [1] * 10)
    features = torch.randn(50, 3, generator=generator) + labels[:, None] * 0.8
    weights, start = class_weights("balanced", labels.numpy(), 2), Head(torch.zeros(2, 3), torch.zeros(2))
    head = fit_head(start, features, labels, 0.01, weights)
    four_times = torch.cat([features[:40], features[40:].repeat(4, 1)]), torch.cat([labels[:40], labels[40:].repeat(4)])
    assert torch.allclose(head.weight, fit_head(start, *four_times, 0.01).weight, atol=1e-4)
    error = (head.log_probabilities(features).exp() - functional.one_hot(labels, 2)) * weights[labels][:, None]  # type: ignore[index]
    assert (error.T @ features / 50 + 0.02 * head.weight).abs().max() < 1e-5

    def recall(fitted: Head) -> float:
        return float((fitted.log_probabilities(features).argmax(1) == labels)[labels == 1].double().mean())

    assert recall(head) > recall(fit_head(start, features, labels, 0.01)) + 0.2


def test_the_hold_is_chosen_by_the_weighted_loss() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.tensor([0] * 30 + [1] * 3)
    fit = torch.randn(33, 4, generator=generator) + labels[:, None], labels
    select = torch.randn(33, 4, generator=generator) + labels[:, None], labels
    weights, start = torch.tensor([0.55, 5.5]), Head(torch.zeros(2, 4), torch.zeros(2))
    hold, head = choose_hold(start, fit, select, weights)
    log_p = head.log_probabilities(select[0])[torch.arange(33), labels]
    assert head.loss(*select, weights) == pytest.approx(float(-(weights[labels] * log_p).sum() / weights[labels].sum()), rel=1e-5)
    for other in (0.1, 0.01, 0.001):
        assert head.loss(*select, weights) <= fit_head(start, *fit, other, weights).loss(*select, weights), hold


def options_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["options"]
    return found


EARLIER = [path for path in sorted(RESULTS.glob("*/runs/*/record.json")) if "class_weights" not in options_of(path)]


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: path.parent.name)
def test_runs_from_before_class_weights_keep_their_identity(path: Path) -> None:
    run = Run.read(path.parent)
    record = run.record
    classes = tuple(ClassName(entry.id, entry.english, entry.polish) for entry in record.data.classes)
    source = Source(record.data.name, "imagenette", None, classes, (), record.data.sha256, is_demo=False)
    assert plan_of(run, source).identity(kind=record.kind, transfer=record.transfer) == record.identity


def test_there_are_such_runs() -> None:
    assert len(EARLIER) >= 3
