"""What a folder or archive holds: names and content hashes of its files, remembered so that the next opening is instant."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import PIL

from tench.config import cache_folder
from tench.data.decode import PictureError, decode_image, inspect
from tench.data.files import Files
from tench.errors import DataError
from tench.records import write_bytes_atomically

VERSION = 1
"""To be raised when what is accepted as a picture changes."""
THREADS = 2
AHEAD = 64
"""Items in work at a time: bounds the memory."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Entry:
    """One file: its content's hash, why it is no usable picture (None: it is one), and what there is to note about it."""

    name: str
    sha256: str
    height_px: int = 0
    width_px: int = 0
    problem: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Index:
    """All files and folders, sorted by their names."""

    entries: tuple[Entry, ...]
    folders: tuple[str, ...]


def index(files: Files, decode_all: bool) -> Index:
    """The index of `files`: remembered in the cache, else made in one pass over all contents.

    Pictures are checked by their headers; with `decode_all` every one is decoded too, so that every damaged one is known.
    """
    key = f"{VERSION}\0{PIL.__version__}\0{files.path.resolve()}\0{files.stamp()}\0{decode_all}"
    path = cache_file("index", f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()}.json")
    remembered = _remembered(path)
    if remembered is not None:
        return remembered
    made = _made(files, decode_all)
    write_bytes_atomically(path, json.dumps(asdict(made)).encode())
    return made


def cache_file(folder: str, name: str) -> Path:
    """The path of a file in a folder of the cache; the folder is made. Raises DataError if it cannot be."""
    path = cache_folder() / folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent} cannot be made: {error.strerror}. Mend it, or set TENCH_CACHE to a folder of yours.") from error
    return path


def in_threads(function: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
    """`function` of every item, in order, computed by THREADS threads at most AHEAD items ahead of the one being used."""
    waiting: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _remembered(path: Path) -> Index | None:
    try:
        content = json.loads(path.read_bytes())
        return Index(tuple(Entry(**entry) for entry in content["entries"]), tuple(content["folders"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not there, or damaged: made anew
        return None


def _made(files: Files, decode_all: bool) -> Index:
    folders: list[str] = []

    def pictures() -> Iterator[tuple[str, bytes]]:
        for name, content in files.walk():
            if content is None:
                folders.append(name)
            else:
                yield name, content

    entries = list(in_threads(lambda item: _entry(*item, decode_all), pictures()))
    return Index(tuple(sorted(entries, key=lambda entry: entry.name)), tuple(sorted(folders)))


def _entry(name: str, content: bytes, decode_all: bool) -> Entry:
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        name.encode()
        facts = inspect(content, name)
        if decode_all:
            decode_image(content, name)
    except UnicodeEncodeError:
        return Entry(name, sha256, problem="has a name that is not UTF-8; rename it")
    except PictureError as error:
        return Entry(name, sha256, problem=error.reason)
    return Entry(name, sha256, facts.height_px, facts.width_px, note=facts.note)
