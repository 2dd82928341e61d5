"""Several trainings on one machine: one after the other, and on a Ray cluster of one and of as many workers as there are cores."""

import os

from harness import alternate, arguments, arm, publish, refuse_if_busy, table


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=2)
    parser.add_argument("--network", default="network_84_8153")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    busy = refuse_if_busy(options.busy)
    cores = os.cpu_count() or 1
    task = [str(options.seeds), str(options.epochs), str(options.size), options.network]
    arms = {
        f"{cores} workers, one thread each": (cores, 1),
        "one worker, one thread": (1, 1),
        "no cluster, one thread": (0, 1),
        f"no cluster, {cores} threads": (0, cores),
    }
    commands = {name: [*arm("study"), str(workers), str(threads), *task] for name, (workers, threads) in arms.items()}
    found = alternate(commands, options.rounds, {name: {"RAY_USAGE_STATS_ENABLED": "0"} for name in arms})
    what = f"{options.seeds} seeds of {options.network}, {options.size} px, {options.epochs} epochs of the demo pictures"
    parts = [f"## {what}, the whole study", table(found, "study_s", "s")]
    parts += ["## The sum of their epochs alone", table(found, "epochs_s", "s")]
    publish("scaling", "Several trainings on one machine", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
