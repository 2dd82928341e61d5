"""Threads that wait for each other: a training step on all cores and on one, alone and beside other work, by how long libgomp spins."""

import os

from harness import Measured, alternate, arguments, arm, publish, refuse_if_busy, table

SPINS = ("1000", "100000")
BESIDE = {"nothing": "nothing beside", "busy": "beside a program that keeps a core busy", "same": "beside another of the same"}


def measured(task: list[str], seconds: float, rounds: int, beside: str) -> Measured:
    """Steps in every way, beside the same."""
    cores = os.cpu_count() or 1
    ways = {f"{cores} threads": (cores, {}), "one thread": (1, {})}
    ways |= {f"{cores} threads, GOMP_SPINCOUNT={spins}": (cores, {"GOMP_SPINCOUNT": spins}) for spins in SPINS}
    commands = {name: [*arm("step"), *task, str(threads), str(seconds), beside] for name, (threads, _) in ways.items()}
    return alternate(commands, rounds, {name: environment for name, (_, environment) in ways.items()})


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=4)
    parser.add_argument("--network", default="network_84_8153")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=6.0, help="of steps in each round")
    options = parser.parse_args()
    busy = refuse_if_busy(options.busy)
    task = [options.network, str(options.size), str(options.batch)]
    parts = []
    for beside, words in BESIDE.items():
        found = measured(task, options.seconds, options.rounds, beside)
        parts += [f"## {options.network}, {options.size} px, batches of {options.batch}: {words}", table(found, "step_s", "s a step")]
    publish("waiting", "Threads that wait for each other", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
