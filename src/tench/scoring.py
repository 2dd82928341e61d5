"""A recogniser scored on other labelled pictures: classes matched by name, pictures it was trained on found and said."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.answering import Answering
from tench.comparison import score
from tench.data import overlap
from tench.data.cache import decoded
from tench.data.overlap import Shared
from tench.data.roles import roles_of
from tench.data.sources import Picture, Source, open_source
from tench.errors import TenchError, UsageError
from tench.evaluation import Metrics, metrics
from tench.records import ClassFacts, Run, Score


@dataclass(frozen=True)
class Evaluation:
    """How good a recogniser is on the `val` pictures of a source (all pictures, where it has no split)."""

    recogniser: str
    data: str
    data_sha256: str
    is_demo: bool
    metrics: Metrics
    classes: tuple[ClassFacts, ...]
    shared_with_training: tuple[Shared, ...] | None
    """Pictures that the run was also fitted or selected on; None: not known, for there is no run or its pictures are gone."""
    unseen: Score | None
    """Of pictures that pretraining never saw, for pretrained networks and where it is known which they are (`Source.unseen`)."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Shares are 0 to 1, the confusion matrix has a row for every right class."""
        m = self.metrics
        return {
            "recogniser": self.recogniser,
            "data": {"name": self.data, "sha256": self.data_sha256, "is_demo": self.is_demo},
            "n": m.n,
            "correct": m.correct,
            "top1": m.top1,
            "top1_low": m.low,
            "top1_high": m.high,
            "nll": m.nll,
            "ece": m.ece,
            "unseen": None if self.unseen is None else self.unseen.model_dump(),
            "per_class": [entry.model_dump() for entry in m.per_class],
            "confusion": m.confusion.tolist(),
            "shared_with_training": None if self.shared_with_training is None else [shared.second for shared in self.shared_with_training],
            "notes": list(self.notes),
        }


def evaluate(recogniser: Answering, source: Source) -> Evaluation:
    """Score `recogniser` on the `val` pictures of `source`.

    Raises UsageError where the source has classes the recogniser does not know: it could only ever be wrong on them.
    """
    label_of = _matched(recogniser, source)
    indices = np.array([i for i, picture in enumerate(source.pictures) if picture.split == "val"], dtype=np.int64)
    labels = np.array([label_of[source.pictures[i].label] for i in indices], dtype=np.int64)
    answers = recogniser.log_probabilities(decoded(source, recogniser.preprocessing), indices)
    found = metrics(answers, labels, [entry.id for entry in recogniser.classes])
    scored = [source.pictures[i] for i in indices]
    trained_on = _training_pictures(recogniser.run) if recogniser.run else None
    shared = None if trained_on is None else tuple(overlap.between(trained_on, scored))
    unseen = _unseen(recogniser, source, indices, answers.argmax(1) == labels)
    notes = _notes(recogniser, source, len(label_of), shared, unseen, found.n)
    return Evaluation(recogniser.name, source.name, source.sha256, source.is_demo, found, recogniser.classes, shared, unseen, tuple(notes))


def _matched(recogniser: Answering, source: Source) -> dict[int, int]:
    """The recogniser's class for every class of the source: by the folder's name, else by the English or Polish word."""
    places: dict[str, int] = {}
    for place, kind in enumerate(recogniser.classes):
        for word in (kind.id, kind.english, kind.polish):
            places.setdefault(word.casefold(), place)
    found: dict[int, int] = {}
    strange = []
    for label, own in enumerate(source.classes):
        words = [word.casefold() for word in (own.id, own.english, own.polish)]
        place_found = next((places[word] for word in words if word in places), None)
        if place_found is None:
            strange.append(own.id)
        else:
            found[label] = place_found
    if strange:
        known = ", ".join(kind.id if kind.id == kind.english else f"{kind.id} ({kind.english})" for kind in recogniser.classes[:20])
        raise UsageError(
            f"{recogniser.name} does not know the classes {', '.join(strange)} of {source.name}; it knows {known}."
            " Rename the folders, or take away those it cannot know."
        )
    return found


def _training_pictures(run: Run) -> list[Picture] | None:
    """The pictures a run was fitted and selected on, found where they were then; None where they are gone or changed."""
    place = run.local().get("data")
    try:
        source = open_source(place if place else run.record.data.kind, skip_bad=bool(run.record.data.skipped))
    except TenchError:
        return None
    if source.sha256 != run.record.data.sha256:
        return None
    parts = roles_of(source, run.record)
    return [source.pictures[i] for i in np.union1d(parts.fit, parts.select)]


def _unseen(recogniser: Answering, source: Source, scored: NDArray[np.int64], correct: NDArray[np.bool_]) -> Score | None:
    if recogniser.pretrained_on is None or source.unseen is None:
        return None
    mask = source.unseen[scored]
    return score(int(correct[mask].sum()), int(mask.sum())) if mask.any() else None


def _notes(
    recogniser: Answering, source: Source, n_classes: int, shared: tuple[Shared, ...] | None, unseen: Score | None, n: int
) -> list[str]:
    notes = []
    if source.is_demo:
        notes.append("Demo pictures: these figures say nothing about photographs.")
    if shared:
        notes.append(f"{len(shared):,} of the {n:,} pictures were also in the run's training: the figures flatter it.")
    if recogniser.run and shared is None:
        notes.append("Whether the run was trained on some of these pictures is not known: its own are not where they were.")
    if unseen is not None:
        if 2 * unseen.n < n:
            notes.append(f"Mostly seen in pretraining: only {unseen.n:,} of the {n:,} pictures were never seen.")
        else:
            notes.append(f"{unseen.n:,} of the {n:,} pictures were never seen in pretraining.")
    if n_classes < len(recogniser.classes):
        notes.append(f"The pictures are of {n_classes} of the {len(recogniser.classes)} classes it knows.")
    return notes
