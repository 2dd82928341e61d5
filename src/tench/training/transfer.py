"""A pretrained network brought to new classes: a new last layer on frozen features, or fine-tuned throughout."""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tench.config import TransferOptions
from tench.data.cache import decoded
from tench.data.roles import roles, unseen_training_pictures
from tench.data.sources import Source
from tench.errors import ResumeError, UsageError
from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork
from tench.networks.reference import load_pretrained
from tench.records import NetworkFacts, Run, RunRecord, delete_run, make_folder
from tench.records.run import RECORD
from tench.runtime import apply_engine, derived_seed, place
from tench.training.balance import class_weights
from tench.training.facts import record_of
from tench.training.features import features
from tench.training.head import Head, choose_hold, fit_head
from tench.training.loop import Watcher
from tench.training.outcome import finish, predictions, to_score
from tench.training.plan import Plan, Prepared, feed_of
from tench.training.train import begin, carry_out, refuse_changes, warn_or_refuse

PRETRAINED_ON = "ImageNet-1k"
FROZEN_OPTIONS = ("seed", "share", "test_share", "class_weights")
"""All options that a new head on a frozen network looks at."""
HEAD_SPREAD = 0.01
"""Standard deviation of a random new head, R2018b's for fully connected layers."""


@dataclass(frozen=True)
class Pretrained:
    """A pretrained network, its weights' sha256 and the pictures as it wants them."""

    backbone: TableNetwork | ForeignNetwork
    weights_sha256: str
    prepared: Prepared


def load(plan: Plan, weights: Path | None, leave_unseen_out: bool) -> Pretrained:
    """The pretrained network of the plan, the pictures at its size, and their roles."""
    apply_engine(plan.engine)
    backbone = load_pretrained(plan.network.reference, weights)
    place(backbone, plan.engine)
    preprocessing = backbone.preprocessing
    if plan.px != plan.network.input_px:
        preprocessing = preprocessing.model_copy(update={"height_px": plan.px, "width_px": plan.px})
    pixels = decoded(plan.source, preprocessing)
    left_out = unseen_training_pictures(plan.source) if leave_unseen_out else None
    parts = roles(plan.source, plan.rules, plan.options, left_out)
    prepared = Prepared(backbone, feed_of(plan, pixels), parts, preprocessing, left_out)
    return Pretrained(backbone, _tensors_sha256(backbone), prepared)


def transfer(
    plan: Plan,
    how: TransferOptions,
    runs: Path,
    weights: Path | None = None,
    watcher: Watcher | None = None,
    anyway: bool = False,
    **about: Any,
) -> Run:
    """Give the pretrained network of `plan` the source's classes; returns the finished run.

    Raises NotFoundError where its weights are not there, WeightsError where they do not fit.
    """
    watcher = watcher or Watcher()
    pretrained = load(plan, weights, how.leave_unseen_out)
    make_folder(runs)
    if how.method == "frozen":
        return _frozen(plan, how, pretrained, runs, watcher, about)
    prepared, factors = _ready(plan, how, pretrained, runs, watcher, anyway)
    run = begin(plan, _record(plan, pretrained, "transfer", how, **about), runs)
    return carry_out(plan, prepared, run, watcher, rate_factors=factors)


def untrained(plan: Plan, runs: Path, weights: Path | None = None, watcher: Watcher | None = None, **about: Any) -> Run:
    """Score the pretrained network as it is: arg-max over its own outputs for the source's classes.

    Raises UsageError where a class has no output of its own.
    """
    watcher = watcher or Watcher()
    began = time.monotonic()
    pretrained = load(plan, weights, leave_unseen_out=True)
    start = _own_rows(pretrained.backbone, plan.source, "untrained scoring")
    make_folder(runs)
    notes = (*about.pop("notes", ()), "untrained: the classes' own ImageNet outputs")
    run = _begin_anew(plan, _record(plan, pretrained, "untrained", notes=notes, **about), runs)
    with run.held():
        found = features_of(plan, pretrained, to_score(pretrained.prepared.roles, beside=True), watcher)
        _finish(plan, pretrained, run, start, found, wall_s=time.monotonic() - began)
    return run


# --- frozen ----------------------------------------------------------------------------------------------------------


