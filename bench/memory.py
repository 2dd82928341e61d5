"""Memory: peak of a training at 224 pixels, batches of 32 and 128, and what of it is the process's own."""

import os
import sys
import tempfile
from pathlib import Path

from harness import alternate, arguments, arm, publish, refuse_if_busy, table, write_photographs


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette, or a folder or archive like it")
    parser.add_argument("--network", default="network_84_8153")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", default="32,128")
    options = parser.parse_args()
    if not options.data:
        sys.exit("Name the photographs by --data or TENCH_DATA.")
    busy = refuse_if_busy(options.busy)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TENCH_CACHE"] = f"{scratch}/cache"
        folder = Path(scratch) / "photographs"
        batches = [int(number) for number in options.batches.split(",")]
        write_photographs(options.data, folder, 3 * max(batches))
        task = [*arm("memory"), str(folder), options.network, str(options.size)]
        arms = {f"batches of {number}": [*task, str(number)] for number in batches}
        arms |= {f"batches of {number}, without memory settings": [*task, str(number), "--untuned"] for number in batches}
        found = alternate(arms, options.rounds)
    parts = [
        f"Products are computed in {next(iter(found.values()))[0]['precision']}.",
        "Peak of the whole process:",
        table(found, "peak_mib", "MiB"),
        "Of its own (weights, activations, torch's heap), the highest after a step:",
        table(found, "own_mib", "MiB"),
        "Mapped from files (libraries, and the decoded pictures, which the system may drop at any time):",
        table(found, "mapped_mib", "MiB"),
    ]
    publish("memory", f"Memory of training {options.network} at {options.size} pixels", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
