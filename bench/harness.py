"""What the benchmarks share: arms run in turn as processes of their own, on a quiet machine, and a table of what came out."""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tench.runtime import used_by_others

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
BUSY_SHARE = 0.15
"""Share of the processors that other work may use before a benchmark refuses to measure."""

Measured = dict[str, list[dict[str, Any]]]


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each arm is run, in turn")
    parser.add_argument("--save", action="store_true", help=f"write the table into {RESULTS.relative_to(ROOT)} too")
    parser.add_argument("--busy", action="store_true", help="measure although other work runs here; the table says so")
    return parser


def refuse_if_busy(allowed: bool) -> float:
    """Leave with a message where the machine does something else, unless `allowed`; returns the share in use."""
    share = used_by_others(2.0)
    if share > BUSY_SHARE and not allowed:
        sys.exit(f"Other work uses {share:.0%} of this machine: what is timed now would say nothing. Stop it, or give --busy.")
    return share


def alternate(arms: dict[str, list[str]], rounds: int, environment: dict[str, dict[str, str]] | None = None) -> Measured:
    """Run each arm's command in turn, `rounds` times; the last line each prints is its result, as JSON."""
    found: Measured = {name: [] for name in arms}
    for number in range(rounds):
        for name, command in arms.items():
            # Threads are what an arm takes by itself, whatever the shell or a launcher has set.
            own = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
            env = own | {"PYTHONPATH": str(ROOT / "src")} | (environment or {}).get(name, {})
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
            if done.returncode:
                sys.exit(f"{name} failed:\n{' '.join(command)}\n{done.stderr[-3000:]}")
            line = json.loads(last_json(done.stdout))
            line["process_s"] = time.perf_counter() - began
            found[name].append(line)
            print(f"round {number + 1}, {name}: {line}", file=sys.stderr, flush=True)
    return found


def last_json(text: str) -> str:
    """The last line of `text` that looks like an object, or an empty one."""
    return next((line for line in reversed(text.splitlines()) if line.startswith("{")), "{}")


def matrix_rate(precision: str = "float32") -> float:
    """GFLOP/s of a 2048 x 2048 product in `precision` ("float32" or "bfloat16"), in a process of its own."""
    done = subprocess.run([*arm("matrix"), precision], capture_output=True, text=True, check=True)
    return float(json.loads(last_json(done.stdout))[precision])


def arm(name: str, python: str = sys.executable) -> list[str]:
    """The beginning of the command that runs `arms/NAME.py`, by this Python or another."""
    return [python, str(ROOT / "bench" / "arms" / f"{name}.py")]


def write_photographs(data: str, folder: Path, n: int) -> None:
    """Write `n` training photographs of `data` and an eighth as many to score, as JPEG files below `folder`."""
    alternate({"photographs": [*arm("photographs"), data, str(folder), str(n)]}, 1)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """`ours` divided by `theirs`: the median of the rounds, each compared with its own."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def table(measured: Measured, key: str, unit: str) -> str:
    """Markdown: median and spread of `key` for each arm, and what the first arm is beside it, the median over paired rounds.

    Keys that end in _per_s are rates and those in _s times, of which the first arm's speed is given; others are amounts.
    """
    lines = [f"| | {unit}, median | lowest to highest | first arm is |", "|---|---|---|---|"]
    ours = [line[key] for line in next(iter(measured.values()))]
    for number, (name, rounds) in enumerate(measured.items()):
        values = [line[key] for line in rounds]
        if key.endswith("_s") and not key.endswith("_per_s"):
            beside = f"{ratio(values, ours):.2f} x as fast"
        else:
            beside = f"{ratio(ours, values):.2f} x as {'fast' if key.endswith('_per_s') else 'much'}"
        spread = f"{min(values):.3g} to {max(values):.3g}"
        lines.append(f"| {name} | {median(values):.3g} | {spread} | {beside if number else ''} |")
    return "\n".join(lines)


def publish(name: str, title: str, parts: list[str], rounds: int, busy: float, save: bool, versions: tuple[str, ...] = ()) -> None:
    """Print a benchmark's page and, if asked, write it with its date."""
    from tench.config import Engine
    from tench.runtime import machine_facts, now
    from tench.runtime import versions as own_versions

    machine = machine_facts(Engine())
    used = ", ".join([f"{package} {number}" for package, number in own_versions().items()] + list(versions))
    text = "\n\n".join(
        [
            f"# {title}",
            f"{now()}; {machine.processor}, {machine.cores} cores, {machine.memory_mib:,} MiB, {machine.system}; {used}."
            f" A 2048 x 2048 float32 product: {matrix_rate():.0f} GFLOP/s just after. Arms in turn, {rounds} rounds;"
            f" other work used {busy:.0%} of the machine before.",
            *parts,
            f"Made by `python bench/{name}.py {' '.join(sys.argv[1:])}`.".replace(" `.", "`."),
        ]
    )
    print(text)
    if save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.md"
        path.write_text(text + "\n", encoding="utf-8")
        print(f"Written to {path}", file=sys.stderr)
