"""A trained or pretrained network used on photographs, computed by torch or, where that is faster, by ONNX Runtime."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tench.answering import Answering, Seen
from tench.confidence.fit import answers
from tench.confidence.score import Trust, read_trust
from tench.config import Engine, Preprocessing
from tench.data import imagenette
from tench.errors import NotFoundError
from tench.inference import Computer, Output, fastest
from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork
from tench.networks.packages import PACKAGES
from tench.networks.reference import load_pretrained
from tench.records import ClassFacts, Run, load_run
from tench.runtime import choose_engine, place
from tench.training.plan import trained
from tench.training.transfer import PRETRAINED_ON

Classes = Literal["imagenette", "all"]


@dataclass(frozen=True)
class Recogniser(Answering):
    """A run's network, or a pretrained one.

    `outputs` are the rows of the network's answer that count, in the order of `classes`; None: all of them.
    """

    name: str
    module: TableNetwork | ForeignNetwork
    preprocessing: Preprocessing
    classes: tuple[ClassFacts, ...]
    engine: Engine
    run: Run | None = None
    outputs: tuple[int, ...] | None = None
    trust: Trust | None = None
    pretrained_on: str | None = None
    learnt_from_drawings: bool = False

    def look(self, pixels: NDArray[np.uint8], features: bool = False) -> Seen:
        """See `Answering.look`."""
        every = np.arange(len(pixels))
        found = self._features.of(pixels, every) if features else None
        logits = self._logits.of(pixels, every) if found is None else answers(self.module, found)
        return Seen(logits if self.outputs is None else logits[:, list(self.outputs)], found)

    @cached_property
    def _logits(self) -> Computer:
        """Made on first use, and kept: a recogniser usually sees more than one picture."""
        return self._computer("logits")

    @cached_property
    def _features(self) -> Computer:
        return self._computer("features")

    def _computer(self, output: Output) -> Computer:
        """Checked against torch on noise."""
        p = self.preprocessing
        noise = np.random.default_rng(0).integers(0, 256, (2, p.height_px, p.width_px, 3), dtype=np.uint8)
        return fastest(self.module, noise, self.engine, output)


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
        raise NotFoundError(
            f"{error} A bundle's folder and a pretrained network can be used too: googlenet, timm:NAME or torchvision:NAME."
        ) from None
    return _of_run(run, engine)


def _of_run(run: Run, engine: Engine) -> Recogniser:
    module = trained(run, engine)
    facts, trust = run.record, read_trust(run.folder)
    return Recogniser(
        name=run.id,
        module=module,
        preprocessing=module.preprocessing,
        classes=facts.data.classes,
        engine=engine,
        run=run,
        trust=trust,
        pretrained_on=facts.network.pretrained_on,
        learnt_from_drawings=facts.data.is_demo,
    )


def _pretrained(reference: str, weights: Path | None, classes: Classes, engine: Engine) -> Recogniser:
    module = load_pretrained(reference, weights)
    place(module, engine)
    every = _imagenet_classes()
    kept = None if classes == "all" else tuple(kind.imagenet_index for kind in imagenette.classes())
    named = every if kept is None else tuple(every[index] for index in kept)
    return Recogniser(reference, module, module.preprocessing, named, engine, outputs=kept, pretrained_on=PRETRAINED_ON)


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