def _frozen(plan: Plan, how: TransferOptions, pretrained: Pretrained, runs: Path, watcher: Watcher, about: dict[str, Any]) -> Run:
    began = time.monotonic()
    parts = pretrained.prepared.roles
    run = _begin_anew(plan, _record(plan, pretrained, "transfer", how, **about), runs)
    with run.held():
        needed = np.concatenate([parts.fit, parts.select, to_score(parts, beside=True)])
        found = features_of(plan, pretrained, needed, watcher)
        labels = torch.from_numpy(pretrained.prepared.feed.labels[needed])
        n_fit, n_select = len(parts.fit), len(parts.select)
        fit = (found[:n_fit], labels[:n_fit])
        select = (found[n_fit : n_fit + n_select], labels[n_fit : n_fit + n_select])
        start = start_of(pretrained.backbone, plan, how)
        training_began = time.monotonic()
        hold, head, weights = fitted_head(plan, how, start, fit, select)
        facts = {
            "select_loss": head.loss(*select, weights),
            "select_top1": float((head.log_probabilities(select[0]).argmax(1) == select[1]).double().mean()),
            "stopped_because": f"the head's loss is at its minimum (held near its start with strength {hold:g})",
            "train_s": time.monotonic() - training_began,
        }
        _finish(plan, pretrained, run, head, found[n_fit + n_select :], wall_s=time.monotonic() - began, **facts)
    return run


def fitted_head(
    plan: Plan, how: TransferOptions, start: Head, fit: tuple[Tensor, Tensor], select: tuple[Tensor, Tensor]
) -> tuple[float, Head, Tensor | None]:
    """The hold, the head that the plan's options make of `fit` and `select`, each (features, labels), and the weights of its classes."""
    weights = class_weights(plan.options.class_weights, fit[1].numpy(), len(plan.source.classes))
    if how.hold == "auto":
        return (*choose_hold(start, fit, select, weights), weights)
    return how.hold, fit_head(start, *fit, how.hold, weights), weights


def _begin_anew(plan: Plan, record: RunRecord, runs: Path) -> Run:
    """The run's folder; one of the same run that was killed makes room, as all it had to lose, its features, is kept elsewhere."""
    old = runs / record.run_id
    if (old / RECORD).is_file() and not Run.in_use_at(old) and Run.read(old).record.status != "finished":
        delete_run(old, runs)
    return begin(plan, record, runs)


def features_of(plan: Plan, pretrained: Pretrained, indices: NDArray[np.int64], watcher: Watcher) -> Tensor:
    """What goes into the last layer for the pictures of `indices`, (len(indices), n_features), from the cache where it is kept."""

    def done(finished: int, of: int) -> None:
        watcher.say(f"features: {finished} of {of} pictures")

    prepared = pretrained.prepared
    found = features(pretrained.backbone, pretrained.weights_sha256, plan.source, prepared.feed.pixels, indices, plan.engine, done)
    return torch.from_numpy(found)


def _finish(plan: Plan, pretrained: Pretrained, run: Run, head: Head, found: Tensor, **facts: Any) -> None:
    answers = head.log_probabilities(found).numpy()
    scores = predictions(plan.source, pretrained.prepared.roles, answers, beside=True)
    finish(run, with_head(plan, pretrained, head), scores, **facts)


# --- heads -----------------------------------------------------------------------------------------------------------


def start_of(backbone: nn.Module, plan: Plan, how: TransferOptions) -> Head:
    """Where the new head starts: at the ImageNet rows of the same classes where those are known, else at random."""
    known = [entry.imagenet_index for entry in plan.source.classes]
    if how.head_start == "imagenet" and all(index is not None for index in known):
        return _own_rows(backbone, plan.source, "head_start = imagenet")
    generator = torch.Generator().manual_seed(derived_seed(plan.options.seed, "head"))
    weight = torch.empty(len(known), _head(backbone).in_features).normal_(0, HEAD_SPREAD, generator=generator)
    return Head(weight, torch.zeros(len(known)))


