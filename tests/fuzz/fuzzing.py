"""What the fuzzers share: any exception that is not tench's own is a finding, and libFuzzer stops with it.

By hand: python tests/fuzz/fuzz_table.py -max_total_time=600 (options are libFuzzer's).
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

from tench.errors import TenchError


def fuzz(one: Callable[[bytes], object], start: list[bytes]) -> None:
    """Run `one` on inputs that libFuzzer grows from those of `start`, until it is told to stop."""

    def guarded(data: bytes) -> None:
        with suppress(TenchError):
            one(data)

    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(start):
            (Path(folder) / f"{number}").write_bytes(content)
        # What libFuzzer finds new goes into the first folder and is gone at the end; a finding is written where it was started.
        atheris.Setup([*sys.argv, "-timeout=20", "-rss_limit_mb=4096", "-keep_seed=1", "-len_control=0", folder], guarded)
        atheris.Fuzz()
