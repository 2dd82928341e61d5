"""A trained or pretrained network used on photographs."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tench.config import Engine, Preprocessing
from tench.data import imagenette
from tench.data.decode import decode_image, resize
from tench.data.index import in_threads
from tench.errors import DataError, NotFoundError, RecordError, TenchError, UsageError
from tench.inference import BATCH, Computer, fastest, normalised
from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork
from tench.networks.packages import PACKAGES
from tench.networks.pretrained import load_into, read_weights
from tench.networks.reference import load_pretrained
from tench.records import ClassFacts, Run, load_run
from tench.runtime import choose_engine, place
from tench.training.plan import network_of

Photo = str | Path | bytes | Image.Image
Classes = Literal["imagenette", "all"]


@dataclass(frozen=True)
class Guess:
    """One class and how likely the network finds it, 0 to 1."""

    kind: ClassFacts
    probability: float


@dataclass(frozen=True)
class Recogniser:
    """A network in use: `predict` says what is on a photograph.

    `outputs` are the rows of the network's answer that count, in the order of `classes`; None: all of them.
    """

    name: str
    module: TableNetwork | ForeignNetwork
    preprocessing: Preprocessing
    classes: tuple[ClassFacts, ...]
    engine: Engine
    run: Run | None = None
    outputs: tuple[int, ...] | None = None

    def predict(self, photo: Photo, top: int = 3) -> list[Guess]:
        """The `top` likeliest classes of one photograph, the likeliest first.

        `photo` is a path, the bytes of a file, or a Pillow image. Raises NotFoundError, DataError for what is no picture,
        UsageError unless `top` is at least 1.
        """
        self._check_top(top)
        return self._guesses(self.log_probabilities(self.pixels(photo)[None])[0], top)

    def predict_many(self, photos: Iterable[Photo], top: int = 3) -> Iterator[list[Guess] | TenchError]:
        """The same for each of `photos`, in their order, decoded in threads and computed a batch at a time.

        For what is not there or is no picture the error that `predict` raises stands in its place.
        """
        self._check_top(top)
        decoded_ones = in_threads(self._pixels_or_error, photos)
        while group := list(islice(decoded_ones, BATCH)):
            good = [pixels for pixels in group if not isinstance(pixels, TenchError)]
            answers = iter(self.log_probabilities(np.stack(good)) if good else ())
            for found in group:
                yield found if isinstance(found, TenchError) else self._guesses(next(answers), top)

    def _check_top(self, top: int) -> None:
        if top < 1:
            raise UsageError(f"top is {top}, but at least one class must be asked for; take 1 or more.")

    def _guesses(self, log_probabilities: NDArray[np.float32], top: int) -> list[Guess]:
        order = np.argsort(-log_probabilities, kind="stable")[:top]
        return [Guess(self.classes[i], float(np.exp(log_probabilities[i]))) for i in order]

    def _pixels_or_error(self, photo: Photo) -> NDArray[np.uint8] | TenchError:
        try:
            return self.pixels(photo)
        except TenchError as error:
            return error

    def pixels(self, photo: Photo) -> NDArray[np.uint8]:
        """The photograph as the network wants it: uint8 RGB, (height_px, width_px, 3)."""
        p = self.preprocessing
        return resize(_image(photo), p.height_px, p.width_px, p.resize)

    def log_probabilities(self, pixels: NDArray[np.uint8], indices: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Natural log-probabilities (n, n_classes) of `pixels`, uint8 RGB (n, height_px, width_px, 3), or of those `indices` name."""
        which = np.arange(len(pixels)) if indices is None else indices
        answers = normalised(self._computer.of(pixels, which))
        if self.outputs is None:
            return answers
        return normalised(answers[:, list(self.outputs)])

    @cached_property
    def _computer(self) -> Computer:
        """Made on first use, and kept: a recogniser usually sees more than one picture. Checked against torch on noise."""
        p = self.preprocessing
        noise = np.random.default_rng(0).integers(0, 256, (2, p.height_px, p.width_px, 3), dtype=np.uint8)
        return fastest(self.module, noise, self.engine)


def recogniser(
    reference: str | Path | Run,
    weights: Path | None = None,
    classes: Classes = "imagenette",
    engine: Engine | None = None,
    runs: Path | None = None,
) -> Recogniser:
    """The recogniser of a finished run (its id, folder, or the Run), or a pretrained network as it is (`googlenet`, `timm:NAME`, ...).

    A network pretrained on ImageNet answers with Imagenette's ten classes, or with all thousand (`classes="all"`).
    Raises NotFoundError for what is neither, RecordError for a run that has no weights yet, WeightsError where they do not fit.
    """
    engine = engine or choose_engine("cpu")
    text = str(reference)
    if isinstance(reference, Run):
        return _of_run(reference, engine)
    if text == "googlenet" or text.partition(":")[0] in PACKAGES:
        return _pretrained(text, weights, classes, engine)
    try:
        run = load_run(text, runs)
    except NotFoundError as error:
        raise NotFoundError(f"{error} A pretrained network can be used too: googlenet, timm:NAME or torchvision:NAME.") from None
    return _of_run(run, engine)


def _of_run(run: Run, engine: Engine) -> Recogniser:
    if run.record.status != "finished":
        raise RecordError(f"{run.id} is {run.record.status} and has no final weights yet; go on with it by `tench resume {run.id}`.")
    tensors, _ = read_weights(run.weights_path)
    preprocessing = Preprocessing.model_validate(run.record.preprocessing)
    module = network_of(run).build(len(run.record.data.classes), preprocessing)
    load_into(module, tensors, str(run.weights_path))
    place(module, engine)
    return Recogniser(run.id, module.eval(), preprocessing, run.record.data.classes, engine, run)


def _pretrained(reference: str, weights: Path | None, classes: Classes, engine: Engine) -> Recogniser:
    module = load_pretrained(reference, weights)
    place(module, engine)
    every = _imagenet_classes()
    kept = None if classes == "all" else tuple(kind.imagenet_index for kind in imagenette.classes())
    named = every if kept is None else tuple(every[index] for index in kept)
    return Recogniser(reference, module, module.preprocessing, named, engine, outputs=kept)


def _imagenet_classes() -> tuple[ClassFacts, ...]:
    """ImageNet-1k's classes in the order of its wnids. torchvision has their names; the ten of Imagenette have the study's words."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    own = {kind.imagenet_index: kind for kind in imagenette.classes()}
    return tuple(
        ClassFacts(id=own[i].wnid, english=own[i].english, polish=own[i].polish, imagenet_index=i)
        if i in own
        else ClassFacts(id=str(i), english=name, polish=name, imagenet_index=i)
        for i, name in enumerate(_IMAGENET_CATEGORIES)
    )


def _image(photo: Photo) -> Image.Image:
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


def as_json(answers: Sequence[tuple[str, list[Guess]]]) -> str:
    """Guesses of several photographs as JSON: a list with `photo` and `guesses` (id, english, polish, probability)."""
    listed = [
        {"photo": photo, "guesses": [{**guess.kind.model_dump(), "probability": guess.probability} for guess in guesses]}
        for photo, guesses in answers
    ]
    return json.dumps(listed, indent=2, ensure_ascii=False)
