"""What was claimed of a study's rows, tested: each claim compares two rows over the seeds that both were trained with."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tench.comparison.notes import cut_off
from tench.comparison.results import by_arm
from tench.comparison.seeds import ArmsComparison, compare_seeds, corrected
from tench.config import Conclusion, Study
from tench.records import Run


@dataclass(frozen=True)
class Finding:
    """A conclusion and what the runs say of it; `comparison` is None where too few seeds of both rows are finished."""

    conclusion: Conclusion
    comparison: ArmsComparison | None
    note: str = ""
    """What keeps the comparison from being made, or from being fair."""
    cut_off: tuple[str, ...] = ()
    """Rows that used up the epochs they were allowed before their patience had ended them: they count in no verdict."""
    mixed: tuple[str, ...] = ()
    """Rows whose runs differ in more than their seed, so that there is no telling which of them the claim is about."""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return self.comparison.verdict if self.comparison else "not tested"

    @property
    def wants_more_seeds(self) -> bool:
        """Whether the interval is still wider than one point either way: a rule that does not look at what was found."""
        if self.cut_off or self.mixed:
            return False  # more epochs come first, or fewer runs
        return self.comparison is None or self.comparison.wants_more_seeds

    @property
    def sentence(self) -> str:
        """Claim and finding in words."""
        found = self.comparison.sentence if self.comparison else "Not tested"
        return f"({self.conclusion.name}) {self.conclusion.claim} {found}{'' if self.comparison else ':'} {self.note}".strip()

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON: shares -1 to 1."""
        compared = asdict(self.comparison) | {"half_width": self.comparison.half_width} if self.comparison else None
        more = {"verdict": self.verdict, "note": self.note, "sentence": self.sentence, "wants_more_seeds": self.wants_more_seeds}
        return self.conclusion.model_dump() | {"comparison": compared} | more


def findings(study: Study, runs: Sequence[Run]) -> tuple[Finding, ...]:
    """What the finished `runs` of `study` say of each of its conclusions, in the study's order.

    The p-values of those that could be compared are corrected by Holm for all of them.
    """
    found = [_finding(conclusion, study, runs) for conclusion in study.conclusions]
    together = iter(corrected([one.comparison for one in found if one.comparison]))
    return tuple(replace(one, comparison=next(together)) if one.comparison else one for one in found)


def _finding(conclusion: Conclusion, study: Study, runs: Sequence[Run]) -> Finding:
    rows = (conclusion.better, conclusion.worse)
    arms = [_scored(study, row, runs) for row in rows]
    if mixed := tuple(row for row, arm in zip(rows, arms, strict=True) if _mixed(arm)):
        return Finding(
            conclusion, None, f"The runs of {', '.join(mixed)} differ in more than their seed; name those of one design.", mixed=mixed
        )
    if cut := tuple(dict.fromkeys(str(run.record.row) for arm in arms for run in arm if cut_off(run.record))):
        return Finding(conclusion, None, f"{', '.join(cut)} used up the epochs allowed (--epochs) before patience ended it.", cut)
    better, worse = ({run.record.seed: run for run in arm} for arm in arms)
    common = better.keys() & worse.keys()
    if len(common) < 2:
        lacking = f"{conclusion.better} has {_count(better)}, {conclusion.worse} {_count(worse)}; two in common are the least."
        return Finding(conclusion, None, lacking)
    runs_of_both = [*better.values(), *worse.values()]
    score = _unseen if _unseen_counts(runs_of_both) else _top1
    shares = [{seed: score(run) for seed, run in arm.items()} for arm in (better, worse)]
    compared = compare_seeds(shares[0], shares[1], conclusion.better, conclusion.worse, claimed=1)
    return Finding(conclusion, compared, " ".join(_remarks(runs_of_both)))


def _scored(study: Study, row: str, runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.record.study == study.name and run.record.row == row and run.record.result is not None]


def _mixed(arm: Sequence[Run]) -> bool:
    """Whether runs of a row, which a study may have had in another design before, are not one recipe's, a run for each seed.

    The precision of products may differ, as it does where a study goes on on another machine.
    """
    designs = by_arm(run.record.model_copy(update={"engine": {}}) for run in arm)
    return len(designs) > 1 or len({run.record.seed for run in arm}) < len(arm)


def _top1(run: Run) -> float:
    assert run.record.result is not None
    return run.record.result.top1


def _unseen(run: Run) -> float:
    assert run.record.result is not None
    assert run.record.result.unseen is not None
    return run.record.result.unseen.top1


def _unseen_counts(runs: Sequence[Run]) -> bool:
    """Whether to compare on what no pretraining saw: where one was pretrained, and all were scored on the same such pictures."""
    sizes = {run.record.result.unseen.n if run.record.result and run.record.result.unseen else None for run in runs}
    return _pretrained(runs) and len(sizes) == 1 and None not in sizes


def _pretrained(runs: Sequence[Run]) -> bool:
    return any(run.record.network.weights_sha256 for run in runs)


def _count(arm: dict[int, Run]) -> str:
    return f"{len(arm)} finished seed{'' if len(arm) == 1 else 's'}"


def _remarks(runs: Sequence[Run]) -> Iterable[str]:
    """What else than the one thing differs between the runs of both rows, and which pictures were looked at."""
    if len({run.record.data.sha256 for run in runs}) > 1:
        yield "The rows were trained on different pictures."
    if len({(run.record.data.n_test, run.record.network.input_px) for run in runs}) > 1:
        yield "The rows were trained at different sizes, or scored on different numbers of pictures."
    if len({run.record.precision for run in runs}) > 1:
        yield "Products were of bfloat16 numbers in some of these trainings, of float32 in others."
    if any(run.record.rules.get("select_from") == "test" for run in runs):
        yield "These rows were stopped on their test pictures."
    if _unseen_counts(runs):
        yield "Compared on the pictures that no pretraining saw."
    elif _pretrained(runs):
        yield "One of them was pretrained and may have seen the test pictures then."
