"""The arrays of the guide's figures, beside the runs: written by `explain`, drawn by the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tench.errors import RecordError
from tench.records.files import ARCHIVE_ERRORS, make_folder, written_atomically

GUIDE = "guide/guide.npz"

GUIDE_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    # The picture, its brightness, three filters and what they give; the numbers around the strongest answer.
    "picture": ("uint8", (112, 112, 3)),
    "grey": ("uint8", (112, 112)),
    "kernels": ("int16", (3, 3, 3)),
    "filtered": ("int16", (3, 110, 110)),
    "padded": ("int16", (112, 112)),
    "strided": ("int16", (56, 56)),
    "patch": ("uint8", (5, 5)),
    "patch_products": ("int16", (3, 3)),
    "patch_valid": ("int16", (3, 3)),
    "patch_same": ("int16", (5, 5)),
    "patch_strided": ("int16", (3, 3)),
    "pool_numbers": ("uint8", (4, 4)),
    "pool_largest": ("uint8", (2, 2)),
    "pool_mean": ("float32", (2, 2)),
    "max_pooled": ("uint8", (28, 28)),
    "mean_pooled": ("uint8", (28, 28)),
    "rectified": ("int16", (112, 112)),
    # Activations of a batch of windows in three channels: histograms, means and standard deviations before (0) and after (1).
    "norm_edges": ("float32", (2, 41)),
    "norm_counts": ("int32", (2, 3, 40)),
    "norm_mean": ("float32", (2, 3)),
    "norm_deviation": ("float32", (2, 3)),
    # Three windows and what a small network answers to: from which quarter of the picture are they?
    "quarter_windows": ("uint8", (3, 16, 16, 3)),
    "quarter_labels": ("int64", (3,)),
    "quarter_logits": ("float32", (3, 4)),
    "quarter_probabilities": ("float32", (3, 4)),
    "quarter_numbers": ("int64", (3,)),
    # Accuracies of the same small network without (0) and with (1) dropout, a column a seed, on windows learnt and others.
    "dropout_learnt": ("float32", (2, 8)),
    "dropout_others": ("float32", (2, 8)),
    "dropout_share": ("float32", ()),
    # A valley, the ways of SGDM (0) and ADAM (1) through it, their heights and rates.
    "valley_axes": ("float32", (2, 61)),
    "valley": ("float32", (61, 61)),
    "valley_ways": ("float32", (2, 81, 2)),
    "valley_heights": ("float32", (2, 81)),
    "valley_rates": ("float32", (2,)),
    # One row of the picture, the points that a polynomial learns, and what it learns without (0) and with (1) L2.
    "line": ("float32", (112,)),
    "line_at": ("int64", (16,)),
    "line_fits": ("float32", (2, 112)),
    "line_weights": ("float32", (2, 13)),
    "line_errors": ("float32", (2, 2)),
    "line_l2": ("float32", ()),
    # The picture under random scale and shift, and the draws: scale_x, scale_y, shift_x, shift_y (shares), mirror.
    "augmented": ("uint8", (4, 112, 112, 3)),
    "augment_draws": ("float32", (4, 5)),
}
"""Name of every array: its dtype and shape. `tench.explain.guide` says how each is computed."""

REMEDY = "Delete that folder; the next training writes it anew."


def write_guide_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays`, as `GUIDE_ARRAYS` has them, to the .npz file `path`; its folder is made. Raises RecordError."""
    make_folder(path.parent)
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: arrays[name] for name in GUIDE_ARRAYS})


def read_guide_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays that `write_guide_arrays` wrote to `path`, or None where there is no such file. Raises RecordError where it is damaged."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in GUIDE_ARRAYS}
    except ARCHIVE_ERRORS as error:
        raise RecordError(f"{path} cannot be read: {error}. {REMEDY}") from None
    for name, (dtype, shape) in GUIDE_ARRAYS.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise RecordError(f"{path}: the array {name} is {arrays[name].dtype} {arrays[name].shape}, not {dtype} {shape}. {REMEDY}")
    return arrays
