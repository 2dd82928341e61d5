"""Where the files of runs that go on elsewhere lie, on the driver's machine, until the driver has them. Needs no Ray."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tench.records import write_bytes_atomically
from tench.records.run import RECORD

MOST_BYTES = 2**28
"""From which on a delivery is closed: the driver's memory holds one at a time."""

ENDED = ""
"""In place of the try that is listened to."""

Files = dict[str, bytes]
"""Contents by their paths in a run's folder, POSIX."""


class Shelf:
    """An actor that holds the newest files of every run that is going on, for the driver and for whoever tries a run again.

    They lie on the disk of its machine: a hundred runs' checkpoints are more than a memory holds. Of two tries of one run only the
    later one is listened to: the earlier may be on a machine that was given up and has come back.
    """

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="tench-shelf-")
        self.tries: dict[str, str] = {}
        self.names: dict[str, set[str]] = {}
        self.news: dict[str, set[str]] = {}
        self.gone: dict[str, set[str]] = {}
        self.said: list[str] = []

    def _place(self, key: str) -> Path:
        return Path(self.folder.name, key)

    def begin(self, key: str, attempt: str) -> Files:
        """All files of the run `key`; from now on only what `attempt` puts there counts."""
        self.tries[key] = attempt
        return {name: (self._place(key) / name).read_bytes() for name in self.names.get(key, ())}

    def put(self, key: str, attempt: str, changed: Files, names: Sequence[str]) -> bool:
        """Files of the run `key` that are new or changed, and the names of all it has now; False where another tries that run now."""
        if self.tries.setdefault(key, attempt) != attempt:
            return False
        held = self.names.setdefault(key, set())
        missing = held - set(names)
        lay_out(self._place(key), changed)
        for name in missing:
            (self._place(key) / name).unlink()
        self.names[key] = (held | changed.keys()) - missing
        self.news.setdefault(key, set()).update(changed)
        self.news[key] -= missing
        self.gone.setdefault(key, set()).update(missing)
        return True

    def say(self, text: str) -> None:
        """Something the user should know."""
        self.said.append(text)

    def fetch(self) -> "Delivery":
        """What has come since the last time, of one run after the other; what is more than MOST_BYTES waits for the next time."""
        changed: dict[str, Files] = {}
        gone: dict[str, list[str]] = {}
        size = 0
        for key in list(self.news):
            if size >= MOST_BYTES:
                break
            changed[key] = {name: (self._place(key) / name).read_bytes() for name in self.news.pop(key)}
            gone[key] = sorted(self.gone.pop(key, ()))
            size += sum(map(len, changed[key].values()))
        delivery = Delivery(changed, gone, tuple(self.said), whole=not self.news)
        self.said = []
        return delivery

    def forget(self, key: str) -> None:
        """The run `key` has ended, and all of it was fetched; whoever still tries it is not listened to."""
        shutil.rmtree(self._place(key), ignore_errors=True)
        self.tries[key] = ENDED
        for held in (self.names, self.news, self.gone):
            held.pop(key, None)

    def close(self) -> None:
        """Take the files away."""
        self.folder.cleanup()


@dataclass(frozen=True)
class Delivery:
    """Files by run, names of files that are gone by run, and what is to be said."""

    changed: dict[str, Files]
    gone: dict[str, list[str]]
    said: tuple[str, ...]
    whole: bool = True
    """Whether nothing waits for the next time."""


def lay_out(runs: Path, files: Files) -> None:
    """Write the files, those that name others last: a description of a checkpoint never lies beside tensors that are not there yet."""
    for name in sorted(files, key=lambda name: (name.endswith(".json"), name.endswith(RECORD))):
        path = runs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, files[name])
