"""Where figures come from: the facts of each run, and the command that makes it again."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tench.comparison.notes import stepwise
from tench.config import Options, TransferOptions, asked_side_px, load_recipe, load_study, row_side_px
from tench.errors import TenchError
from tench.networks.table import parse
from tench.records import Run, RunRecord
from tench.report.words import NONE, Said, Words

FLAGS = {
    "optimizer": "--optimizer",
    "learn_rate": "--learn-rate",
    "patience": "--patience",
    "drop_period": "--drop-period",
    "drop_rate_factor": "--drop-rate-factor",
    "l2": "--l2",
    "momentum": "--momentum",
    "batch_size": "--batch-size",
    "epochs": "--epochs",
    "size_px": "--size",
    "crop_px": "--crop",
    "class_weights": "--class-weights",
    "share": "--share",
    "test_share": "--test-share",
}
"""Options of `tench train` by their names in a record."""
FROM_SCRATCH = " from scratch"
UNTRAINED = ", untrained"
"""What a study adds to the name of a row of which it also scores the network as it is."""
TRANSFER_FLAGS = {
    "head_start": "--head-start",
    "hold": "--hold",
    "head_rate_factor": "--head-rate-factor",
    "freeze_until": "--freeze-until",
}
"""Options of `tench transfer` by their names in a record."""


def facts(run: Run, words: Words) -> list[tuple[str, str]]:
    """(what, its value) of everything that a run rests on, in the page's language."""
    record, result = run.record, run.record.result
    machine = record.machine
    parts = [words.number(n) for n in (record.data.n_fit, record.data.n_select, record.data.n_test)]
    cores = words("provenance.cores", processor=machine.processor, cores=machine.cores, memory=machine.memory_mib or NONE)
    values = {
        "date": (record.finished or record.created)[:16].replace("T", " "),
        "seed": str(record.seed),
        "data": record.data.sha256,
        "roles": " / ".join(parts),
        "rules": record.recipe,
        "engine": ", ".join(f"{words.term(key)}: {words.term(str(value))}" for key, value in record.engine.items()),
        "scored": words.said("engines", result.scored_by).text if result and result.scored_by else NONE,
        "machine": f"{cores}, {machine.system}" + (f", {machine.accelerator}" if machine.accelerator else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "code": record.code_sha256,
    }
    return [(words(f"provenance.{key}"), value) for key, value in values.items()]


def rule_differences(record: RunRecord, words: Words) -> list[Said]:
    """Every rule by which a run differs from the other set of rules."""
    return [words.said("differences", text) for text in record.rule_differences]


@dataclass(frozen=True)
class Command:
    """How to make a run again."""

    run: str
    text: str


def command(record: RunRecord) -> Command:
    """The command that trains `record`'s run again, DATA and WEIGHTS for the places that a record does not keep."""
    data = "pictograms" if record.data.is_demo else "DATA"
    if record.study and record.row:
        parts = ["tench", "study", *_of_study(record, record.study), "--data", data]
        parts += [] if record.kind == "train" else ["--weights", "WEIGHTS"]
    elif record.kind == "transfer":
        parts = ["tench", "transfer", record.network.name, *_transfer(record), "--data", data, "--weights", "WEIGHTS"]
    elif record.kind == "untrained":
        parts = ["tench", "evaluate", record.network.name, "--data", data, "--weights", "WEIGHTS"]
    else:
        parts = [*_launcher(record), "tench", "train", _reference(record), "--recipe", record.recipe, *_options(record), "--data", data]
        parts += ["--seed", str(record.seed), *_engine(record)]
    return Command(record.run_id, shlex.join(parts))


def _launcher(record: RunRecord) -> Iterator[str]:
    """What starts several processes, where the run was shared by them."""
    if (processes := record.engine.get("processes", 1)) > 1:
        yield from ("torchrun", "--nproc-per-node", str(processes), "-m")


def _reference(record: RunRecord) -> str:
    """What the network was named by: a built-in's name, which a record marks where it is a classical one, a file of an own table's name,
    or of a module its reference."""
    network = record.network
    if network.kind != "table":
        return network.text
    if network.origin == "own":
        return f"{network.name}.net"
    return network.name.removesuffix(FROM_SCRATCH if network.origin == "classical" else "")


def _of_study(record: RunRecord, study: str) -> Iterator[str]:
    """The study's name, the row and the seed, and options by which the run differs from the row's; of a study that cannot be found
    all of them."""
    usual: Mapping[str, Any] = {}
    recipe = None
    side_px = record.options.get("size_px")
    own_px = max(parse(record.network.text).input_px) if record.network.kind == "table" else record.network.input_px
    name = str(record.row).removesuffix(UNTRAINED if record.kind == "untrained" else "")
    try:
        found = load_study(study)
        row = next(row for row in found.rows if row.name == name)
        recipe = row.recipe or found.recipe
        usual = load_recipe(recipe).resolve(found.options, row.options).model_dump()
        usual = {**usual, "size_px": usual["size_px"] or (found.size_px and row_side_px(found.size_px, own_px))}
        yield study
    except (TenchError, StopIteration):
        yield f"{study}.toml"
    yield from ("--rows", name, "--seeds", str(record.seed))
    if stepwise(record):
        yield from () if record.recipe == recipe else ("--recipe", record.recipe)
        if side_px not in (None, usual.get("size_px")):
            yield from (FLAGS["size_px"], str(asked_side_px(side_px, own_px)))
        yield from _differing(record, usual, ("epochs", "share", "test_share"))
        yield from _engine(record)


def _engine(record: RunRecord) -> Iterator[str]:
    """The precision, where the rules leave it to the machine, and the number of threads, where it is not one a core: sums in another
    order are rounded otherwise."""
    if record.rules.get("arithmetic") == "fastest":
        yield from ("--precision", record.precision)
    threads = record.engine.get("threads")
    if threads and record.engine.get("device") == "cpu" and record.engine.get("processes", 1) == 1 and threads != record.machine.cores:
        yield from ("--threads", str(threads))


def _differing(record: RunRecord, usual: Mapping[str, Any], keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        value = record.options.get(key)
        if value is not None and value != usual.get(key):
            yield from (FLAGS[key], f"{value:g}" if isinstance(value, float) else str(value))


def _options(record: RunRecord) -> Iterator[str]:
    """Options by which a run differs from those of its recipe."""
    usual = _usual(record.recipe)
    yield from _differing(record, usual, FLAGS)
    for key in ("augment", "mirror"):
        if record.options[key] != usual.get(key):
            yield f"--{key}" if record.options[key] else f"--no-{key}"
    if record.options.get("norm_parts", 1) > 1:
        yield "--no-sync-norm"


def _usual(recipe: str) -> Mapping[str, Any]:
    """The options of a built-in recipe; where it cannot be found, the defaults."""
    try:
        return load_recipe(recipe).resolve().model_dump()
    except TenchError:
        return Options().model_dump()


def _transfer(record: RunRecord) -> Iterator[str]:
    how, usual = record.transfer or {}, TransferOptions().model_dump()
    if how.get("method") == "fine_tune":
        yield "--fine-tune"
        yield from (part for key in ("learn_rate", "batch_size", "epochs") for part in (FLAGS[key], str(record.options[key])))
    for key, flag in TRANSFER_FLAGS.items():
        if how.get(key, usual[key]) != usual[key]:
            yield from (flag, str(how[key]))
    if not how.get("leave_unseen_out", True):
        yield "--use-unseen"
    yield from _differing(record, Options().model_dump(), ("share", "test_share", "class_weights"))
    yield from ("--seed", str(record.seed))
