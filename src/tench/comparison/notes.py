"""What must be said beside a score: the data it is of, the options in short, and what makes it less than it seems."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tench.config import Options
from tench.records import RunRecord


def data_line(record: RunRecord) -> str:
    """Which pictures a run was scored on, for reading; of two runs with different lines the figures are not comparable."""
    data = record.data
    name = f"DEMO PICTURES, not Imagenette: {data.name}" if data.is_demo else data.name
    part = "" if data.test_share == 1 else f" ({data.test_share:.0%} of the test pictures)"
    return f"{name}, {data.n_test:,} test pictures{part}, data {data.sha256[:12]}"


def stepwise(record: RunRecord) -> bool:
    """Whether the run's options were used: a head on fixed features is solved for, without rate, epochs or augmentation."""
    return record.kind == "train" or (record.kind == "transfer" and (record.transfer or {}).get("method") == "fine_tune")


def options_text(record: RunRecord) -> str:
    """The options of a run as one short phrase."""
    options, px = record.options, f"{record.network.input_px} px"
    if record.kind in ("untrained", "evaluate"):
        return px
    method = record.transfer.get("method") if record.transfer else None
    if not stepwise(record):
        return f"{px}, {method} backbone{_balanced(options)}" if method else px
    parts = [px, record.recipe, *([str(method).replace("_", "-")] if method else [])]
    if rate := options.get("learn_rate"):
        parts.append(f"rate {rate:g}")
    if period := options.get("drop_period"):
        parts.append(f"x{options.get('drop_rate_factor'):g} every {period}")
    if patience := options.get("patience"):
        parts.append(f"patience {patience}")
    if options.get("augment"):
        parts.append("augmented")
    if record.data.share < 1:
        parts.append(f"{record.data.share:.0%} of the pictures")
    if (norm_parts := options.get("norm_parts", 1)) > 1:
        parts.append(f"batch norm in {norm_parts} parts")
    return ", ".join(parts) + _balanced(options)


def _balanced(options: Mapping[str, Any]) -> str:
    return ", classes weighted alike" if options.get("class_weights", "none") == "balanced" else ""


def notes(record: RunRecord) -> tuple[str, ...]:
    """What a reader of the table must know about this run, the record's own notes last; none that a longer one says too."""
    found = [
        (record.network.origin == "reconstructed", "reconstructed"),
        (record.kind in ("train", "transfer") and record.rules.get("select_from") == "test", "stopped on its test pictures"),
        (cut_off(record), f"cut off at {record.options.get('epochs')} epochs"),
        (mostly_seen(record), "mostly seen in pretraining"),
        (_seen_unknown(record), "pretrained; which pictures it had seen is not known"),
        (record.kind == "untrained", "not trained by tench"),
        (record.status != "finished", _unfinished(record)),
        (record.network.counted == "module", "counted on the module"),
    ]
    said = dict.fromkeys([*(note for holds, note in found if holds), *record.notes])
    return tuple(note for note in said if not any(len(note) < len(other) and note.lower() in other.lower() for other in said))


def cut_off(record: RunRecord) -> bool:
    """Whether the training would have gone on by its own patience, had it not used up the epochs it was allowed.

    Where those are so few that patience cannot act before their end, they are the length that was chosen, and cut nothing off.
    """
    patience, result, period = record.options.get("patience"), record.result, record.options.get("validation_period", 1)
    if not (stepwise(record) and patience and result and result.epochs and result.best_epoch):
        return False
    allowed: int = record.options["epochs"]
    stale = -(-(result.epochs - result.best_epoch) // period)  # the last epoch has a validation in any case
    to_its_end = record.rules.get("schedule", "piecewise") != "piecewise"  # such a schedule is made for these epochs
    return not to_its_end and allowed > (patience + 1) * period and result.epochs >= allowed and stale < patience


def mostly_seen(record: RunRecord) -> bool:
    """Whether pretraining saw more than half of the pictures that a run was scored on."""
    result = record.result
    return result is not None and result.seen is not None and 2 * result.seen.n > result.n


def _seen_unknown(record: RunRecord) -> bool:
    result = record.result
    return bool(result and record.network.weights_sha256 and result.unseen is None and result.seen is None)


R2018B_BATCH = Options().batch_size


@dataclass(frozen=True)
class OtherRules:
    """What is another rule in a recipe than in the software of the report whose accuracies stand beside its rows."""

    recipe: str
    differences: tuple[str, ...]
    """A phrase a rule."""
    batch_size: int

    @property
    def sentence(self) -> str:
        """It in words."""
        differences = f" differ from the report's rules: {'; '.join(self.differences)}. Their batches" if self.differences else ": batches"
        return f"Rows by {self.recipe}{differences} are of {self.batch_size} pictures."


def other_rules(records: Iterable[RunRecord]) -> Iterator[OtherRules]:
    """Of every recipe that rows with a reported accuracy were trained by, unless all of it is as in that software."""
    seen = set[OtherRules]()
    for record in records:
        differences = () if record.recipe == "r2018b" else record.rule_differences
        about = OtherRules(record.recipe, differences, record.options.get("batch_size", R2018B_BATCH))
        faithful = not differences and about.batch_size == R2018B_BATCH
        if record.kind == "train" and record.reported_accuracy is not None and not faithful and about not in seen:
            seen.add(about)
            yield about


def _unfinished(record: RunRecord) -> str:
    return f"failed: {record.failure}" if record.status == "failed" and record.failure else record.status
