"""Looking into a model: heat maps, the way through its layers, its first filters. Each runs in the model's own thread."""

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tench.report.pictures import kernel_picture, png_uri
from tench.serve import answers as said
from tench.serve.models import Inside, Served
from tench.serve.refusals import Refusal

MOST_FILTERS = 256


def heat_map(model: Served, pixels: NDArray[np.uint8], class_id: str | None) -> said.HeatMap:
    """Where in `pixels`, uint8 (height_px, width_px, 3), the evidence for a class is; None: for the class answered.

    Raises Refusal for a class the model does not know.
    """
    target = _answered(model, pixels) if class_id is None else model.place(class_id)
    if target is None:
        raise Refusal(404, "no_such_class", f"{model.answering.name} knows no class '{class_id}'; /api/models lists what it knows.")
    heat, method = _grad_cam(model, model.inside, pixels, target) if model.inside and model.inside.last else _covered(model, pixels, target)
    facts = {"class": model.answering.classes[target]}
    rows, columns = heat.shape
    return said.HeatMap(model=model.id, kind=model.heat, method=method, rows=rows, columns=columns, heat=png(heat), **facts)


def _answered(model: Served, pixels: NDArray[np.uint8]) -> int:
    return int(model.answering.look(pixels[None]).logits[0].argmax())


def _grad_cam(model: Served, inside: Inside, pixels: NDArray[np.uint8], target: int) -> tuple[NDArray[np.uint8], str]:
    from tench.explain.heat import grad_cam, method
    from tench.explain.inside import as_batch, title

    assert inside.last
    outputs = getattr(model.answering, "outputs", None)
    row = target if outputs is None else outputs[target]
    heat = grad_cam(inside.network, inside.last.module, as_batch(pixels[None], inside.network), [row])[0]
    return heat, method(title(inside.network, inside.last.path), *inside.last.shape[1:])


def _covered(model: Served, pixels: NDArray[np.uint8], target: int) -> tuple[NDArray[np.uint8], str]:
    from tench.explain.occlusion import occlusion

    found = occlusion(lambda some: model.answering.probable(model.answering.look(some).logits), pixels, target)
    return found.heat, found.method


def way(model: Served, pixels: NDArray[np.uint8]) -> said.Way:
    """What the rows make of `pixels`, uint8 (height_px, width_px, 3). Raises Refusal for a model that cannot be looked into."""
    if model.inside is None:
        raise Refusal(409, "no_layers", f"{model.answering.name} is a bundle, whose layers cannot be looked into; serve its run.")
    from tench.explain.inside import as_batch, row_maps

    network = model.inside.network
    rows = [
        said.Row(title=row.title, channels=row.shape[0], height_px=row.shape[1], width_px=row.shape[2], maps=pngs(row.maps[0]))
        for row in row_maps(network, as_batch(pixels[None], network), model.inside.parts)
    ]
    return said.Way(model=model.id, rows=rows)


def filters(model: Served) -> said.Filters:
    """The first convolution's kernels. Raises Refusal where there are none to be seen."""
    from tench.explain.inside import first_filters

    found = first_filters(model.inside.network, model.inside.parts) if model.inside else None
    if found is None:
        raise Refusal(404, "no_filters", f"{model.answering.name} has no first convolution that can be seen.")
    title, kernels = found
    return said.Filters(title=title, filters=pngs(kernel_picture(kernel) for kernel in kernels[:MOST_FILTERS]))


def png(pixels: NDArray[np.uint8]) -> str:
    """Grey (height, width) or RGB (height, width, 3) pixels as a PNG in a data: address."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return png_uri(content.getvalue())


def pngs(pictures: Iterable[NDArray[np.uint8]]) -> list[str]:
    """The same of several."""
    return [png(picture) for picture in pictures]
