"""What lies beside a network's weights, so that it can say how sure it is and what is like nothing it knows. Needs no torch."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tench.config import Frozen
from tench.errors import RecordError
from tench.records import write_bytes_atomically
from tench.records.files import ARCHIVE_ERRORS

Method = Literal["probability", "logit", "energy", "distance"]

FACTS, ARRAYS = "confidence.json", "confidence.npz"
LEVELS = 101
"""Quantiles of the scores of known pictures that are kept."""
KEPT = 0.95
"""Share of known pictures that are not to be called strange."""

Arrays = dict[str, NDArray[np.float32]]


class Measured(Frozen):
    """How well one method told pictures of classes it knew from pictures of classes left out of its head; shares are 0 to 1."""

    method: Method
    auroc: float = Field(ge=0, le=1)
    """Mean over the rounds: how often a known picture scores above an unknown one."""
    passed: float = Field(ge=0, le=1)
    """Mean share of unknown pictures that pass for known where 95 % of the known ones do."""
    rounds: tuple[float, ...]
    """AUROC of each round."""


class Confidence(Frozen):
    """confidence.json of a run or bundle."""

    schema_version: Literal[1] = 1
    temperature: float = Field(gt=0)
    """Logits are divided by it; fitted on `select` (Guo et al. 2017, arXiv 1706.04599)."""
    n_select: int
    method: Method | None = None
    """The best of `measured` by AUROC; none where fewer than three classes leave none to leave out."""
    measured: tuple[Measured, ...] = ()
    left_out: tuple[tuple[str, ...], ...] = ()
    """Classes left out in each round, by their ids."""
    levels: tuple[float, ...] = ()
    """Quantiles 0, 0.01, ..., 1 of the method's scores of the pictures of `select`."""
    beside: dict[str, float] = Field({})
    """AUROC against drawn pictures and noise, which decided nothing."""
    notes: tuple[str, ...] = ()

    @property
    def is_fitted(self) -> bool:
        """Whether a temperature was fitted; else it is 1, and probabilities are as they come."""
        return self.temperature != 1

    @property
    def chosen(self) -> Measured | None:
        """How good the method in use is."""
        return next((one for one in self.measured if one.method == self.method), None)

    @property
    def sentence(self) -> str:
        """How good "not one of these" is, in words."""
        if self.chosen is None:
            return (
                "Nothing is said of pictures unlike all of its classes:"
                " that could not be told well enough, or there was too little to try it on."
            )
        chosen, rounds = self.chosen, len(self.chosen.rounds)
        return (
            f'"Not one of these" is said of pictures less familiar than {KEPT:.0%} of those it was tuned on. In {rounds} rounds with'
            f" classes left out, {1 - chosen.passed:.0%} of the unknown pictures were found so (AUROC {chosen.auroc:.3f}, by"
            f" {METHODS[chosen.method]})."
        )


METHODS: dict[Method, str] = {
    "probability": "the answer's probability",
    "logit": "the largest logit",
    "energy": "the energy of all logits",
    "distance": "the distance from the classes' means",
}
"""Hendrycks and Gimpel (2017, arXiv 1610.02136), Hendrycks et al. (2022, arXiv 1911.11132), Liu et al. (2020, arXiv 2010.03759),
Lee et al. (2018, arXiv 1807.03888)."""


def familiarity(
    method: Method, logits: NDArray[np.floating[Any]], features: NDArray[np.floating[Any]], arrays: Arrays
) -> NDArray[np.float64]:
    """How familiar pictures look by `method`, (n,), more is more; from logits (n, classes) and features (n, d) before the last layer.

    `arrays`, for "distance": `means` (classes, d) and `whitening` (d, d), by which the covariance within classes becomes 1.
    """
    wide = logits.astype(np.float64)
    energy: NDArray[np.float64] = np.logaddexp.reduce(wide, axis=1)
    if method == "energy":
        return energy
    if method == "logit":
        return np.asarray(wide.max(axis=1))
    if method == "probability":
        return np.asarray(wide.max(axis=1) - energy)
    points, means = (values.astype(np.float64) @ arrays["whitening"] for values in (features, arrays["means"]))
    squared = (points**2).sum(1, keepdims=True) - 2 * points @ means.T + (means**2).sum(1)
    return -np.asarray(squared.min(axis=1))


@dataclass(frozen=True)
class Trust:
    """A Confidence with its arrays, ready to use."""

    facts: Confidence
    arrays: Arrays

    @property
    def needs_features(self) -> bool:
        """Whether features are looked at, and not logits alone."""
        return self.facts.method == "distance"

    def place(self, logits: NDArray[np.float32], features: NDArray[np.float32] | None) -> NDArray[np.float64] | None:
        """The share of known pictures that look less familiar than each of these, (n,), 0 to 1; None where that cannot be said."""
        if self.facts.method is None:
            return None
        nothing = np.zeros((len(logits), 0), dtype=np.float32)
        scores = familiarity(self.facts.method, logits, nothing if features is None else features, self.arrays)
        return np.interp(scores, self.facts.levels, np.linspace(0, 1, len(self.facts.levels)))


def files_of(trust: Trust) -> dict[str, bytes]:
    """The files that keep it, by their names, the arrays first: facts must never speak of arrays that are not there."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **trust.arrays)
    text = json.dumps(trust.facts.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
    return {ARRAYS: content.getvalue(), FACTS: text.encode()}


def trust_of(facts_file: bytes, arrays_file: bytes) -> Trust:
    """What those files hold. Raises ValueError, and what numpy raises, where they are damaged or do not fit together."""
    facts = Confidence.model_validate_json(facts_file)
    with np.load(io.BytesIO(arrays_file), allow_pickle=False) as archive:
        arrays: Arrays = {name: archive[name] for name in archive.files}
    _check(facts, arrays)
    return Trust(facts, arrays)


def save_trust(folder: Path, trust: Trust) -> None:
    """Write it into `folder`."""
    for name, content in files_of(trust).items():
        write_bytes_atomically(folder / name, content)


def read_trust(folder: Path) -> Trust | None:
    """What `save_trust` wrote; None where it was never made. Raises RecordError if it is damaged or does not fit together."""
    try:
        return trust_of((folder / FACTS).read_bytes(), (folder / ARRAYS).read_bytes())
    except FileNotFoundError:
        return None
    except ARCHIVE_ERRORS as error:
        raise RecordError(f"{folder / FACTS} or {ARRAYS} beside it is damaged: {error}. `tench explain RUN` makes both anew.") from error


def _check(facts: Confidence, arrays: Arrays) -> None:
    if facts.method and (len(facts.levels) < 2 or list(facts.levels) != sorted(facts.levels)):
        raise ValueError("its levels are no rising row of numbers")
    if facts.method == "distance":
        means, whitening = arrays["means"], arrays["whitening"]
        if whitening.ndim != 2 or means.ndim != 2 or means.shape[1] != len(whitening):
            raise ValueError(f"means {means.shape} and whitening {whitening.shape} do not fit together")
