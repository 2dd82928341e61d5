"""Pictures to try models with, drawn by tench and kept in memory."""

from functools import cache

from tench.data import imagenette
from tench.data.pictograms import generate
from tench.serve import answers as said

SEED = 2018
"""Not the seed of the demo pictures that networks are trained on."""
PX = 256


@cache
def pictures() -> tuple[bytes, ...]:
    """PNG files, one a class, in the order of `imagenette.classes()`."""
    return tuple(content for _, _, content in generate(SEED, {"val": 1}, PX))


def listed() -> said.Demo:
    """What they show and where they are."""
    kinds = [
        said.DemoPicture(
            id=kind.wnid, english=kind.english, polish=kind.polish, imagenet_index=kind.imagenet_index, url=f"/api/demo/{n}.png"
        )
        for n, kind in enumerate(imagenette.classes())
    ]
    return said.Demo(pictures=kinds)
