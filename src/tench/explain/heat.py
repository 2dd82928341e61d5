"""Heat maps: where in a picture a network found the evidence for a class."""

from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn, tensor

from tench.explain.inside import as_bytes

BATCH = 4
"""Pictures at a time: of each all layers' outputs are kept for the gradient."""


def grad_cam(network: nn.Module, layer: nn.Module, pictures: Tensor, targets: list[int]) -> NDArray[np.uint8]:
    """Grad-CAM's maps of `layer`, uint8 (n, rows, columns), each scaled so that its most important place is 255; all 0 if there is none.

    pictures: float (n, 3, height, width); targets: for each the class whose evidence is looked for. The layer's maps are summed,
    each weighted by the mean of the class's logit's gradient over it, and the positive part is kept (Selvaraju et al. 2017,
    arXiv 1610.02391). The network is in evaluation mode; the gradients of its parameters are not touched.
    """
    from captum.attr import LayerGradCam

    attribution = LayerGradCam(network, layer)
    found = []
    for first in range(0, len(pictures), BATCH):
        some = pictures[first : first + BATCH].clone().requires_grad_()
        target = tensor(targets[first : first + BATCH], device=some.device)
        found.append(_scaled(attribution.attribute(some, target, relu_attributions=True).detach()))
    return np.concatenate(found)


def method(title: str, rows: int, columns: int) -> str:
    """What `grad_cam` did, in words."""
    return f"Grad-CAM (captum {version('captum')}) of the last convolution, {title}, {rows} x {columns}"


def _scaled(heat: Tensor) -> NDArray[np.uint8]:
    """(n, 1, rows, columns), 0 or more, as uint8 (n, rows, columns)."""
    highest = heat.amax((1, 2, 3), keepdim=True)
    return as_bytes(heat / highest.masked_fill(highest == 0, 1))[:, 0]
