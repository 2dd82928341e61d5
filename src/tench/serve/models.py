"""The models that are served: found, opened, and each in a thread of its own, which alone computes with it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from tench.answering import Answering
from tench.errors import NotFoundError
from tench.records import list_runs
from tench.serve import answers as said

if TYPE_CHECKING:
    from tench.explain.inside import Network, Part
    from tench.records import Run

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["run", "bundle", "pretrained"]


@dataclass(frozen=True)
class Inside:
    """A torch network that can be looked into."""

    network: "Network"
    parts: "list[Part]"
    last: "Part | None"
    """What Grad-CAM looks at; None without a convolution."""


class Served:
    """One model. What computes with it goes through `work`, so that nothing ever runs twice in one network at once."""

    def __init__(self, model_id: str, opening: Callable[[], Answering]) -> None:
        self.id = model_id
        self._worker = ThreadPoolExecutor(1, f"tench-{model_id}")
        # Opened where it is used: torch keeps threads and the treatment of denormals thread by thread.
        self.answering = self.work(opening).result()
        self.inside = self.work(_inside, self.answering).result()
        self.work(self.answering.answers, _blank(self.answering)).result()  # the first answer is slow: it builds the engine

    def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Call it in this model's thread, after what was asked for before."""
        return self._worker.submit(function, *args, **kwargs)

    def close(self) -> None:
        """Begin nothing more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    @property
    def kind(self) -> Kind:
        """A run's or a pretrained network, or a bundle, which cannot be looked into."""
        if self.inside is None:
            return "bundle"
        return "run" if self.answering.run else "pretrained"

    @property
    def heat(self) -> said.Heat:
        """How its heat maps are made."""
        return "grad-cam" if self.inside and self.inside.last else "occlusion"

    def place(self, class_id: str) -> int | None:
        """Where a class stands among its classes; None: it does not know it."""
        return next((i for i, kind in enumerate(self.answering.classes) if kind.id == class_id), None)

    @cached_property
    def facts(self) -> said.Model:
        """What the API says of it."""
        trust = self.answering.trust
        return said.Model(
            id=self.id,
            name=self.answering.name,
            kind=self.kind,
            input_px=max(self.answering.preprocessing.height_px, self.answering.preprocessing.width_px),
            resize=self.answering.preprocessing.resize,
            classes=list(self.answering.classes),
            heat=self.heat,
            trust=trust.facts.sentence if trust else None,
            score=_score(self.answering),
        )


def _inside(answering: Answering) -> Inside | None:
    network = getattr(answering, "module", None)
    if network is None:
        return None
    from tench.explain.inside import as_batch, last_convolution, parts_with_maps

    network.requires_grad_(False)
    parts = parts_with_maps(network, as_batch(_blank(answering), network))
    return Inside(network, parts, last_convolution(network, parts))


def _blank(answering: Answering) -> NDArray[np.uint8]:
    """A picture, uint8 (1, height_px, width_px, 3), on which nothing is seen."""
    p = answering.preprocessing
    return np.full((1, p.height_px, p.width_px, 3), 128, dtype=np.uint8)


def _score(answering: Answering) -> said.Score | None:
    record: Any = answering.run.record if answering.run else getattr(answering, "facts", None)
    if record is None or record.result is None:
        return None
    r = record.result
    return said.Score(top1=r.top1, low=r.top1_low, high=r.top1_high, n=r.n, data=record.data.name, is_demo=record.data.is_demo)


class Models:
    """All that are served, in order."""

    def __init__(self, openings: Sequence[Callable[[], Answering]]) -> None:
        self.all: list[Served] = []
        try:
            for number, opening in enumerate(openings):
                self.all.append(Served(f"m{number}", opening))
        except BaseException:
            self.close()
            raise

    def find(self, model_id: str) -> Served | None:
        """The model of that id."""
        return next((model for model in self.all if model.id == model_id), None)

    def close(self) -> None:
        """Begin nothing more."""
        for model in self.all:
            model.close()


def chosen(named: Sequence[str]) -> "list[str | Run]":
    """The models asked for; none: the best finished run of the runs folder, else GoogLeNet. Raises NotFoundError where there is neither."""
    if named:
        return list(named)
    if best := _best_run():
        return [best]
    from tench.config import runs_folder
    from tench.networks.pretrained import find_googlenet_weights

    if find_googlenet_weights():
        return ["googlenet"]
    raise NotFoundError(
        f"There is nothing to serve: no finished run in {runs_folder()}, and no weights of GoogLeNet. Train a network"
        " (`tench train sprint`), name a run, a bundle or timm:NAME, or get the weights (`tench weights get googlenet`)."
    )


def _best_run() -> "Run | None":
    """The highest top-1, runs on photographs before those on demo pictures; of equals the newest."""
    ready = [run for run in list_runs().runs if run.record.status == "finished" and run.record.result and run.weights_path.is_file()]
    return max(ready, key=_worth, default=None)


def _worth(run: "Run") -> tuple[bool, float]:
    result = run.record.result
    return not run.record.data.is_demo, result.top1 if result else 0.0
