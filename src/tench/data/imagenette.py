"""Imagenette: its ten classes, its official forms and split, and which of its photographs ImageNet's networks never saw."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Literal

from tench.config import cache_folder
from tench.data.download import Download, Progress, obtain

Form = Literal["160", "320", "full"]

N_TRAIN, N_VAL = 9_469, 3_925
"""Photographs in the official split of December 2019."""
N_UNSEEN_TRAIN, N_UNSEEN_VAL = 366, 134
"""Those of them that come from ImageNet's validation set: 500 in all, 50 a class."""


def _archive(file_name: str, what: str, md5: str) -> Download:
    return Download(f"Imagenette2 ({what})", file_name, (f"https://s3.amazonaws.com/fast-ai-imageclas/{file_name}",), md5=md5)


# md5 sums: those torchvision.datasets.Imagenette checks by (stated here, as importing torchvision imports torch; a test compares).
ARCHIVES: dict[Form, Download] = {
    "160": _archive("imagenette2-160.tgz", "shorter side 160 px, about 94 MiB", "e793b78cc4c9e9a4ccc0c1155377a412"),
    "320": _archive("imagenette2-320.tgz", "shorter side 320 px, about 326 MiB", "3df6f0d01a2c9592104656642f5e78a3"),
    "full": _archive("imagenette2.tgz", "full size, about 1.5 GiB", "fe2fc210e6bb7c5664d602c3cd71e612"),
}


@dataclass(frozen=True)
class ImagenetteClass:
    """A row of classes.csv. `english` is ImageNet's name, `polish` and `noun` the study's own words in Polish and English."""

    wnid: str
    imagenet_index: int
    english: str
    polish: str
    noun: str
    n_train: int
    n_val: int


@cache
def classes() -> tuple[ImagenetteClass, ...]:
    """The ten classes in the order of their wnids, with the sizes of the official split."""
    text = resources.files("tench.data").joinpath("classes.csv").read_text(encoding="utf-8")
    return tuple(
        ImagenetteClass(
            row["wnid"], int(row["imagenet_index"]), row["english"], row["polish"], row["noun"], int(row["n_train"]), int(row["n_val"])
        )
        for row in csv.DictReader(text.splitlines())
    )


def unseen_by_imagenet(name: str) -> bool:
    """Whether a photograph of Imagenette is from ImageNet's validation set, so that networks pretrained on ImageNet-1k never saw it.

    `name` is its file name or its path within the archive. Says nothing about pictures from elsewhere.
    """
    return PurePosixPath(name).name.startswith("ILSVRC2012_val_")


def archive_path(form: Form) -> Path:
    """Where the official archive of that form is, or would be, in the cache."""
    return cache_folder() / "data" / ARCHIVES[form].file_name


def cached() -> Path | None:
    """The archive in the cache that is taken when no data are named: 320 px before full size (slower to decode) before 160 px."""
    paths = (archive_path(form) for form in ("320", "full", "160"))
    return next((path for path in paths if path.is_file()), None)


def get(form: Form = "320", progress: Progress | None = None) -> Path:
    """The official archive of that form in the cache, downloaded unless it is there, its md5 checked.

    Raises DownloadError with the steps by hand where there is no network.
    """
    return obtain(ARCHIVES[form], archive_path(form), progress)
