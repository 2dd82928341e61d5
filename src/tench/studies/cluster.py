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
from functools import partial
from pathlib import Path
from typing import Any

from tench.errors import ConfigError, InterruptedTraining, TenchError, TrainingError
from tench.records import Run, make_folder
from tench.records.run import RECORD
from tench.runtime import code_identity, stop_signals
from tench.studies.entries import Entry
from tench.studies.shelf import Shelf, lay_out
from tench.training.loop import Watcher

RETRIES = 3
"""How often a run is tried again after its worker died."""
SEND_S = 2.0
"""At least, between two looks at what a run has written."""
SEND_SHARE = 0.05
"""Of a worker's time, at most, for sending: where the way to the driver is slow or shared by many, checkpoints go there less often."""
ASK_S = 1.0
"""Between two questions of the driver for what has arrived."""

REACH_S = 10.0
"""For a cluster's address to answer."""
LEAVE_S = 60.0
"""For runs to save and send what they have, after Ctrl-C."""
STOPPED = ""
"""In place of the id of a run that was stopped."""

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
            shutil.rmtree(self.runs, ignore_errors=True)
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
    """One run, on whatever machine Ray has chosen; returns its id, or STOPPED. Everything else comes by the shelf."""
    import ray

    if code_identity() != code:
        raise TrainingError(f"{os.uname().nodename} has another version of tench than the driver; install the same one on every machine.")
    runs = Path(tempfile.mkdtemp(prefix="tench-"))
    stop = threading.Event()
    sender = _Sender(shelf, entry.identity, secrets.token_hex(8), runs)
    try:
        lay_out(runs, ray.get(shelf.begin.remote(entry.identity, sender.attempt)))
        thread = threading.Thread(target=_keep_sending, args=(sender, stop), daemon=True)
        thread.start()
        try:
            return carry(entry, runs, _Relay(shelf, title)).id
        except InterruptedTraining:
            return STOPPED
        finally:
            stop.set()
            thread.join()
            sender.send()
    finally:
        shutil.rmtree(runs, ignore_errors=True)


def _keep_sending(sender: _Sender, stop: threading.Event) -> None:
    took_s = 0.0
    while not stop.wait(max(SEND_S, took_s / SEND_SHARE)):
        began = time.monotonic()
        sender.send()
        took_s = time.monotonic() - began


def on_cluster(
    cluster: Cluster, entries: Sequence[tuple[str, Entry]], carry: Carry, before: Sequence[Run], runs: Path, watcher: Watcher
) -> Iterator[tuple[Entry, Run | TenchError]]:
    """Make the runs of `entries`, (title, entry) each, on `cluster`; they come as they end, their files under `runs`.

    Every run takes as many cores as its engine has threads, and a GPU where it computes on one. What was interrupted before goes on.
    A run that fails comes as its error; the others go on.
    """
    with _connected(cluster, watcher):
        import ray
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        _refuse_too_large([entry for _, entry in entries], nodes, watcher)
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
        signals: list[int] = []
        with ExitStack() as held, stop_signals(signals.append):
            held.callback(_close, shelf)
            bring = partial(_bring, shelf, runs, watcher, set(), held)
            try:
                while waiting:
                    ended, _ = ray.wait(list(waiting), timeout=ASK_S)
                    bring()
                    for reference in ended:
                        title, entry = waiting.pop(reference)
                        ray.get(shelf.forget.remote(entry.identity))
                        yield entry, _outcome(reference, title, runs)
                    if signals:
                        left = _leave(list(waiting))
                        bring()
                        saved = f"{left} did not answer and go on from what came before" if left else "what every run had done is saved"
                        raise InterruptedTraining(f"Stopped; {saved}. The same command goes on.", signals[0])
            except RayError as error:
                lost = f"The cluster was lost ({type(error).__name__})."
                raise TrainingError(f"{lost} What had come from it is kept in {runs}; the same command goes on with it.") from error


def _refuse_too_large(entries: Sequence[Entry], nodes: Sequence[dict[str, Any]], watcher: Watcher) -> None:
    """Ray would wait without a word for a machine that is large enough, or has a GPU."""
    on_gpu = any(entry.plan.engine.device.startswith("cuda") for entry in entries)
    able = [node["Resources"] for node in nodes if node["Alive"] and (node["Resources"].get("GPU") or not on_gpu)]
    most = max((resources.get("CPU", 0) for resources in able), default=0)
    threads = max((entry.plan.engine.threads for entry in entries), default=0)
    if not most:
        what = "a GPU and a core for it" if on_gpu else "a core to spare"
        watcher.say(f"No machine of the cluster has {what}; the runs begin when one joins.")
    elif threads > most:
        raise ConfigError(
            f"A run is to take {threads} threads, and the largest machine of the cluster has {most:g} cores for it: it would wait for ever."
            f" Give --threads {most:g} or less."
        )


def _outcome(reference: Any, title: str, runs: Path) -> Run | TenchError:
    """The run of a task that has ended, or why there is none."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        name = ray.get(reference)
    except RayTaskError as error:
        return error.cause if isinstance(error.cause, TenchError) else TrainingError(f"{title}: {error.cause}.")
    except RayError as error:
        return TrainingError(f"{title} ended {RETRIES + 1} times with its worker: {error}. Its checkpoints are kept.")
    if name == STOPPED:
        return TrainingError(f"{title} was stopped on its machine. The same command goes on with it.")
    return Run.read(runs / name)


def _leave(tasks: list[Any]) -> int:
    """Let each end its step, save and send; those that have not begun never do. Returns how many did not in LEAVE_S."""
    import ray

    for task in tasks:
        ray.cancel(task)
    return len(ray.wait(tasks, num_returns=len(tasks), timeout=LEAVE_S)[1])


def _close(shelf: Any) -> None:
    import ray
    from ray.exceptions import RayError

    with suppress(RayError):  # with the cluster lost there is nothing to close
        ray.get(shelf.close.remote())


def _bring(shelf: Any, runs: Path, watcher: Watcher, holding: set[str], held: ExitStack) -> None:
    """Lay what has come into the driver's runs folder, and hold those runs: to others here they are being trained."""
    import ray

    whole = False
    while not whole:
        delivery = ray.get(shelf.fetch.remote())
        for text in delivery.said:
            watcher.say(text)
        for key, files in delivery.changed.items():
            for folder in {name.partition("/")[0] for name in files} - holding:
                make_folder(runs / folder)
                held.enter_context(Run.held_at(runs / folder))
                holding.add(folder)
            lay_out(runs, files)
            for name in delivery.gone.get(key, ()):
                (runs / name).unlink(missing_ok=True)
        whole = delivery.whole


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
        raise ConfigError("--on ray needs Ray, which is not installed; do `pip install 'tench[cluster]'`.") from None
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
                f"No Ray cluster can be joined at {cluster.address} ({str(error).strip()}). Is one running there"
                " (`RAY_AUTH_MODE=token ray status`)? Has this machine its token, in RAY_AUTH_TOKEN or ~/.ray/auth_token as on the machine"
                " where it was started?"
            ) from None
    try:
        yield
    finally:
        ray.shutdown()
