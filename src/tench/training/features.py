"""A pretrained backbone's features, computed once for every picture and kept by the content of picture and weights."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tench.config import Engine, cache_folder
from tench.data.sources import Source
from tench.errors import RecordError
from tench.inference import computing
from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork
from tench.records import make_folder

SAVED_TOGETHER = 256
"""Pictures whose features are written at a time: what an interruption costs at most."""
VERSION = 1
"""To be raised when the same weights and picture would give other features."""
WAIT_FOR_OTHERS_S = 60.0


def features(
    module: TableNetwork | ForeignNetwork,
    weights_sha256: str,
    source: Source,
    pixels: NDArray[np.uint8],
    indices: NDArray[np.int64],
    engine: Engine,
    done: Callable[[int, int], None] = lambda finished, of: None,
) -> NDArray[np.float32]:
    """What `module.features` gives for `pixels[indices]`: float32 (len(indices), n_features), in the order of `indices`.

    They lie in one SQLite file a network in the cache, a row a picture, so that any selection of pictures finds what another
    computed, several processes may share it, and a kill loses no row that was written. `done` is told how many pictures are
    finished, of how many. Raises RecordError where the file is damaged or cannot be written.
    """
    path = cache_folder() / "features" / f"{weights_sha256[:16]}-v{VERSION}.sqlite"
    make_folder(path.parent)
    keys = [f"{source.pictures[i].sha256}/{pixels.shape[1]}x{pixels.shape[2]}" for i in indices]
    with _opened(path) as store:
        store.execute("CREATE TABLE IF NOT EXISTS features (picture TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        known = {key for (key,) in store.execute("SELECT picture FROM features")}
        missing = [i for i, key in enumerate(keys) if key not in known]
        with computing(module, pixels, indices[missing], engine, "features") as computer:
            for first in range(0, len(missing), SAVED_TOGETHER):
                rows = missing[first : first + SAVED_TOGETHER]
                found = computer.of(pixels, indices[rows])
                with store:
                    values = [(keys[row], value.tobytes()) for row, value in zip(rows, found, strict=True)]
                    store.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", values)
                done(len(keys) - len(missing) + first + len(rows), len(keys))
        wanted = set(keys)
        stored = {key: value for key, value in store.execute("SELECT picture, value FROM features") if key in wanted}
    return np.stack([np.frombuffer(stored[key], dtype=np.float32) for key in keys])


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_FOR_OTHERS_S)) as store:
            yield store
    except sqlite3.Error as error:
        raise RecordError(
            f"{path} cannot be used: {error}. Make room on the disk; if it is damaged, delete it: its features are computed anew."
        ) from error
