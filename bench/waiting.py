"""How long threads should spin while they wait for each other: a training step by libgomp's GOMP_SPINCOUNT, alone and beside other work."""

import os
import subprocess
from contextlib import ExitStack

from harness import ROOT, Measured, alternate, arguments, arm, publish, refuse_if_busy, table

SPINS = ("100", "1000", "10000")
FOREVER_S = 86_400


def measured(task: list[str], rounds: int, beside: int) -> Measured:
    """Steps under every setting, beside so many other trainings with threads that wait as they come."""
    arms = {"as it comes": {}} | {f"GOMP_SPINCOUNT={spins}": {"GOMP_SPINCOUNT": spins} for spins in SPINS}
    own = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    with ExitStack() as stack:
        for _ in range(beside):
            other = subprocess.Popen([*arm("step"), *task[:3], str(FOREVER_S)], env=own | {"PYTHONPATH": str(ROOT / "src")})
            stack.callback(other.wait)
            stack.callback(other.kill)
        return alternate({name: [*arm("step"), *task] for name in arms}, rounds, arms)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--network", default="network_84_8153")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=6.0, help="of steps in each round")
    parser.add_argument("--beside", type=int, default=2, help="other trainings, in the second part")
    options = parser.parse_args()
    busy = refuse_if_busy(options.busy)
    task = [options.network, str(options.size), str(options.batch), str(options.seconds)]
    what = f"{options.network} at {options.size} px, batches of {options.batch}"
    parts = [f"## {what}, nothing beside", table(measured(task, options.rounds, 0), "step_s", "s a step")]
    parts += [
        f"## The same beside {options.beside} other trainings",
        table(measured(task, options.rounds, options.beside), "step_s", "s a step"),
    ]
    publish("waiting", "Threads that wait for each other", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
