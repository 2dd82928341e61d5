"""A study's runs as tasks of a Ray cluster: each tried again from its checkpoint when its worker dies, its files brought to the driver.

Ray moves tasks and results by pickling between processes that trust each other; no file is unpickled. Whoever reaches a Ray port can run
code: a cluster of this machine alone listens on loopback.
"""

import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
"""At least, between two looks at what a run has written."""
SEND_SHARE = 0.05
"""Of a worker's time, at most, for sending: where the way to the driver is slow or shared by many, checkpoints go there less often."""
MOST_BYTES = 2**28
"""From which on a delivery is closed: the driver's memory holds one at a time."""
ASK_S = 1.0
"""Between two questions of the driver for what has arrived."""

REACH_S = 10.0
"""For a cluster's address to answer."""

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
        _lay_out(self._place(key), changed)
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
        """The run `key` has ended, and all of it was fetched."""
        shutil.rmtree(self._place(key), ignore_errors=True)
        for held in (self.tries, self.names, self.news, self.gone):
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
    attempt: str
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
        news = changed or stamps.keys() != self.seen.keys()
        if news and not ray.get(self.shelf.put.remote(self.key, self.attempt, changed, list(stamps))):
            os._exit(1)  # this machine was given up, and has come back: the run goes on elsewhere
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
    sender = _Sender(shelf, entry.identity, secrets.token_hex(8), runs)
    try:
        _lay_out(runs, ray.get(shelf.begin.remote(entry.identity, sender.attempt)))
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
    took_s = 0.0
    while not stop.wait(max(SEND_S, took_s / SEND_SHARE)):
        began = time.monotonic()
        sender.send()
        took_s = time.monotonic() - began


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
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # On the driver's own machine: a machine that is cut off takes the checkpoints of no other with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        shelf: Any = ray.remote(Shelf).options(num_cpus=0, scheduling_strategy=here).remote()
        task = ray.remote(_task)
        code, waiting = code_identity(), {}
        for title, entry in entries:
            if begun := entry.unfinished(before):
                files = {name: path.read_bytes() for name, path in _files_of(begun.folder)}
                ray.get(shelf.put.remote(entry.identity, "before", files, list(files)))
            needs = {"num_cpus": entry.plan.engine.threads, "num_gpus": int(entry.plan.engine.device.startswith("cuda"))}
            waiting[task.options(**needs, max_retries=RETRIES).remote(entry, title, carry, code, shelf)] = title, entry
        with ExitStack() as held:
            held.callback(_close, shelf)
            holding: set[str] = set()
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=ASK_S)
                while not _bring(ray.get(shelf.fetch.remote()), runs, watcher, holding, held):
                    pass
                for reference in ended:
                    title, entry = waiting.pop(reference)
                    ray.get(shelf.forget.remote(entry.identity))
                    try:
                        yield entry, Run.read(runs / ray.get(reference))
                    except RayTaskError as error:
                        yield entry, error.cause if isinstance(error.cause, TenchError) else TrainingError(f"{title}: {error.cause}.")
                    except RayError as error:
                        yield entry, TrainingError(f"{title} ended {RETRIES + 1} times with its worker: {error}. Its checkpoints are kept.")


def _close(shelf: Any) -> None:
    import ray
    from ray.exceptions import RayError

    with suppress(RayError):  # with the cluster lost there is nothing to close
        ray.get(shelf.close.remote())


def _bring(delivery: Delivery, runs: Path, watcher: Watcher, holding: set[str], held: ExitStack) -> bool:
    """Lay the files into the driver's runs folder, and hold those runs: to others here they are being trained.

    Returns whether nothing more waits.
    """
    for text in delivery.said:
        watcher.say(text)
    for key, files in delivery.changed.items():
        _lay_out(runs, files)
        for name in delivery.gone.get(key, ()):
            (runs / name).unlink(missing_ok=True)
        for folder in {name.partition("/")[0] for name in files} - holding:
            held.enter_context(Run.read(runs / folder).held())
            holding.add(folder)
    return delivery.whole


@contextmanager
def _connected(cluster: Cluster, watcher: Watcher) -> Iterator[None]:
    """Ray, started or joined, for the time of a block."""
    if cluster.address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # read when ray is imported: all of it listens on loopback alone
    elif "RAY_AUTH_TOKEN" in os.environ or Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # whoever starts a cluster gets a token; joining one, Ray shows it only if told to
    try:
        import ray
    except ImportError:
        raise ConfigError("--on ray needs Ray, which is not installed; install tench[cluster].") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing reaches the network unless the user asks for it
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        ray.init(address="local", include_dashboard=False, **quiet)  # not one that `ray start` left on this machine
    else:
        if "127.0.0.1" not in cluster.address and "localhost" not in cluster.address:
            watcher.say(
                f"{cluster.address} is not this machine alone: whoever reaches a Ray port can run code there. Keep it behind a firewall."
            )
        host, _, port = cluster.address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=REACH_S).close()  # Ray itself would try for minutes, without a word
            ray.init(address=cluster.address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"No Ray cluster can be joined at {cluster.address} ({str(error).strip()}). Is one running there (`ray status`)? Has this"
                " machine its token, in RAY_AUTH_TOKEN or ~/.ray/auth_token as on the machine where it was started?"
            ) from None
    try:
        yield
    finally:
        ray.shutdown()
