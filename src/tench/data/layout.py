"""Which class and which part of the split a file belongs to, by the folders it lies in."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from tench.data.index import Entry, Index
from tench.data.order import drawn
from tench.errors import DataError

Split = Literal["train", "val"]

VAL_NAMES = ("val", "valid", "validation", "test")
"""Folders beside `train` whose pictures are scored; the first of them that is there is taken."""


@dataclass(frozen=True)
class Placed:
    """A file in a class folder. `split` is None where the folders do not say."""

    entry: Entry
    class_id: str
    split: Split | None


@dataclass(frozen=True)
class Layout:
    """What the class folders hold. The names of all files in them start with `root`: "" or "some/folder/"."""

    root: str
    class_ids: tuple[str, ...]
    placed: tuple[Placed, ...]
    unused: tuple[str, ...]
    """Folders beside train and val."""


def layout(index: Index, where: str) -> Layout:
    """Find the class folders: below train/ and val/, or directly below one folder. Files outside them are passed over.

    Raises DataError if there are fewer than two classes.
    """
    folders = _folders(index)
    root = _root(folders)
    top = _children(folders, root)
    val = next((name for name in VAL_NAMES if name in top), None)
    splits: dict[str, Split | None] = {f"{root}train/": "train", f"{root}{val}/": "val"} if "train" in top and val else {root: None}
    classes = {name for folder in splits for name in _children(folders, folder)}
    if len(classes) < 2:
        raise DataError(f"{where} has {_named(classes)}. Put the pictures of every class into a folder of its own, two classes at least.")
    if None in splits.values() and (inner := [name for name in sorted(top) if "train" in _children(folders, f"{root}{name}/")]):
        raise DataError(
            f"{where} has several folders, and train/ lies in {root}{inner[0]}. Give tench that folder or an archive of it alone."
        )
    placed = tuple(p for folder, split in splits.items() for p in _placed(index, folder, split))
    unused = tuple(sorted(top - {"train", val})) if None not in splits.values() else ()
    return Layout(root, tuple(sorted({_class_id(name) for name in classes})), placed, unused)


def split_by_share(placed: Sequence[Placed], val_share: float, seed: int) -> list[Placed]:
    """About `val_share` of each class as `val`, the rest as `train`: a seeded draw by content; copies stay on one side.

    At least one picture of a class stays in `train`, unless `val_share` is 1.
    """
    members: dict[str, list[int]] = {}
    for position, p in enumerate(placed):
        members.setdefault(p.class_id, []).append(position)
    in_val = np.zeros(len(placed), dtype=np.bool_)
    for positions in members.values():
        in_val[positions] = drawn([placed[i].entry.sha256 for i in positions], val_share, seed, "val", leave=int(val_share < 1))
    return [replace(p, split="val" if chosen else "train") for p, chosen in zip(placed, in_val, strict=True)]


def check_complete(class_ids: Sequence[str], placed: Sequence[Placed], where: str, splits: Sequence[Split]) -> None:
    """Raise DataError that names every class without pictures in one of `splits`."""
    there = {(p.class_id, p.split) for p in placed}
    lacking = [f"{name} (none to {_USES[split]})" for name in class_ids for split in splits if (name, split) not in there]
    if lacking:
        raise DataError(
            f"{where} lacks pictures of these classes: {', '.join(lacking)}. Every class needs pictures both in train and in val, in"
            " folders of the same name (where tench splits, two different pictures at least). Add pictures, or remove the class's folders."
        )


_USES: dict[Split, str] = {"train": "train with", "val": "score"}


def _folders(index: Index) -> set[str]:
    """All folders, with a closing slash, also those that only the names of files tell of."""
    nearest = {entry.name.rpartition("/")[0] for entry in index.entries} | set(index.folders)
    return {f"{folder.as_posix()}/" for name in nearest for folder in (PurePosixPath(name), *PurePosixPath(name).parents) if folder.name}


def _children(folders: set[str], parent: str) -> set[str]:
    return {rest[:-1] for folder in folders if folder.startswith(parent) and (rest := folder[len(parent) :]).count("/") == 1}


def _root(folders: set[str]) -> str:
    """Down through folders that hold nothing but one folder, to the first with a choice (or with none)."""
    root = ""
    while len(below := _children(folders, root)) == 1:
        root += f"{next(iter(below))}/"
    return root


def _placed(index: Index, folder: str, split: Split | None) -> list[Placed]:
    parts = [(entry, entry.name[len(folder) :].split("/", 1)) for entry in index.entries if entry.name.startswith(folder)]
    return [Placed(entry, _class_id(rest[0]), split) for entry, rest in parts if len(rest) == 2]


def _class_id(folder: str) -> str:
    """The folder's name with composed accents: macOS writes them decomposed, and classes are matched by name."""
    return unicodedata.normalize("NFC", folder)


def _named(classes: set[str]) -> str:
    return f"only one class folder, {min(classes)}" if classes else "no two class folders"
