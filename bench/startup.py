"""Start-up: how long the command line takes to say something."""

import subprocess
import sys
import time
from pathlib import Path

from harness import arguments, publish, refuse_if_busy, table

COMMANDS = {
    "tench --help": ["--help"],
    "tench networks": ["networks"],
    "tench train --help": ["train", "--help"],
    "tench --version": ["--version"],
}


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=15).parse_args()
    busy = refuse_if_busy(options.busy)
    tench = str(Path(sys.executable).parent / "tench")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    for number in range(options.rounds + 1):
        for name, words in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([tench, *words], capture_output=True, check=True)
            if number:  # the first time files come from the disk
                found[name].append({"start_s": time.perf_counter() - began})
    publish("startup", "Start-up", [table(found, "start_s", "s")], options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
