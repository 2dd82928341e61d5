"""What a finished run shows beside its figures, made from its weights and pictures and written into its folder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.confidence.fit import fit_trust
from tench.confidence.score import save_trust
from tench.config import Engine
from tench.data.sources import Source
from tench.errors import DataError, TenchError
from tench.explain.guide import write_guide
from tench.explain.heat import grad_cam, method
from tench.explain.inside import Network, Part, as_batch, first_filters, last_convolution, parts_with_maps, row_maps, title
from tench.explain.pictures import Choice, Shown, choose, read_pictures
from tench.records import Exhibits, HeatMap, LayerMaps, Predictions, Run, Way, save_exhibits
from tench.runtime import now
from tench.training.loop import Watcher
from tench.training.plan import trained

SEED = 0
"""Of the choice of pictures; the same for all runs, so that they show the same ones."""
NO_CONVOLUTION = "no heat maps: the network has no convolution whose maps keep a place in the picture"

Arrays = dict[str, NDArray[Any]]


def write_exhibits(run: Run, source: Source, engine: Engine, seed: int = SEED) -> Exhibits:
    """Make the exhibits of a finished run on its own pictures and write them into its folder, in place of earlier ones.

    The first convolution's kernels, feature maps of 3 test pictures, Grad-CAM of at most 12 rightly and 12 wrongly answered ones,
    thumbnails of wrongly answered ones, at most 1,500; how far its answers can be trusted (`fit_trust`); and beside the runs, where it
    is not yet, the guide's arrays. All from the run's weights, in evaluation mode and float32.
    Changes neither record, weights nor random state. Raises RecordError unless the
    run is finished, DataError for other pictures than the run's.
    """
    with run.held():
        network = trained(run, engine).requires_grad_(False)
        _check(run, source)
        every = run.predictions()
        test = every.only(every.test)
        choice = choose(test, seed)
        large, thumbnails = read_pictures(
            source, test.names[list(choice.shown)], test.names[list(choice.thumbnails)], network.preprocessing
        )
        exhibits, arrays = _Show(network, test, large).exhibits(run.id, choice, bool(thumbnails))
        save_exhibits(run.folder, exhibits, arrays, thumbnails)
        save_trust(run.folder, fit_trust(network, run, source, engine))
    write_guide(run.folder.parent, arrays.get("picture/way-0"))
    return exhibits


def exhibit_or_say(run: Run, source: Source, engine: Engine, watcher: Watcher | None) -> None:
    """The same where a training has just ended: a failure is told and nothing else, for the run is finished all the same.

    Whoever stops it here is told so too, before the command ends.
    """
    try:
        write_exhibits(run, source, engine)
    except (KeyboardInterrupt, SystemExit):
        if watcher:
            watcher.say(f"{run.id} is finished; only its exhibits were not made: `tench explain {run.id}` makes them.")
        raise
    except Exception as error:  # a user's own network can fail in any way when it is looked into
        reason = str(error) if isinstance(error, TenchError) else f"{type(error).__name__}: {error}."
        if watcher:
            watcher.say(
                f"{run.id} is finished, but its exhibits (heat maps, feature maps, thumbnails) could not be made: {reason}"
                f" Its result stands; `tench explain {run.id}` tries again."
            )


def _check(run: Run, source: Source) -> None:
    if source.sha256 != run.record.data.sha256:
        raise DataError(
            f"{run.id} was made on {run.record.data.name} (sha256 {run.record.data.sha256[:12]}), and these pictures are {source.name}"
            f" (sha256 {source.sha256[:12]}); give the run's own pictures by --data."
        )


class _Show:
    """A network, what it answered and the pictures to show; collects the arrays as it goes."""

    def __init__(self, network: Network, test: Predictions, pictures: dict[str, Shown]) -> None:
        self.network, self.test, self.pictures = network, test, pictures
        self.arrays: Arrays = {}

    def exhibits(self, run_id: str, choice: Choice, thumbnails: bool) -> tuple[Exhibits, Arrays]:
        """All of it, with its arrays."""
        parts = parts_with_maps(self.network, as_batch(self._pixels(choice.ways[:1]), self.network))
        filters = first_filters(self.network, parts)
        if filters:
            self.arrays["filters"] = filters[1]
        last = last_convolution(self.network, parts)
        found = Exhibits(
            run_id=run_id,
            made=now(),
            heat_method=f"{method(title(self.network, last.path), *last.shape[1:])}, for the class answered" if last else NO_CONVOLUTION,
            filters=filters[0] if filters else None,
            heat_maps=self._heat_maps(choice.heat, last) if last else (),
            ways=self._ways(choice.ways, parts) if parts else (),
            thumbnails=thumbnails,
        )
        return found, self.arrays

    def _heat_maps(self, places: tuple[int, ...], layer: Part) -> tuple[HeatMap, ...]:
        answers = [int(self.test.answers[i]) for i in places]
        maps = grad_cam(self.network, layer.module, as_batch(self._pixels(places), self.network), answers)
        return tuple(self._heat_map(i, f"heat-{n:02d}", heat) for n, (i, heat) in enumerate(zip(places, maps, strict=True)))

    def _heat_map(self, i: int, key: str, heat: NDArray[np.uint8]) -> HeatMap:
        self.arrays[f"heat/{key}"] = heat
        facts = self._facts(i, key)
        return HeatMap(target=facts["answer"], **facts)

    def _ways(self, places: tuple[int, ...], parts: list[Part]) -> tuple[Way, ...]:
        rows = row_maps(self.network, as_batch(self._pixels(places), self.network), parts)
        ways = []
        for n, i in enumerate(places):
            layers = []
            for number, row in enumerate(rows, start=1):
                key = f"way-{n}/{number:02d}"
                self.arrays[f"maps/{key}"] = row.maps[n]
                channels, height, width = row.shape
                layers.append(LayerMaps(key=key, title=row.title, channels=channels, height_px=height, width_px=width))
            ways.append(Way(layers=tuple(layers), **self._facts(i, f"way-{n}")))
        return tuple(ways)

    def _facts(self, i: int, key: str) -> dict[str, Any]:
        """What HeatMap and Way both say of the picture at place i; its picture is entered among the arrays."""
        name = str(self.test.names[i])
        self.arrays[f"picture/{key}"] = self.pictures[name].picture
        probability = min(1.0, float(np.exp(self.test.log_probabilities[i].max())))
        return {
            "key": key,
            "name": name,
            "label": int(self.test.labels[i]),
            "answer": int(self.test.answers[i]),
            "probability": probability,
        }

    def _pixels(self, places: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.stack([self.pictures[str(self.test.names[i])].pixels for i in places])
