"""timm's backbones and torchvision's networks by name: made, with or without the weights their packages offer."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from torch import nn

from tench.config import Preprocessing
from tench.errors import DownloadError, NotFoundError, UsageError
from tench.networks.foreign import ForeignNetwork, Make, near

IMAGENET_CLASSES = 1000

WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
"""torchvision's networks that would give tuples in training. Their weights are TensorFlow's, for pixels (x - 0.5) / 0.5."""

AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""Tensors in torchvision's files that are not loaded: heads that only helped the original training."""


def timm_make(name: str) -> tuple[Make, Preprocessing]:
    """A maker of timm's network `name` without weights, and the preprocessing it is meant for.

    Raises NotFoundError that suggests near names, UsageError where timm is not installed.
    """
    timm, config = _timm(), _timm_config(name)
    return (lambda classes: timm.create_model(name, num_classes=classes)), _scaled(config.input_size[-1], config.mean, config.std)


def timm_pretrained(name: str) -> ForeignNetwork:
    """timm's network `name` with its pretrained weights, by timm's own download (safetensors where its hub has them) or cache."""
    timm, (_, preprocessing) = _timm(), timm_make(name)
    if not timm.is_model_pretrained(name):
        raise NotFoundError(f"timm has no pretrained weights for {name}; `tench train timm:{name}` trains it from scratch.")
    try:
        module = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise _not_downloaded(f"timm:{name}", error) from error
    return ForeignNetwork(module, preprocessing, module.num_classes).eval()


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise UsageError("Networks by timm:NAME need the package timm; do `pip install 'tench[zoo]'`.") from None
    return timm


def _timm_config(name: str) -> Any:
    timm = _timm()
    if not timm.is_model(name):
        raise NotFoundError(f"timm has no network '{name}'{near(name, timm.list_models())}")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        raise NotFoundError(f"timm has no network '{name}': the part after the point must be one of {', '.join(tags)}.") from None


def torchvision_make(name: str) -> tuple[Make, Preprocessing]:
    """A maker of torchvision's network `name` without weights, and the preprocessing it is meant for. Raises NotFoundError."""
    transforms = _torchvision_weights(name).transforms()
    px = transforms.crop_size[0]
    half = (0.5, 0.5, 0.5)
    mean, std = (half, half) if name in WITH_AUXILIARY_HEADS else (transforms.mean, transforms.std)
    return (lambda classes: _torchvision_module(name, classes, px)), _scaled(px, mean, std)


def torchvision_pretrained(name: str) -> ForeignNetwork:
    """torchvision's network `name` with its default weights: its own download, checked by hash, read with weights_only=True."""
    make, preprocessing = torchvision_make(name)
    module = make(IMAGENET_CLASSES)
    try:
        tensors = _torchvision_weights(name).get_state_dict(progress=False, check_hash=True, weights_only=True)
        module.load_state_dict(_up_to_date(tensors))
    except Exception as error:
        raise _not_downloaded(f"torchvision:{name}", error) from error
    return ForeignNetwork(module, preprocessing, IMAGENET_CLASSES).eval()


def _up_to_date(tensors: dict[str, Any]) -> dict[str, Any]:
    """The same dict (it carries versions that torch looks at) without auxiliary heads, and with DenseNet's names of today."""
    for name in list(tensors):
        tensor = tensors.pop(name)
        if not name.startswith(AUXILIARY_HEADS):
            tensors[re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)] = tensor
    return tensors


def _torchvision() -> ModuleType:
    return importlib.import_module("torchvision.models")


def _torchvision_module(name: str, classes: int, px: int) -> nn.Module:
    own: dict[str, Any] = {}
    if name in WITH_AUXILIARY_HEADS:
        own = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        own = {"image_size": px}
    module: nn.Module = _torchvision().get_model(name, weights=None, num_classes=classes, **own)
    return module


def _torchvision_weights(name: str) -> Any:
    models = _torchvision()
    names = models.list_models(module=models)
    if name not in names:
        raise NotFoundError(f"torchvision has no network '{name}'{near(name, names)}")
    return models.get_model_weights(name).DEFAULT


def _scaled(px: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Preprocessing:
    """Preprocessing from means and deviations of pixels between 0 and 1."""
    red, green, blue = (255 * value for value in mean)
    deviations = (255 * std[0], 255 * std[1], 255 * std[2])
    return Preprocessing(height_px=px, width_px=px, resize="crop", mean=(red, green, blue), std=deviations)


def _not_downloaded(reference: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"The pretrained weights of {reference} could not be had: {type(error).__name__}: {error}."
        " Check the network connection and try again; once downloaded they are kept and need no connection."
    )


@dataclass(frozen=True)
class Package:
    """A package whose networks can be asked for as `kind:NAME`."""

    kind: Literal["timm", "torchvision"]
    make: Callable[[str], tuple[Make, Preprocessing]]
    pretrained: Callable[[str], ForeignNetwork]


PACKAGES = {
    "timm": Package("timm", timm_make, timm_pretrained),
    "torchvision": Package("torchvision", torchvision_make, torchvision_pretrained),
}
