"""Which photographs a user means by paths, folders and patterns."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from tench.errors import NotFoundError

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"))
"""By which pictures are found in folders; a file that is named itself is opened whatever it is called."""
STANDARD_INPUT = "-"


def photographs(named: Iterable[str | Path]) -> Iterator[Path]:
    """The paths of `named`, in order: files as they are, of folders all pictures below them, of patterns (`*.jpg`) all that match.

    Raises NotFoundError for a folder without pictures and a pattern that nothing matches; a file that is not there is left to
    whoever opens it, so that it does not stop the rest.
    """
    for name in named:
        path = Path(name)
        if path.is_dir():
            yield from _below(path)
        elif not path.exists() and glob.has_magic(str(name)):
            yield from _matching(str(name))
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not _hidden(path, folder) and path.is_file())
    if not found:
        raise NotFoundError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}); name a folder that does, or a file itself.")
    yield from found


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _matching(pattern: str) -> Iterator[Path]:
    anchor = Path(pattern).anchor
    found = sorted(path for path in Path(anchor).glob(str(Path(pattern).relative_to(anchor))) if path.is_file())
    if not found:
        raise NotFoundError(f"Nothing matches {pattern}; check the pattern.")
    yield from found
