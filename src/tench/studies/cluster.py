"""A study's runs as tasks of a Ray cluster: each tried again from its checkpoint when its worker dies, its files brought to the driver.

Ray moves tasks and results by pickling between processes that trust each other; no file is unpickled. Whoever reaches a Ray port can run
code: a cluster of this machine alone listens on loopback.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tench.errors import ConfigError, TenchError, TrainingError
from tench.records import Run, write_bytes_atomically
from tench.records.run import RECORD
from tench.runtime import code_identity
from tench.studies.entries import Entry
from tench.training.loop import Watcher

RETRIES = 3
"""How often a run is tried again after its worker died."""
SEND_S = 2.0
"""Between two looks at what a run has written."""
ASK_S = 1.0
"""Between two questions of the driver for what has arrived."""

Files = dict[str, bytes]
"""Contents by their paths in a run's folder, POSIX."""
Carry = Callable[[Entry, Path, Watcher], Run]
"""Makes an entry's run in a folder of runs, or goes on with the one that is there."""


@dataclass(frozen=True)
class Cluster:
    """Where to run. `address` as `ray.init` takes it; None: a cluster of this machine alone, made for the occasion."""

    address: str | None = None


def cluster_of(on: str) -> Cluster:
    """The cluster that `--on` names: "ray", "ray:HOST:PORT" of a cluster this machine belongs to, "ray://HOST:PORT" through Ray's client.

    Raises ConfigError for anything else.
    """
    if on == "ray":
        return Cluster()
    if on.startswith("ray://"):
        return Cluster(on)
    if on.startswith("ray:") and on.count(":") >= 2:
        return Cluster(on.removeprefix("ray:"))
    raise ConfigError(
        f"--on is '{on}'; write ray for the cores of this machine, ray:HOST:PORT for the cluster it belongs to, or ray://HOST:PORT."
    )


class Shelf:
    """An actor that holds the newest files of every run that is going on, for the driver and for whoever tries a run again."""

    def __init__(self) -> None:
        self.files: dict[str, Files] = {}
        self.news: dict[str, set[str]] = {}
        self.gone: dict[str, set[str]] = {}
        self.said: list[str] = []

    def put(self, key: str, changed: Files, names: Sequence[str]) -> None:
        """Files of the run `key` that are new or changed, and the names of all it has now."""
        held = self.files.setdefault(key, {})
        missing = held.keys() - set(names)
        held.update(changed)
        for name in missing:
            del held[name]
        self.news.setdefault(key, set()).update(changed)
        self.gone.setdefault(key, set()).update(missing)

    def get(self, key: str) -> Files:
        """All files of the run `key`."""
        return dict(self.files.get(key, {}))

    def say(self, text: str) -> None:
        """Something the user should know."""
        self.said.append(text)

    def fetch(self) -> "Delivery":
        """What has come since the last time."""
        changed = {key: {name: self.files[key][name] for name in names if name in self.files[key]} for key, names in self.news.items()}
        delivery = Delivery(changed, {key: sorted(names) for key, names in self.gone.items()}, tuple(self.said))
        self.news, self.gone, self.said = {}, {}, []
        return delivery


@dataclass(frozen=True)
class Delivery:
    """Files by run, names of files that are gone by run, and what is to be said."""

    changed: dict[str, Files]
    gone: dict[str, list[str]]
    said: tuple[str, ...]


class _Relay(Watcher):
    """Sends to the driver what a run would say here."""

    def __init__(self, shelf: Any, title: str) -> None:
        self.shelf, self.title = shelf, title

    def epoch_ended(self, line: dict[str, Any]) -> None:
        """A line an epoch."""
        selected = "" if line["select_loss"] is None else f", select {line['select_loss']:.4f}, {100 * line['select_top1']:.2f} %"
        self.say(f"epoch {line['epoch']}: loss {line['loss']:.4f}, fit {100 * line['top1']:.2f} %{selected}")

    def say(self, text: str) -> None:
        """With the run's title, as several go on at a time."""
        self.shelf.say.remote(f"{self.title}: {text}")


@dataclass
class _Sender:
    """Sends a run's files to the shelf as they change."""

    shelf: Any
    key: str
    runs: Path
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def send(self) -> None:
        """What has changed since the last time; a file that is just being replaced is sent the next time."""
        import ray

        stamps, changed = {}, {}
        for name, path in sorted(_files(self.runs)):
            try:
                state = path.stat()
                stamp = (state.st_mtime_ns, state.st_size)
                if self.seen.get(name) != stamp:
                    changed[name] = path.read_bytes()
            except FileNotFoundError:
                continue
            stamps[name] = stamp
        if changed or stamps.keys() != self.seen.keys():
            ray.get(self.shelf.put.remote(self.key, changed, list(stamps)))
        self.seen = stamps


