"""Weights of classes in the loss, for classes with unequally many pictures."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tench.config import ClassWeights


def class_weights(how: ClassWeights, labels: NDArray[np.int64], classes: int) -> Tensor | None:
    """What a picture of each class weighs in the loss, float32 (classes,), from the `labels` of the pictures to fit; None: all alike.

    `balanced`, as scikit-learn's class weights of that name: n / (classes * n of the class). So all classes weigh alike together, and
    the weights of all pictures have the mean 1. Every class must have a picture.
    """
    if how == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    return torch.from_numpy(len(labels) / (classes * counts)).float()
