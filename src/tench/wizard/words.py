"""What a look, a proposal and its outcome are in sentences, a line each."""

from collections.abc import Iterable, Iterator

from tench.comparison import duration
from tench.data.alike import Alike
from tench.wizard.carry_out import Done
from tench.wizard.expected import expectations, nearest
from tench.wizard.look import LISTED, Look
from tench.wizard.propose import Proposal, Step


def of_look(look: Look) -> Iterator[str]:
    """What is in the folder, and what is odd about it."""
    source, counts = look.source, look.counts
    splits = {part: sum(picture.split == part for picture in source.pictures) for part in ("train", "val")}
    each = _some([f"{name} {n:,}" for name, n in counts.items()], ", ")
    yield f"{source.name}: {len(source.pictures):,} pictures in {len(counts)} classes: {each}."
    yield f"{splits['train']:,} of them are to learn from, {splits['val']:,} are set apart and scored once, at the end."
    if source.skipped:
        files = [f"{name} {reason}" for name, reason in source.skipped]
        yield f"{_files(len(files))} cannot be used and {_are(len(files))} left out: {_some(files, '; ')}."
    if look.copies:
        yield f"Identical files, which teach nothing more: {_some([' = '.join(group) for group in look.copies], '; ')}."
    if look.leaking:
        pairs = [f"{shared.first} = {shared.second}" for shared in look.leaking]
        yield f"Both learnt from and scored, which flatters the score: {_some(pairs, '; ')}. Remove one of each."
    classes = {picture.name: picture.label for picture in source.pictures}
    torn = [pair for pair in look.alike if classes[pair.first] != classes[pair.second]]
    alike = [pair for pair in look.alike if pair not in torn]
    if torn:
        yield f"Nearly the same picture in two classes, so that one of them is perhaps in the wrong folder: {_some(_pairs(torn), '; ')}."
    if alike:
        yield f"Nearly the same picture, which flatters where one is learnt from and one scored: {_some(_pairs(alike), '; ')}."
    if look.uneven:
        few, many = (pick(counts, key=lambda name: counts[name]) for pick in (min, max))
        yield f"The classes are uneven ({few} {counts[few]:,}, {many} {counts[many]:,}), so each counts as much as any other in learning."


def _pairs(found: Iterable[Alike]) -> list[str]:
    return [f"{pair.first} and {pair.second}" + (", mirrored" if pair.mirrored else "") for pair in found]


def of_proposal(proposal: Proposal) -> Iterator[str]:
    """What would be trained, how long that takes here, and what to expect."""
    if proposal.weights is None:
        yield (
            "There are no weights of GoogLeNet here, which would recognise far more from so few pictures:"
            " `tench weights get googlenet` gets them (27 MiB). Without them a small network of your own is all there is."
        )
    for number, step in enumerate(proposal.steps, start=1):
        yield f"{number}. {_step(step)} {_time(step)}"
    if any(step.how for step in proposal.steps):
        yield from _expectation(proposal.look)


def _step(step: Step) -> str:
    options, plan = step.plan.options, step.plan
    weighted = ", classes weighted alike" if options.class_weights == "balanced" else ""
    if step.how:
        return f"A new last layer on {plan.network.name} at {plan.px} pixels, its other layers as they are{weighted}."
    return (
        f"A network of your own from scratch: {plan.network.name} at {plan.px} pixels, {options.epochs} epochs in batches of"
        f" {options.batch_size}{weighted}{'' if options.mirror else ', never mirrored'}."
    )


def _time(step: Step) -> str:
    if step.finished and step.before:
        return f"That is finished already, as {step.before.id}."
    if step.before:
        return f"It was begun before, as {step.before.id}, and goes on: at most about {duration(step.seconds)}."
    over = f" One epoch alone may take {duration(step.over_s)} longer than the time given by --minutes." if step.over_s else ""
    return f"On this machine it takes at most about {duration(step.seconds)}, as measured just now.{over}"


def _expectation(look: Look) -> Iterator[str]:
    rows, facts = expectations()
    shown = ", ".join(f"{row.pictures}: {_percent(row.top1)}" for row in rows)
    row = nearest(look.learnt)
    yield (
        f"What to expect: with {row.pictures} pictures a class to learn from (your smallest class has {look.learnt}) such a layer answered"
        f" {_percent(row.top1)} rightly on {facts.data}'s {facts.classes} classes ({_percent(row.low)} to {_percent(row.high)} in"
        f" {len(facts.seeds)} draws); by pictures a class: {shown}. GoogLeNet had learnt those very classes before, from other"
        " photographs; yours may be harder."
    )


def of_outcome(done: Done) -> Iterator[str]:
    """The score with its interval, what a part of the pictures did, and what twice as many might."""
    result = done.first.record.result
    assert result is not None
    yield (
        f"{done.first.record.network.name} answered {result.correct} of {result.n} test pictures rightly: {_percent(result.top1)}"
        f" (95 % interval {_percent(result.top1_low)} to {_percent(result.top1_high)})."
    )
    if result.per_class:
        usual = max(entry.n for entry in result.per_class)
        yield f"Always answering the most frequent class would be right on {usual} of them ({_percent(usual / result.n)})."
    if done.curve:
        points = [f"with {point.pictures:,} pictures {_percent(point.top1)}" for point in done.curve]
        yield f"Learnt from fewer: {', '.join(points)}; with all {done.first.record.data.n_fit:,} {_percent(result.top1)}."
        yield _doubled(done.curve[-1].top1, result.top1)


def _doubled(half: float, whole: float) -> str:
    """By the last doubling: of the errors that half the pictures left, the same share again."""
    if whole == 1:
        return "None was answered wrongly, so these test pictures cannot show what more pictures to learn from would bring."
    if half >= whole:
        return "The last doubling brought nothing that these test pictures show, so more pictures like these may bring little."
    expected = 1 - (1 - whole) ** 2 / (1 - half)
    return f"If the next doubling does as much as the last, twice the pictures would give about {_percent(expected)}."


def to_go_on(done: Done) -> Iterator[str]:
    """What to type next."""
    run = done.first.id
    yield f"The report is {done.page}. Open it in a browser."
    yield f"On a photograph:        tench predict {run} PHOTO"
    yield f"As a page in a browser: tench serve {run} --open"
    yield f"To give away:           tench export {run}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _files(n: int) -> str:
    return f"{n:,} file" if n == 1 else f"{n:,} files"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _some(found: Iterable[str], between: str) -> str:
    listed = list(found)
    more = [f"and {len(listed) - LISTED} more"] if len(listed) > LISTED else []
    return between.join([*listed[:LISTED], *more])