def _files(runs: Path) -> Iterator[tuple[str, Path]]:
    """Names below a task's runs folder, and paths, of what belongs to its run; there is one at most."""
    for record in runs.glob(f"*/{RECORD}"):
        yield from _files_of(record.parent)


def _files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """The same of one run's folder: no lock, nothing half written."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "lock" and not path.name.startswith("."):
            yield path.relative_to(folder.parent).as_posix(), path


def _task(entry: Entry, title: str, carry: Carry, code: str, shelf: Any) -> str:
    """One run, on whatever machine Ray has chosen; returns its id. Everything else comes by the shelf."""
    import ray

    if code_identity() != code:
        raise TrainingError(f"{os.uname().nodename} has another version of tench than the driver; install the same one on every machine.")
    runs = Path(tempfile.mkdtemp(prefix="tench-"))
    stop = threading.Event()
    sender = _Sender(shelf, entry.identity, runs)
    try:
        _lay_out(runs, ray.get(shelf.get.remote(entry.identity)))
        thread = threading.Thread(target=_keep_sending, args=(sender, stop), daemon=True)
        thread.start()
        try:
            run = carry(entry, runs, _Relay(shelf, title))
        finally:
            stop.set()
            thread.join()
            sender.send()
        return run.id
    finally:
        shutil.rmtree(runs, ignore_errors=True)


def _keep_sending(sender: _Sender, stop: threading.Event) -> None:
    while not stop.wait(SEND_S):
        sender.send()


def _lay_out(runs: Path, files: Files) -> None:
    """Write the files, those that name others last: a description of a checkpoint never lies beside tensors that are not there yet."""
    for name in sorted(files, key=lambda name: (name.endswith(".json"), name.endswith(RECORD))):
        path = runs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, files[name])


def on_cluster(
    cluster: Cluster, entries: Sequence[tuple[str, Entry]], carry: Carry, before: Sequence[Run], runs: Path, watcher: Watcher
) -> Iterator[tuple[Entry, Run | TenchError]]:
    """Make the runs of `entries`, (title, entry) each, on `cluster`; they come as they end, their files under `runs`.

    Every run takes as many cores as its engine has threads, and a GPU where it computes on one. What was interrupted before goes on.
    A run that fails comes as its error; the others go on.
    """
    with _connected(cluster, watcher):
        import ray
        from ray.exceptions import RayError, RayTaskError

        shelf: Any = ray.remote(Shelf).options(num_cpus=0).remote()
        task = ray.remote(_task)
        code, waiting = code_identity(), {}
        for title, entry in entries:
            if begun := entry.unfinished(before):
                files = {name: path.read_bytes() for name, path in _files_of(begun.folder)}
                ray.get(shelf.put.remote(entry.identity, files, list(files)))
            needs = {"num_cpus": entry.plan.engine.threads, "num_gpus": int(entry.plan.engine.device.startswith("cuda"))}
            waiting[task.options(**needs, max_retries=RETRIES).remote(entry, title, carry, code, shelf)] = title, entry
        with ExitStack() as held:
            holding: set[str] = set()
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=ASK_S)
                _bring(ray.get(shelf.fetch.remote()), runs, watcher, holding, held)
                for reference in ended:
                    title, entry = waiting.pop(reference)
                    try:
                        yield entry, Run.read(runs / ray.get(reference))
                    except RayTaskError as error:
                        yield entry, error.cause if isinstance(error.cause, TenchError) else TrainingError(f"{title}: {error.cause}.")
                    except RayError as error:
                        yield entry, TrainingError(f"{title} ended {RETRIES + 1} times with its worker: {error}. Its checkpoints are kept.")


def _bring(delivery: Delivery, runs: Path, watcher: Watcher, holding: set[str], held: ExitStack) -> None:
    """Lay the files into the driver's runs folder, and hold those runs: to others here they are being trained."""
    for text in delivery.said:
        watcher.say(text)
    for key, files in delivery.changed.items():
        _lay_out(runs, files)
        for name in delivery.gone.get(key, ()):
            (runs / name).unlink(missing_ok=True)
        for folder in {name.partition("/")[0] for name in files} - holding:
            held.enter_context(Run.read(runs / folder).held())
            holding.add(folder)


@contextmanager
def _connected(cluster: Cluster, watcher: Watcher) -> Iterator[None]:
    """Ray, started or joined, for the time of a block."""
    if cluster.address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # read when ray is imported: all of it listens on loopback alone
    try:
        import ray
    except ImportError:
        raise ConfigError("--on ray needs Ray, which is not installed; install tench[cluster].") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing reaches the network unless the user asks for it
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        ray.init(include_dashboard=False, **quiet)
    else:
        if "127.0.0.1" not in cluster.address and "localhost" not in cluster.address:
            watcher.say(
                f"{cluster.address} is not this machine alone: whoever reaches a Ray port can run code there. Keep it behind a firewall."
            )
        ray.init(address=cluster.address, **quiet)
    try:
        yield
    finally:
        ray.shutdown()
