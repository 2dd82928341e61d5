"""What a network in use answers to a photograph, whatever computes it. Needs no torch."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tench.confidence.score import KEPT, Trust
from tench.config import Preprocessing
from tench.data.decode import decode_image, resize
from tench.data.index import in_threads
from tench.errors import DataError, NotFoundError, TenchError, UsageError
from tench.inference import BATCH, normalised
from tench.records import ClassFacts, Run

Photo = str | Path | bytes | Image.Image


@dataclass(frozen=True)
class Guess:
    """One class and how likely the network finds it, 0 to 1."""

    kind: ClassFacts
    probability: float


@dataclass(frozen=True)
class Answer(Sequence[Guess]):
    """The likeliest classes, the likeliest first; and whether the photograph is like anything the network knows."""

    guesses: tuple[Guess, ...]
    familiarity: float | None = None
    """Share of known pictures that look less familiar than this one, 0 to 1; None: not known."""

    @property
    def is_strange(self) -> bool:
        """Whether it is less familiar than 95 % of known pictures are: "not one of these"."""
        return self.familiarity is not None and self.familiarity < 1 - KEPT

    @overload
    def __getitem__(self, place: int) -> Guess: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Guess, ...]: ...
    def __getitem__(self, place: int | slice) -> Guess | tuple[Guess, ...]:
        return self.guesses[place]

    def __len__(self) -> int:
        return len(self.guesses)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "guesses": [{**guess.kind.model_dump(), "probability": guess.probability} for guess in self.guesses],
            "familiarity": self.familiarity,
            "not_one_of_these": self.is_strange if self.familiarity is not None else None,
        }


@dataclass(frozen=True)
class Seen:
    """Logits (n, classes) of all outputs that count, and, where they were asked for, features (n, d), of n pictures."""

    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None


class Answering(ABC):
    """A network in use. `predict` says what is on a photograph."""

    name: str
    preprocessing: Preprocessing
    classes: tuple[ClassFacts, ...]
    trust: Trust | None
    """Its temperature, and what it takes for strange; None: probabilities are as they come, and nothing is called strange."""
    pretrained_on: str | None
    """What the weights it was made from were trained on, such as "ImageNet-1k"; None: it was trained from scratch."""
    learnt_from_drawings: bool
    """Whether the pictures of its last training were drawn by tench: its answers say nothing of photographs then."""
    run: Run | None = None
    """The run it is from, where that is at hand."""

    @abstractmethod
    def look(self, pixels: NDArray[np.uint8], features: bool = False) -> Seen:
        """What it computes for `pixels`, uint8 RGB (n, height_px, width_px, 3), a batch at a time."""

    def log_probabilities(self, pixels: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Natural log-probabilities (n, n_classes) of `pixels[indices]`, at no temperature but 1: what scores are made of."""
        batches = (indices[first : first + BATCH] for first in range(0, len(indices), BATCH))
        return normalised(np.concatenate([self.look(pixels[batch]).logits for batch in batches]))

    def predict(self, photo: Photo, top: int = 3) -> Answer:
        """The `top` likeliest classes of one photograph, the likeliest first, and how familiar it looks.

        `photo` is a path, the bytes of a file, or a Pillow image. Raises NotFoundError, DataError for what is no picture,
        UsageError unless `top` is at least 1.
        """
        _check_top(top)
        return self.answers(self.pixels(photo)[None], top)[0]

    def predict_many(self, photos: Iterable[Photo], top: int = 3) -> Iterator[Answer | TenchError]:
        """The same for each of `photos`, in their order, decoded in threads and computed a batch at a time.

        For what is not there or is no picture the error that `predict` raises stands in its place.
        """
        _check_top(top)
        decoded_ones = in_threads(self._pixels_or_error, photos)
        while group := list(islice(decoded_ones, BATCH)):
            good = [pixels for pixels in group if not isinstance(pixels, TenchError)]
            answers = iter(self.answers(np.stack(good), top) if good else ())
            for found in group:
                yield found if isinstance(found, TenchError) else next(answers)

    def answers(self, pixels: NDArray[np.uint8], top: int = 3) -> list[Answer]:
        """An answer to each of `pixels`, uint8 RGB (n, height_px, width_px, 3)."""
        seen = self.look(pixels, features=self.trust is not None and self.trust.needs_features)
        places = self.trust.place(seen.logits, seen.features) if self.trust else None
        found = self.probable(seen.logits)
        return [Answer(self._guesses(row, top), None if places is None else float(places[i])) for i, row in enumerate(found)]

    def probable(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Natural log-probabilities (n, classes) of logits, at the fitted temperature where there is one."""
        return normalised(logits / np.float32(self.trust.facts.temperature) if self.trust else logits)

    def pixels(self, photo: Photo) -> NDArray[np.uint8]:
        """The photograph as the network wants it: uint8 RGB, (height_px, width_px, 3)."""
        p = self.preprocessing
        return resize(opened(photo), p.height_px, p.width_px, p.resize)

    def _guesses(self, log_probabilities: NDArray[np.float32], top: int) -> tuple[Guess, ...]:
        order = np.argsort(-log_probabilities, kind="stable")[:top]
        return tuple(Guess(self.classes[i], min(1.0, float(np.exp(log_probabilities[i])))) for i in order)

    def _pixels_or_error(self, photo: Photo) -> NDArray[np.uint8] | TenchError:
        try:
            return self.pixels(photo)
        except TenchError as error:
            return error


def as_json(answers: Sequence[tuple[str, Answer]]) -> str:
    """Answers to several photographs as JSON: a list with `photo`, `guesses` (id, english, polish, probability), `familiarity` (0 to 1, or
    null) and `not_one_of_these`."""
    return json.dumps([{"photo": photo, **answer.as_dict()} for photo, answer in answers], indent=2, ensure_ascii=False)


def _check_top(top: int) -> None:
    if top < 1:
        raise UsageError(f"top is {top}, but at least one class must be asked for; take 1 or more.")


def opened(photo: Photo) -> Image.Image:
    """The photograph upright, as a Pillow image of mode RGB. Raises NotFoundError, and DataError for what is no picture."""
    if isinstance(photo, Image.Image):
        return photo.convert("RGB")
    if isinstance(photo, bytes):
        return decode_image(photo, "the picture")
    path = Path(photo)
    try:
        return decode_image(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise NotFoundError(f"There is no picture at {path}; check the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Give the path of a picture.") from None
