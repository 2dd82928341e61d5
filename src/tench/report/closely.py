"""One run of each network looked at closely: its classes, confusions, reliability, its mistakes, and the mistakes of all together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.comparison.arms import Arm
from tench.evaluation import Reliability, confusion, reliability
from tench.records import ClassScore
from tench.report.mistakes import Answers, Together, answers_of, together
from tench.report.pictures import Budget, jpeg_uri
from tench.report.words import NONE, Words

MOST_LISTED = 12
"""Pictures in a list of mistakes."""
MOST_NETWORKS = 20
"""Networks that one page looks at closely."""


@dataclass(frozen=True)
class Look:
    """A network's run, its answers, and the names of its classes in the page's language."""

    arm: Arm
    answers: Answers
    classes: tuple[str, ...]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(classes, classes): rows are the right classes."""
        return confusion(self.answers.answers, self.answers.labels, len(self.classes))

    @property
    def reliability(self) -> Reliability:
        """How often answers of like certainty are right."""
        return reliability(self.answers.certainty, self.answers.correct)

    @property
    def per_class(self) -> tuple[ClassScore, ...]:
        return self.arm.record.result.per_class if self.arm.record.result else ()


@dataclass(frozen=True)
class Mistake:
    """A line in a list of mistakes."""

    picture: str
    label: str
    answer: str
    certainty: str
    thumbnail: str | None
    """The picture itself as an address, where it was kept and there was room."""


def class_names(arm: Arm, words: Words) -> tuple[str, ...]:
    """The classes of `arm` in the page's language; a class without words goes by its folder's name."""
    classes = arm.record.data.classes
    return tuple((entry.polish if words.lang == "pl" else entry.english) or entry.id for entry in classes)


def looks(arms: Sequence[Arm], words: Words) -> list[Look]:
    """A look at each of `arms` whose answers were kept."""
    return [Look(arm, answers_of(arm.shown), class_names(arm, words)) for arm in arms if arm.has_predictions]


class Thumbnails:
    """Small pictures by name, of all looks, for as long as there is room for them."""

    def __init__(self, looks: Sequence[Look], photographs: bool, budget: Budget) -> None:
        self.kept: dict[str, bytes] = {}
        self.budget = budget
        for look in looks:
            if not (photographs or look.arm.record.data.is_demo):
                continue
            wrong = look.answers.names[~look.answers.correct].tolist()
            self.kept |= look.arm.shown.thumbnails([name for name in wrong if name not in self.kept])

    def once(self, name: str) -> str | None:
        """The picture as an address for a list, None where there is none or no room."""
        jpeg = self.kept.get(name)
        return jpeg_uri(jpeg) if jpeg and self.budget.room_for(len(jpeg) * 4 // 3) else None

    def for_cells(self, names: Sequence[str]) -> dict[int, str]:
        """Addresses by place in `names` of as many as there is room for; those refused are counted in the budget."""
        found = {}
        for place, name in enumerate(names):
            if jpeg := self.kept.get(name):
                if self.budget.room_for(len(jpeg) * 4 // 3):
                    found[place] = jpeg_uri(jpeg)
                else:
                    self.budget.refused.append(name)
        return found


def confident_mistakes(look: Look, thumbnails: Thumbnails, words: Words) -> list[Mistake]:
    """The wrong answers that `look`'s network was most certain of."""
    of = look.answers
    return [
        Mistake(
            str(of.names[i]),
            look.classes[of.labels[i]],
            look.classes[of.answers[i]],
            words.percent(float(of.certainty[i]), 1),
            thumbnails.once(str(of.names[i])),
        )
        for i in of.most_confident_mistakes(MOST_LISTED)
    ]


@dataclass(frozen=True)
class Listed:
    """A list of mistakes: what it is of in words, how many there are, and the first of them."""

    caption: str
    count: int
    mistakes: tuple[Mistake, ...]


def shared_mistakes(several: Sequence[Look], thumbnails: Thumbnails, words: Words) -> Iterator[Listed]:
    """What all of `several` networks, two or more on the same pictures, miss; then what only one misses or only one has right.

    The answers listed are the wrong ones: of what only one has right, those of the others.
    """
    all_of = together([look.answers for look in several])
    shared = _Shared(several, all_of, thumbnails, words)
    n, of = len(several), len(all_of.names)
    missed = all_of.missed_by_all()
    key = "mistakes.all" if len(missed) else "mistakes.all_none"
    yield shared.listed(words(key, n=n, count=len(missed), of=of), missed, range(n))
    for i, look in enumerate(several):
        others = [k for k in range(n) if k != i]
        for kind, places, answering in (("only_miss", all_of.missed_only_by(i), [i]), ("only_right", all_of.right_only_by(i), others)):
            yield shared.listed(words(f"mistakes.{kind}", name=look.arm.name, count=len(places), of=of), places, answering)


@dataclass(frozen=True)
class _Shared:
    several: Sequence[Look]
    all_of: Together
    thumbnails: Thumbnails
    words: Words

    def listed(self, caption: str, places: NDArray[np.int64], networks: Sequence[int]) -> Listed:
        return Listed(caption, len(places), tuple(self.mistake(int(place), networks) for place in places[:MOST_LISTED]))

    def mistake(self, place: int, networks: Sequence[int]) -> Mistake:
        """The picture at `place` with the answers of `networks`, each different one once, the commonest first."""
        name, classes = str(self.all_of.names[place]), self.several[0].classes
        answers = self.all_of.answers[list(networks), place]
        values, counts = np.unique(answers, return_counts=True)
        said = [(classes[values[i]], int(counts[i])) for i in np.argsort(-counts, kind="stable")]
        many = len(networks) > 1
        answer = ", ".join(f"{words} ({count})" if many else words for words, count in said) or NONE
        certainty = self.words.percent(float(self.all_of.certainty[list(networks), place].mean()), 1)
        return Mistake(name, classes[self.all_of.labels[place]], answer, certainty, self.thumbnails.once(name))


def page_data(several: Sequence[Look], thumbnails: Thumbnails) -> dict[str, Any]:
    """What the page's script needs to show the pictures behind a cell: sets of pictures, and each run's answers to one of them."""
    sets: dict[tuple[str, bytes], list[Look]] = {}
    for look in several:
        sets.setdefault((look.arm.record.data.sha256, look.answers.names.tobytes()), []).append(look)
    pictures, runs = [], {}
    for number, group in enumerate(sets.values()):
        first = group[0].answers
        names = first.names.tolist()
        pictures.append({"names": names, "labels": first.labels.tolist(), "thumbnails": thumbnails.for_cells(names)})
        for look in group:
            certainty = (100 * look.answers.certainty).round().astype(int).tolist()
            runs[look.arm.key] = {"set": number, "answers": look.answers.answers.tolist(), "certainty": certainty}
    return {"sets": pictures, "runs": runs}