def _own_rows(backbone: nn.Module, source: Source, purpose: str) -> Head:
    """The rows of the pretrained last layer that belong to the source's classes."""
    indices = [entry.imagenet_index for entry in source.classes if entry.imagenet_index is not None]
    if len(indices) < len(source.classes):
        strange = ", ".join(entry.id for entry in source.classes if entry.imagenet_index is None)
        raise UsageError(
            f"For {purpose} every class must be one of ImageNet's 1,000; these are not known to be: {strange}. Use `tench transfer`."
        )
    last = _head(backbone)
    return Head(last.weight.detach()[indices].cpu().clone(), last.bias.detach()[indices].cpu().clone())


def _head(module: nn.Module) -> nn.Linear:
    head = module.head
    assert isinstance(head, nn.Linear)
    return head


def with_head(plan: Plan, pretrained: Pretrained, head: Head) -> nn.Module:
    """The pretrained network with `head` in place of its last layer."""
    backbone = pretrained.backbone
    module = plan.network.build(len(plan.source.classes), pretrained.prepared.preprocessing)
    kept = {name: tensor for name, tensor in backbone.state_dict().items() if name not in head_names(backbone)}
    own_head = dict(zip(head_names(module), (head.weight, head.bias), strict=True))
    module.load_state_dict(kept | own_head)
    place(module, plan.engine)
    return module


def head_names(module: nn.Module) -> tuple[str, str]:
    """Names of the last layer's weights and biases among the module's tensors."""
    last = _head(module)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return names[id(last.weight)], names[id(last.bias)]


# --- fine-tuning -----------------------------------------------------------------------------------------------------


def _ready(
    plan: Plan, how: TransferOptions, pretrained: Pretrained, runs: Path, watcher: Watcher, anyway: bool
) -> tuple[Prepared, dict[str, float]]:
    """The network with its new head, what is frozen frozen, and the head's factor of the rate; what cannot be is refused."""
    module = with_head(plan, pretrained, start_of(pretrained.backbone, plan, how))
    if how.freeze_until:
        freeze(module, how.freeze_until)
    warn_or_refuse(plan, module, runs, watcher, anyway)
    return dataclasses.replace(pretrained.prepared, module=module), dict.fromkeys(head_names(module), how.head_rate_factor)


def freeze(module: nn.Module, row: str) -> None:
    """Keep the weights of all rows up to and including `row` as they are. Raises UsageError with the rows there are."""
    rows = [name for name, _ in module.named_children() if name != "normalise"]
    if row not in rows:
        raise UsageError(f"freeze_until is '{row}', but the network has no such row; it has {', '.join(rows)}.")
    for name in rows[: rows.index(row) + 1]:
        module.get_submodule(name).requires_grad_(False)


def resume_fine_tuning(run: Run, plan: Plan, weights: Path | None = None, watcher: Watcher | None = None, anyway: bool = False) -> Run:
    """Go on with an interrupted fine-tuning, exactly; raises as `train.resume` does, and ResumeError for other weights."""
    refuse_changes(run, plan, anyway)
    how = TransferOptions.model_validate(run.record.transfer)
    pretrained = load(plan, weights, how.leave_unseen_out)
    if pretrained.weights_sha256 != run.record.network.weights_sha256:
        raise ResumeError(f"{run.id} began from other pretrained weights than these; give the same ones by --weights FILE.")
    watcher = watcher or Watcher()
    prepared, factors = _ready(plan, how, pretrained, run.folder, watcher, anyway)
    return carry_out(plan, prepared, run, watcher, resuming=True, rate_factors=factors)


# --- records ---------------------------------------------------------------------------------------------------------


def _record(plan: Plan, pretrained: Pretrained, kind: str, how: TransferOptions | None = None, **about: Any) -> RunRecord:
    classes, px = len(plan.source.classes), pretrained.prepared.preprocessing.height_px
    counts = plan.network.counts(classes, px)
    facts = NetworkFacts(
        name=plan.network.name,
        origin=plan.network.origin,
        kind=plan.network.kind,
        text=plan.network.text,
        parameters=counts.parameters,
        macs=counts.macs,
        counted=counts.counted,
        input_px=px,
        weights_sha256=pretrained.weights_sha256,
        pretrained_on=PRETRAINED_ON,
    )
    transfer_options = json.loads(how.model_dump_json()) if how else None
    return record_of(plan, pretrained.prepared, kind, network=facts, transfer=transfer_options, **about)


def _tensors_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
