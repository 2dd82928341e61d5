"""What the benchmarks share: arms run in turn as processes of their own, on a quiet machine, and a table of what came out."""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

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


def busy_share(seconds: float = 2.0) -> float:
    """Share of the processors in use by anything, over `seconds`; 0 where the system does not tell."""

    def idle_and_all() -> tuple[int, int]:
        numbers = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return numbers[3] + numbers[4], sum(numbers)

    if not Path("/proc/stat").exists():
        return 0.0
    idle, everything = idle_and_all()
    time.sleep(seconds)
    idle_after, everything_after = idle_and_all()
    return 1 - (idle_after - idle) / max(everything_after - everything, 1)


def refuse_if_busy(allowed: bool) -> float:
    """Leave with a message where the machine does something else, unless `allowed`; returns the share in use."""
    share = busy_share()
    if share > BUSY_SHARE and not allowed:
        sys.exit(f"Other work uses {share:.0%} of this machine: what is timed now would say nothing. Stop it, or give --busy.")
    return share


def alternate(arms: dict[str, list[str]], rounds: int, environment: dict[str, dict[str, str]] | None = None) -> Measured:
    """Run each arm's command in turn, `rounds` times; the last line each prints is its result, as JSON."""
    found: Measured = {name: [] for name in arms}
    for number in range(rounds):
        for name, command in arms.items():
            env = os.environ | {"PYTHONPATH": str(ROOT / "src")} | (environment or {}).get(name, {})
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


def matrix_rate() -> float:
    """GFLOP/s of a 2048 x 2048 float32 product, in a process of its own."""
    code = (
        "import torch,time\na=torch.rand(2048,2048)\na@a\nb=time.perf_counter();n=0\n"
        "while time.perf_counter()-b<2: a@a; n+=1\nprint(2*2048**3*n/(time.perf_counter()-b)/1e9)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def table(measured: Measured, key: str, unit: str, higher_is_better: bool = True) -> str:
    """Markdown: median and spread of `key` for each arm, and the first arm's gain over it, the median over paired rounds."""
    lines = [f"| | {unit}, median | lowest to highest | first arm is |", "|---|---|---|---|"]
    ours = [line[key] for line in next(iter(measured.values()))]
    for name, rounds in measured.items():
        values = [line[key] for line in rounds]
        ratios = [a / b if higher_is_better else b / a for a, b in zip(ours, values, strict=True)]
        word = "faster" if higher_is_better or key.endswith("_s") else "smaller"
        gain = "" if values is ours or values == ours else f"{median(ratios):.2f} x {word}"
        lines.append(f"| {name} | {median(values):.3g} | {min(values):.3g} to {max(values):.3g} | {gain} |")
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
