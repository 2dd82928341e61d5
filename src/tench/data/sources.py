"""Where labelled pictures come from: a folder, an archive, or the built-in demo pictures, all as one frozen `Source`."""

import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tench.data import imagenette, pictograms
from tench.data.files import open_files
from tench.data.index import cache_file, index
from tench.data.layout import Layout, Placed, Split, check_complete, layout, split_by_share
from tench.data.seen import seen_among
from tench.errors import DataError, NotFoundError, UsageError
from tench.records import written_atomically

Kind = Literal["imagenette", "folder", "pictograms"]

PICTOGRAMS_PER_CLASS = {"train": 120, "val": 40}
PICTOGRAMS_PX = 64
_PICTOGRAMS_FOLDER = "tench-pictograms"
"""The folder within the archive of demo pictures: by it they are known wherever the archive lies."""


@dataclass(frozen=True)
class ClassName:
    """One class: its folder's name and what people call it. `imagenet_index` (0 to 999) where ImageNet-1k has the class."""

    id: str
    english: str
    polish: str
    imagenet_index: int | None = None


@dataclass(frozen=True)
class Picture:
    """One labelled picture, not decoded. `name` is its POSIX path within the source, `label` the index of its class."""

    name: str
    label: int
    split: Split
    sha256: str
    size_px: tuple[int, int] | None = None
    """(height, width) of the stored picture, upright."""


