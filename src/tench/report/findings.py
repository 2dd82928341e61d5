"""What can be concluded, in the page's language: of recipes over their seeds, of trained networks two by two."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from tench.comparison import ArmsComparison, Pair, Selection, agreement, selection
from tench.comparison.notes import other_rules
from tench.config import load_study
from tench.errors import TenchError
from tench.report.gathering import Material
from tench.report.words import Said, Words
from tench.studies.conclusions import Finding, findings

KEYS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "different": "different",
    "no difference that matters": "no_difference",
    "open": "open",
}


def finding(found: ArmsComparison, words: Words) -> str:
    """The verdict on two arms as a sentence; points are of top-1."""
    higher, lower, low, high = found.higher_less_lower
    verdict = words(
        "verdicts.no_spread" if found.no_spread else f"verdicts.{KEYS[found.verdict]}",
        higher=higher,
        lower=lower,
        mean=words.percent(abs(found.mean)),
        n=len(found.seeds),
        low=words.number(100 * low, 2, sign=True),
        high=words.number(100 * high, 2, sign=True),
        p=words.p(found.p_sign_flip),
        least=words.p(found.least_p),
        gap=words.percent(found.half_width),
    )
    if not found.counted_together:
        return verdict
    key = "verdicts.may_be_chance" if found.may_be_chance else "verdicts.beyond_chance"
    return f"{verdict} {words(key, n=found.together, p=words.p(found.p_t), corrected=words.p(found.p_holm))}"


@dataclass(frozen=True)
class Tested:
    """A conclusion of a study and what its runs say of it."""

    name: str
    claim: Said
    found: str
    remarks: tuple[Said, ...]
    """What keeps the comparison from being fair."""


def conclusions(material: Material, words: Words) -> Iterator[Tested]:
    """The conclusions of the studies that the runs are of, where a study has any and at least one can be tested."""
    for name in sorted({run.record.study for run in material.runs if run.record.study}):
        try:
            tested = findings(load_study(name), material.runs)
        except TenchError:  # a study of the user's own, whose file is not here
            continue
        if any(one.comparison for one in tested):
            yield from (_tested(one, words) for one in tested)


def _tested(one: Finding, words: Words) -> Tested:
    if one.comparison:
        found = finding(one.comparison, words)
    elif one.cut_off:
        found = words("verdicts.cut_off", names=", ".join(one.cut_off))
    elif one.mixed:
        found = words("verdicts.mixed", names=", ".join(one.mixed))
    else:
        found = words("verdicts.not_tested", better=one.conclusion.better, worse=one.conclusion.worse)
    remarks = re.split(r"(?<=\.) ", one.note) if one.comparison and one.note else []
    claim = words.said("claims", one.conclusion.claim)
    return Tested(one.conclusion.name, claim, found, tuple(words.said("remarks", remark) for remark in remarks))


def picks(material: Material, words: Words) -> Iterator[str]:
    """Of every set of pictures, how much the best network's score is flattered because those pictures picked it, a sentence each."""
    for arms in material.on_same_pictures:
        found = selection([run for arm in arms for run in arm.runs]) if all(arm.has_predictions for arm in arms) else None
        if found:
            arm = next(arm for arm in arms if found.best in {run.id for run in arm.runs})
            seed = next(run.record.seed for run in arm.runs if run.id == found.best)
            yield _pick(found, _name(arm.name, seed, words), words)


def _pick(found: Selection, name: str, words: Words) -> str:
    shares = {"top1": words.percent(found.top1), "corrected": words.percent(found.corrected), "points": words.percent(found.bias)}
    said = words("verdicts.pick" if found.matters else "verdicts.pick_little", name=name, of=found.of, n=found.n, **shares)
    return said + (" " + words("verdicts.pick_stopped") if found.epochs_too else "")


def repeats(material: Material, words: Words) -> Iterator[str]:
    """Of every set of pictures, how far the order of the networks is the one that was reported."""
    for arms in material.on_same_pictures:
        if found := agreement(arms):
            left_out = words("verdicts.repeats_without", names=", ".join(found.left_out)) if found.left_out else ""
            shares = {key: words.number(getattr(found, key), 2) for key in ("correlation", "low", "high")}
            order = words("verdicts.repeats", rows=found.rows, left_out=left_out, **shares)
            pairs = words("verdicts.repeats_pairs", **asdict(found.pairs)) if found.pairs else ""
            yield f"{order} {pairs}".strip()


def rules(material: Material, words: Words) -> Iterator[str]:
    """By what rules rows with a reported accuracy were trained, where those are not the report's."""
    for other in other_rules(run.record for run in material.runs):
        differences = "; ".join(words.said("differences", text).text for text in other.differences)
        key = "table.other_rules" if differences else "table.other_batches"
        yield words(key, recipe=other.recipe, differences=differences, n=other.batch_size)


@dataclass(frozen=True)
class PairLine:
    """Two trained networks beside each other, as the page shows them."""

    first: str
    second: str
    cells: tuple[str, ...]
    differ: bool
    """Whether p, corrected by Holm, is below 0.05."""


def pair_lines(material: Material, words: Words) -> list[PairLine]:
    """The material's pairs, the surest first."""
    names = {run.id: _name(arm.name, run.record.seed, words) for arm in material.arms for run in arm.runs}
    ordered = sorted(material.pairs, key=lambda pair: pair.p_holm)
    return [PairLine(names[pair.a], names[pair.b], _cells(pair, words), pair.p_holm < 0.05) for pair in ordered]


def _name(arm: str, seed: int, words: Words) -> str:
    return f"{arm}, {words('table.seed', seed=str(seed))}"


def _cells(pair: Pair, words: Words) -> tuple[str, ...]:
    shares = {"difference": pair.difference, "low": pair.low, "high": pair.high}
    difference = words("verdicts.difference_cell", **{key: words.number(100 * share, 2, sign=True) for key, share in shares.items()})
    return (words.number(pair.n), difference, words.number(pair.only_a), words.number(pair.only_b), words.p(pair.p_holm))
