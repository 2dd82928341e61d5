"""The same picture in two places, found by the hash of its content: between roles, and between a run's training and others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tench.data.sources import Picture


@dataclass(frozen=True)
class Shared:
    """One content under two names. `first` and `second` are names of pictures, `sha256` the hash of both."""

    first: str
    second: str
    sha256: str


def between(first: Iterable[Picture], second: Iterable[Picture]) -> list[Shared]:
    """Pictures of `second` whose content is also in `first`, sorted by their names; each once, with its first likeness.

    For a run's training pictures (`first`) and pictures it is to be scored on (`second`), also from different sources.
    """
    name_of: dict[str, str] = {}
    for picture in first:
        name_of.setdefault(picture.sha256, picture.name)
    found = [Shared(name_of[picture.sha256], picture.name, picture.sha256) for picture in second if picture.sha256 in name_of]
    return sorted(found, key=lambda shared: (shared.second, shared.first))


def between_roles(pictures: Sequence[Picture], roles: Mapping[str, npt.NDArray[np.int64]]) -> dict[tuple[str, str], list[Shared]]:
    """For every two roles with common content, what they share. `roles` maps a role's name to its indices into `pictures`.

    Roles that are by rule the same pictures (`select` = `test`) are passed over: that is a rule, not an accident.
    """
    found = {}
    for (name_a, indices_a), (name_b, indices_b) in combinations(roles.items(), 2):
        if not np.array_equal(indices_a, indices_b):
            found[name_a, name_b] = between((pictures[i] for i in indices_a), (pictures[i] for i in indices_b))
    return {pair: shared for pair, shared in found.items() if shared}


@dataclass(frozen=True)
class Doubles:
    """Pictures with one and the same content: their names, sorted, and whether one of them stands in another class."""

    names: tuple[str, ...]
    contradict: bool


def duplicates(pictures: Iterable[Picture]) -> list[Doubles]:
    """One for every content that occurs more than once, in the order of the names."""
    groups: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        groups[picture.sha256].append(picture)
    found = [
        Doubles(tuple(sorted(picture.name for picture in group)), len({picture.label for picture in group}) > 1)
        for group in groups.values()
        if len(group) > 1
    ]
    return sorted(found, key=lambda doubles: doubles.names)
