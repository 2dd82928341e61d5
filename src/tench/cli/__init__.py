"""The command line: one verb a function, and each a thin layer over the public functions of `tench`."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType

from tench.cli.app import app
from tench.errors import TenchError


def main() -> None:
    """Run the command line. An error of tench's is one message on standard error and its exit code; TENCH_DEBUG=1 shows where."""
    import tench.cli.fetching
    import tench.cli.giving
    import tench.cli.keeping
    import tench.cli.looking
    import tench.cli.reporting
    import tench.cli.serving
    import tench.cli.starting
    import tench.cli.sweeping
    import tench.cli.training
    import tench.cli.using  # noqa: F401 (importing a module adds its verbs to the app)

    # A training listens for itself, and saves; anywhere else there is nothing to save.
    signal.signal(signal.SIGINT, _stop)
    with _own_end():
        try:
            with _part():
                app()
        except TenchError as error:
            if os.environ.get("TENCH_DEBUG"):
                raise
            print(f"tench: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            # What read our output has gone (`tench runs | head`): nothing is wrong, and nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


@contextmanager
def _own_end() -> Iterator[None]:
    """Where torchrun started this process, end it as soon as all is said: Python's own end would abort it ("terminate called without
    an active exception") if a thread that listens for the other processes is still within torch then.
    """
    try:
        yield
    except SystemExit as end:
        if "WORLD_SIZE" not in os.environ:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


@contextmanager
def _part() -> Iterator[None]:
    """This process's part, where torchrun started several: all but the first are silent, and of an error one speaks."""
    if "WORLD_SIZE" not in os.environ:  # nothing else is imported for it
        yield
        return
    from tench.runtime import launched, tune_process

    if launched().size == 1:
        yield
        return
    tune_process()  # before torch is imported
    from tench.training.group import joined

    with joined() as group, ExitStack() as stack:
        if not group.leads:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield


def _stop(number: int, frame: FrameType | None) -> None:
    print("tench: stopped", file=sys.stderr)
    sys.exit(128 + number)
