"""The command line: one verb a function, and each a thin layer over the public functions of `tench`."""

import os
import signal
import sys
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
    import tench.cli.training
    import tench.cli.using  # noqa: F401 (importing a module adds its verbs to the app)

    # A training listens for itself, and saves; anywhere else there is nothing to save.
    signal.signal(signal.SIGINT, _stop)
    try:
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


def _stop(number: int, frame: FrameType | None) -> None:
    print("tench: stopped", file=sys.stderr)
    sys.exit(128 + number)
