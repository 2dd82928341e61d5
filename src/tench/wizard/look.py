"""What is in a folder of class folders: pictures a class, unusable files, doubles, imbalance. What cannot be used is refused."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tench.config import Rules
from tench.data.alike import Alike, near_duplicates
from tench.data.overlap import Shared, between, duplicates
from tench.data.sources import Picture, Source, open_source
from tench.errors import DataError

LEAST = 5
"""Different pictures that a class must have: of five, two are scored, one chooses, and two are learnt from."""
LEAST_TO_LEARN = 3
"""Of these outside the validation folder, where there is one."""
UNEVEN = 2.0
"""Times as many pictures as the smallest class, from which on classes are weighted alike."""
LISTED = 20
"""Lines of a list in a message."""


@dataclass(frozen=True)
class Look:
    """Pictures that can be learnt from, and what is to be known about them."""

    source: Source
    """Unusable files are left out, and named in its `skipped`."""
    counts: dict[str, int]
    """Usable pictures of each class."""
    copies: tuple[tuple[str, ...], ...]
    """Names of identical files, all of one class."""
    leaking: tuple[Shared, ...]
    """Identical files of which one is learnt from and the other scored: only where the folders say which is which."""
    alike: tuple[Alike, ...]
    """Pairs of pictures that are nearly the same."""

    @property
    def uneven(self) -> bool:
        """Whether the largest class has more than twice the pictures of the smallest."""
        return max(self.counts.values()) > UNEVEN * min(self.counts.values())

    @property
    def learnt(self) -> int:
        """Pictures to learn from in the smallest class, without those that decide."""
        counts = Counter(picture.label for picture in self.source.pictures if picture.split == "train")
        fewest = min(counts.values())
        return fewest - max(1, round(Rules().select_share * fewest))


def look(place: str | Path, name: str | None = None) -> Look:
    """Look at the pictures at `place`, a folder or archive; `name`: what they are to be called, in place of the folder's name.

    Every file is decoded once. Raises DataError for layouts that are none, for a picture that lies in two classes, and for classes
    with fewer than LEAST different pictures; NotFoundError.
    """
    everything = open_source(place, skip_bad=True, val_share=1.0)  # not split, so that a class of one picture is named with its count
    _refuse_two_classes(everything)
    _refuse_too_few(everything)
    source = open_source(place, skip_bad=True)
    source = replace(source, name=name) if name else source
    labels = Counter(picture.label for picture in source.pictures)
    split = {part: [picture for picture in source.pictures if picture.split == part] for part in ("train", "val")}
    return Look(
        source=source,
        counts={entry.id: labels[label] for label, entry in enumerate(source.classes)},
        copies=tuple(one.names for one in duplicates(source.pictures)),
        leaking=tuple(between(split["train"], split["val"])),
        alike=tuple(near_duplicates(source)),
    )


def _refuse_two_classes(source: Source) -> None:
    torn = [" = ".join(one.names) for one in duplicates(source.pictures) if one.contradict]
    if torn:
        raise DataError(
            f"{source.name}: the same picture lies in folders of different classes:{_lines(torn)}\n"
            "A network cannot learn both. Decide which class each is, and remove the others."
        )


def _refuse_too_few(source: Source) -> None:
    split = len({picture.split for picture in source.pictures}) == 2
    few = [
        f"{entry.id}: {_different(of_class)}"
        for label, entry in enumerate(source.classes)
        for of_class in [[picture for picture in source.pictures if picture.label == label]]
        if _different(of_class) < LEAST or (split and _different(p for p in of_class if p.split == "train") < LEAST_TO_LEARN)
    ]
    if few:
        outside = f", {LEAST_TO_LEARN} of them in train" if split else ""
        raise DataError(
            f"{source.name}: these classes have too few different pictures that can be used:{_lines(few)}\n"
            f"It takes {LEAST} of each class{outside}; with 20 and more it gets good. Add pictures, or remove the class's folder."
        )


def _different(pictures: Iterable[Picture]) -> int:
    return len({picture.sha256 for picture in pictures})


def _lines(found: Iterable[str]) -> str:
    lines = list(found)
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "".join(f"\n  {line}" for line in [*lines[:LISTED], *more])