@dataclass(frozen=True)
class Source:
    """Labelled pictures before decoding, sorted by their names. `sha256` identifies contents, names and split, not the place."""

    name: str
    kind: Kind
    location: Path | None
    classes: tuple[ClassName, ...]
    pictures: tuple[Picture, ...]
    sha256: str
    is_demo: bool
    skipped: tuple[tuple[str, str], ...] = ()
    """(name, reason) of pictures that were left out because they cannot be decoded."""
    notes: tuple[tuple[str, str], ...] = ()
    """(name, note) of pictures of which only a part is used, and of folders that were passed over."""
    root: str = ""
    """The folder within `location` that the pictures' names start from."""
    seen_list: Path | None = None
    """The user's list of pictures that pretraining saw."""
    seen: frozenset[str] | None = None
    """Hashes of the pictures that are in that list; None: there is no list."""

    @property
    def unseen(self) -> NDArray[np.bool_] | None:
        """Which pictures no pretraining saw, bool (n_pictures,): by the user's list, of Imagenette by their names; None: not known."""
        if self.seen is not None:
            return np.array([picture.sha256 not in self.seen for picture in self.pictures], dtype=np.bool_)
        if self.kind == "imagenette":
            return np.array([imagenette.unseen_by_imagenet(picture.name) for picture in self.pictures], dtype=np.bool_)
        return None

    @property
    def seen_sha256(self) -> str | None:
        """Identifies what the user's list says of these pictures; None: there is no list."""
        return None if self.seen is None else hashlib.sha256("\n".join(sorted(self.seen)).encode()).hexdigest()

    def read(self, picture: Picture) -> bytes:
        """The file of one picture. For many use `stream`: a compressed tar must be read from its beginning each time."""
        position = self.pictures.index(picture)
        return next(content for _, content in self.stream([position]))

    def stream(self, positions: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
        """(index into `pictures`, file) of all pictures or of `positions`, each once, in the order that is cheapest to read.

        Raises DataError if a file is gone or is not what it was when the source was opened.
        """
        if self.location is None:
            raise DataError(f"{self.name} has no place to be read from. Open it with open_source.")
        wanted = {self.root + self.pictures[i].name: i for i in (range(len(self.pictures)) if positions is None else positions)}
        for name, content in open_files(self.location).stream(wanted) if wanted else ():
            picture = self.pictures[wanted[name]]
            if hashlib.sha256(content).hexdigest() != picture.sha256:
                raise DataError(f"{self.location}: {name} has changed since the data were opened. Leave it in peace and start again.")
            yield wanted[name], content


def open_source(
    data: str | Path | None = None, skip_bad: bool = False, val_share: float = 0.3, seed: int = 0, seen_hashes: str | Path | None = None
) -> Source:
    """The pictures at `data`: a folder or a .zip, .tar, .tgz; "imagenette" (in the cache) or "pictograms" by name.

    None means TENCH_DATA, then Imagenette in the cache, then the pictograms. Class folders lie below train/ and val/, or
    directly below one folder, of which `val_share` is then set apart to score on, stratified and drawn from `seed`; with a
    `val_share` of 1 all of them are to be scored and none to train with.
    Unusable pictures are an error that lists them, or with `skip_bad` are left out and listed in `skipped`.
    `seen_hashes`: a list of the pictures that pretraining saw (`seen_among`).
    Raises UsageError, NotFoundError and DataError.
    """
    if not 0 < val_share <= 1:
        raise UsageError(f"val_share is {val_share}; it must be above 0 and at most 1. Take 0.3 for the study's 70:30 split.")
    found = data if data is not None else _default()
    if found == "pictograms":
        source = _pictograms(seed)
    else:
        source = _opened(_cached_imagenette() if found == "imagenette" else Path(found), skip_bad, val_share, seed)
    if seen_hashes is None:
        return source
    seen = seen_among((picture.sha256 for picture in source.pictures), Path(seen_hashes))
    return replace(source, seen_list=Path(seen_hashes).resolve(), seen=seen)


def describe(source: Source) -> str:
    """One line for the top of every output: which data, how many pictures, their hash, and whether they are only a demo."""
    splits = Counter(picture.split for picture in source.pictures)
    demo = " - drawn by tench to try it out; figures on them say nothing about photographs" if source.is_demo else ""
    skipped = f", {len(source.skipped)} unusable left out" if source.skipped else ""
    return (
        f"{source.name}: {splits['train']:,} training and {splits['val']:,} validation pictures in {len(source.classes)} classes"
        f"{skipped}, sha256 {source.sha256[:12]}{demo}"
    )


def bad_pictures(where: object, bad: Sequence[tuple[str, str]]) -> DataError:
    """The error that lists all (name, reason) of `bad`."""
    lines = "".join(f"\n  {name} {reason}" for name, reason in sorted(bad))
    count = "1 picture" if len(bad) == 1 else f"{len(bad):,} pictures"
    return DataError(f"{where}: {count} cannot be used:{lines}\nMend or remove them, or leave them out with --skip-bad (skip_bad=True).")


def _default() -> str | Path:
    return os.environ.get("TENCH_DATA") or imagenette.cached() or "pictograms"


def _cached_imagenette() -> Path:
    path = imagenette.cached()
    if path is None:
        raise NotFoundError("Imagenette is not in the cache. Fetch it with `tench data get imagenette`, or name its archive or folder.")
    return path


def _pictograms(seed: int) -> Source:
    """The demo pictures, drawn on first use into an archive in the cache."""
    counts = "-".join(str(n) for n in PICTOGRAMS_PER_CLASS.values())
    path = cache_file("data", f"pictograms-{_drawing_version()}-{seed}-{counts}-{PICTOGRAMS_PX}px.zip")
    if not path.exists():
        with written_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, _, content in pictograms.generate(seed, PICTOGRAMS_PER_CLASS, PICTOGRAMS_PX):
                archive.writestr(f"{_PICTOGRAMS_FOLDER}/{name}", content)
    return _opened(path, skip_bad=False, val_share=0.5, seed=seed)


def _opened(path: Path, skip_bad: bool, val_share: float, seed: int) -> Source:
    files = open_files(path)
    arranged = layout(index(files, decode_all=skip_bad), str(path))
    bad = tuple((_printable(p.entry.name), p.entry.problem) for p in arranged.placed if p.entry.problem)
    if bad and not skip_bad:
        raise bad_pictures(path, bad)
    good = [p for p in arranged.placed if not p.entry.problem]
    is_split = all(p.split for p in good)
    if not is_split:
        good = split_by_share(good, val_share, seed)
    check_complete(arranged.class_ids, good, str(path), ("train", "val") if is_split or val_share < 1 else ("val",))
    return _source(path, arranged, good, bad)


def _source(path: Path, arranged: Layout, placed: Sequence[Placed], skipped: tuple[tuple[str, str], ...]) -> Source:
    labels = {class_id: label for label, class_id in enumerate(arranged.class_ids)}
    by_name = sorted(placed, key=lambda p: p.entry.name)
    pictures = tuple(_picture(p, labels[p.class_id], arranged.root) for p in by_name)
    name, kind = _name_and_kind(path, arranged, pictures)
    notes = [(p.entry.name, p.entry.note) for p in by_name if p.entry.note] + [(f, "is passed over") for f in arranged.unused]
    classes = tuple(_class_name(class_id, kind == "pictograms") for class_id in arranged.class_ids)
    is_demo = kind == "pictograms"
    return Source(name, kind, path, classes, pictures, _identity(pictures), is_demo, skipped, tuple(notes), arranged.root)


def _picture(placed: Placed, label: int, root: str) -> Picture:
    entry = placed.entry
    return Picture(entry.name.removeprefix(root), label, placed.split or "train", entry.sha256, (entry.height_px, entry.width_px))


def _name_and_kind(path: Path, arranged: Layout, pictures: Sequence[Picture]) -> tuple[str, Kind]:
    """Pictures in Imagenette's classes are called Imagenette only if they are as many as it has."""
    if _PICTOGRAMS_FOLDER in arranged.root.split("/"):
        return "demo pictures (pictograms)", "pictograms"
    if set(arranged.class_ids) != {kind.wnid for kind in imagenette.classes()}:
        return path.resolve().name, "folder"
    splits = Counter(picture.split for picture in pictures)
    whole = (splits["train"], splits["val"]) == (imagenette.N_TRAIN, imagenette.N_VAL)
    return "Imagenette" if whole else f"{path.resolve().name} (Imagenette's classes)", "imagenette"


def _class_name(class_id: str, is_drawn: bool) -> ClassName:
    """Imagenette's classes by their names (drawn ones by the plain noun: a pictogram of a fish is no tench), others as their folders."""
    for kind in imagenette.classes():
        if kind.wnid == class_id:
            return ClassName(class_id, kind.noun if is_drawn else kind.english, kind.polish, kind.imagenet_index)
    return ClassName(class_id, class_id, class_id)


def _identity(pictures: Sequence[Picture]) -> str:
    lines = sorted(f"{picture.split}\0{picture.name}\0{picture.sha256}" for picture in pictures)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _drawing_version() -> str:
    """Changes with the code that draws, so that a cache never passes off old drawings for new ones."""
    folder = resources.files("tench.data")
    return hashlib.sha256(b"".join(folder.joinpath(name).read_bytes() for name in ("pictograms.py", "motifs.py", "pen.py"))).hexdigest()[:8]


def _printable(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
