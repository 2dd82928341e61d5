"""What a record says of a plan when its run begins, and what has changed when a run is to go on."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.config import LATER_OPTIONS, Engine, Recipe, load_recipe
from tench.data.roles import Roles, unseen_training_pictures
from tench.records import ClassFacts, DataFacts, NetworkFacts, RunRecord, run_id
from tench.runtime import code_identity, machine_facts, now, versions
from tench.training.feed import training_batches
from tench.training.plan import Plan, Prepared


def record_of(plan: Plan, prepared: Prepared, kind: Any, **about: Any) -> RunRecord:
    """The record a run begins with."""
    identity = plan.identity(kind=kind, transfer=about.get("transfer"))
    network_facts = about.pop("network", None) or _network_facts(plan)
    how = "untrained" if kind == "untrained" else plan.recipe.name
    return RunRecord(
        run_id=run_id(network_facts.name, plan.px, how, plan.options.seed, identity),
        identity=identity,
        kind=kind,
        created=now(),
        network=network_facts,
        data=_data_facts(plan, prepared),
        recipe=plan.recipe.name,
        rules=plan.rules.model_dump(),
        options=json.loads(plan.options.model_dump_json()),
        engine=plan.engine.model_dump(),
        preprocessing=json.loads(prepared.preprocessing.model_dump_json()),
        rule_differences=tuple(rule_differences(plan.recipe)),
        machine=machine_facts(plan.engine),
        versions=versions(),
        code_sha256=code_identity(),
        seed=plan.options.seed,
        notes=(*_notes(plan, prepared.roles), *about.pop("notes", ())),
        **about,
    )


def _network_facts(plan: Plan) -> NetworkFacts:
    counts = plan.network.counts(len(plan.source.classes), plan.px)
    n = plan.network
    return NetworkFacts(
        # A classical network is known for its pretrained weights: without them it must not pass under its name alone.
        name=f"{n.name} from scratch" if n.origin == "classical" else n.name,
        origin=n.origin,
        kind=n.kind,
        text=n.text,
        parameters=counts.parameters,
        macs=counts.macs,
        counted=counts.counted,
        input_px=plan.px,
    )


def _data_facts(plan: Plan, prepared: Prepared) -> DataFacts:
    source, parts = plan.source, prepared.roles
    return DataFacts(
        name=source.name,
        kind=source.kind,
        sha256=source.sha256,
        is_demo=source.is_demo,
        classes=tuple(ClassFacts.model_validate(entry) for entry in source.classes),
        n_fit=len(parts.fit),
        n_select=len(parts.select),
        n_test=len(parts.test),
        share=plan.options.share,
        test_share=plan.options.test_share,
        n_unseen=None if parts.unseen is None else len(parts.unseen),
        left_out=() if prepared.left_out is None else tuple(source.pictures[i].name for i in np.flatnonzero(prepared.left_out)),
        seen_sha256=source.seen_sha256,
        skipped=dict(source.skipped),
        never_shown=_never_shown(plan, parts.fit),
    )


def _never_shown(plan: Plan, fit: NDArray[np.int64]) -> tuple[str, ...]:
    if plan.rules.shuffle != "once" or plan.rules.last_partial_batch != "dropped":
        return ()
    shown = np.concatenate(training_batches(fit, plan.rules, plan.options, 0))
    return tuple(plan.source.pictures[i].name for i in np.setdiff1d(fit, shown))


def _notes(plan: Plan, parts: Roles) -> list[str]:
    notes = {
        "stopped on its test pictures": plan.rules.select_from == "test",
        "layers reconstructed": plan.network.origin == "reconstructed",
        "batch norm after dropout: its statistics are of thinned values": _norm_after_dropout(plan),
        "none left out: which pictures no pretraining saw is not known": plan.options.leave_unseen_out and parts.unseen is None,
        "none left out: most of what is there to learn from was never seen in pretraining": _too_many_unseen(plan),
    }
    return [note for note, holds in notes.items() if holds]


def _norm_after_dropout(plan: Plan) -> bool:
    return plan.network.table is not None and plan.network.table.norm_after_dropout


def _too_many_unseen(plan: Plan) -> bool:
    return plan.source.seen is not None and unseen_training_pictures(plan.source) is None


def rule_differences(recipe: Recipe) -> list[str]:
    """Every rule by which `recipe` differs from the other set of rules: r2018b's from modern, any other from r2018b."""
    other = load_recipe("modern" if recipe.name == "r2018b" else "r2018b")
    theirs = other.rules.model_dump()
    return [
        f"{rule} is {value}, in {other.name} {theirs[rule]}" for rule, value in recipe.rules.model_dump().items() if value != theirs[rule]
    ]


def differences(record: RunRecord, plan: Plan) -> list[str]:
    """What is not as it was when the run began, in words. Any number of processes may go on with it (`went_on_in`)."""
    then = Engine.model_validate(record.engine).model_dump()
    free = ("processes", "threads", "device") if then["processes"] != plan.engine.processes else ()
    now_and_then = {
        "the pictures": (plan.source.sha256, record.data.sha256),
        "the list of pictures seen in pretraining": (plan.source.seen_sha256, record.data.seen_sha256),
        "the network": (plan.network.text, record.network.text),
        "tench's code": (code_identity(), record.code_sha256),
        **{f"option {k}": (v, record.options.get(k, LATER_OPTIONS.get(k))) for k, v in json.loads(plan.options.model_dump_json()).items()},
        **{f"rule {k}": (v, record.rules.get(k)) for k, v in plan.rules.model_dump().items()},
        **{f"engine {k}": (v, then[k]) for k, v in plan.engine.model_dump().items() if k not in free},
        **{f"version of {k}": (v, record.versions.get(k)) for k, v in versions().items()},
    }
    return [f"{what}: was {_short(then)}, is {_short(is_now)}" for what, (is_now, then) in now_and_then.items() if is_now != then]


def went_on_in(record: RunRecord, plan: Plan) -> dict[str, Any]:
    """What changes in the record where another number of processes than before goes on with the run; nothing where it is the same."""
    before, after = Engine.model_validate(record.engine).processes, plan.engine.processes
    if before == after:
        return {}
    note = f"gone on with in {after} processes after {before}"
    return {"engine": plan.engine.model_dump(), "notes": (*record.notes, note)}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
