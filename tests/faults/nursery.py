"""A process that has imported torch once and forks others from it: each is real and can be killed, and none costs seconds to start.

Run as a program it is that process; imported it is how a test speaks to it.
"""

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

WARM = ("torch._dynamo", "sklearn.metrics", "scipy.stats", "rich.progress", "tench.cli", "tench.cli.training", "tench.console", "tench.api")
WARM += ("tench.training.train", "tench.comparison", "tench.networks.pretrained", "tench.data.sources")
"""Imported before the first fork."""


class Child:
    """One forked process, of which `Nursery.start` tells."""

    def __init__(self, pid: int, answers: Any) -> None:
        self.pid = pid
        self.code: int | None = None
        """Its exit code, or minus the signal that killed it; None while it lives."""
        self._answers = answers

    def began(self) -> bool:
        """Wait until its training begins; False if it ended before."""
        return self._next() == "began"

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal, unless it has ended, and wait for its end."""
        if self.code is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        while self.code is None:
            self._next()
        return self.code

    def _next(self) -> str:
        word, *rest = str(self._answers.readline()).split()
        if word == "ended":
            self.code = int(rest[0])
        return word


class Nursery:
    """Forks children one after the other."""

    def __init__(self) -> None:
        environment = os.environ | {"TENCH_NO_TUNING": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )

    def start(self, **request: Any) -> Child:
        """A child that does what `carried_out` says of the request; the one before must have ended."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request, default=str) + "\n")
        return Child(int(self.process.stdout.readline()), self.process.stdout)

    def run(self, **request: Any) -> int:
        """The same, waited for."""
        return self.start(**request).wait()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@cache
def nursery(number: int = 0) -> Nursery:
    """One for all tests of this process, and a second one for two children at once."""
    made = Nursery()
    atexit.register(made.end)
    return made


def carried_out(request: dict[str, Any]) -> int:
    """In a child: `words` for the command line, or a training with `net`, `data`, `recipe`, `options`, `runs`."""
    sys.stdin.close()
    for stream in (1, 2):
        os.dup2(os.open(request.get("output", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(request.get("environment", {}))
    if limit := request.get("memory_bytes"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _fault(request)
    if "words" in request:
        import tench.cli

        sys.argv = ["tench", *request["words"]]
        tench.cli.main()
        return 0
    _trained(request)
    return 0


def _fault(request: dict[str, Any]) -> None:
    """How often checkpoints are made, and the call of fsync before which the process kills itself (from 1; none: it does not)."""
    from tench.training import loop

    loop.SAVE_EVERY_S = request.get("save_every_s", loop.SAVE_EVERY_S)
    epoch = loop.Training._epoch

    def first_epoch(self: Any) -> None:
        os.write(TELL, b"began\n")
        loop.Training._epoch = epoch  # type: ignore[method-assign]
        epoch(self)

    loop.Training._epoch = first_epoch  # type: ignore[method-assign]
    left, really = [request.get("kill_at_sync", 0)], os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        really(descriptor)

    os.fsync = fsync


def _trained(request: dict[str, Any]) -> None:
    from tench.config import Engine, load_recipe
    from tench.data.sources import open_source
    from tench.networks.reference import network
    from tench.records import list_runs
    from tench.training.plan import Plan
    from tench.training.train import resume, train

    recipe, runs = load_recipe(request["recipe"]), Path(request["runs"])
    engine = Engine(threads=1, compiled=request.get("compiled", False))
    plan = Plan(network(request["net"]), open_source(request["data"]), recipe, recipe.resolve(request["options"]), engine)
    begun = list_runs(runs).runs
    if begun:
        resume(begun[0], plan)
    else:
        train(plan, runs, compiled=engine.compiled)


def _serve() -> None:
    for name in WARM:
        importlib.import_module(name)

    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)  # until its number is told
            code = 99
            try:
                code = carried_out(json.loads(line))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(bool(end.code))
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.write(TELL, f"{pid}\n".encode())
        os.write(writing, b".")
        os.close(reading)
        os.close(writing)
        _, status = os.waitpid(pid, 0)
        os.write(TELL, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    TELL = os.dup(1)
    _serve()
