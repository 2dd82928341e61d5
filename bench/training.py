"""Training, photographs a second from JPEG files: tench against plain torch, timm's parts and Keras, on the processor.

Each arm trains whole epochs on the same folder of photographs, with augmentation and SGD alike. The first epoch has everything that
comes once (tench decodes all there); the rate is that of the fastest later one. A product of matrices is measured in turn with
the arms: each arm's operations are compared with those of a product in the same precision.
"""

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness import Measured, alternate, arguments, arm, publish, ratio, refuse_if_busy, write_photographs

PRODUCT = "product of matrices"


@dataclass(frozen=True)
class Arm:
    """A way to train: the beginning of its command, its flags, and the precision of its products."""

    command: list[str]
    flags: tuple[str, ...] = ()
    precision: str = "float32"


def arms(bfloat16: bool, keras: str | None) -> dict[str, Arm]:
    """All ways to train; where this machine has no units for bfloat16, tench computes in float32 anyway. `keras`: a Python that has it."""
    ours, plain = arm("train_tench"), arm("train_torch")
    found = {"tench": Arm(ours, precision="bfloat16" if bfloat16 else "float32")}
    if bfloat16:
        found["tench, float32"] = Arm(ours, ("--precision", "float32"))
    found |= {
        "tench, float32, without memory settings": Arm(ours, ("--precision", "float32", "--untuned")),
        "plain torch": Arm(plain),
        "plain torch, channels_last": Arm(plain, ("--channels-last",)),
    }
    if bfloat16:
        found["plain torch, channels_last, bfloat16 autocast"] = Arm(plain, ("--channels-last", "--bfloat16"), "bfloat16")
    found["timm's loop"] = Arm(plain, ("--timm",))
    if keras:
        found["Keras on TensorFlow"] = Arm(arm("train_keras", keras))
    return found


def rates(found: Measured, ways: dict[str, Arm], macs: int) -> str:
    """Markdown: every arm's photographs/s and operations; `found` has the rounds of the arms and of PRODUCT, `macs` are a photograph's."""
    baselines = [name for name in ("tench", "tench, float32") if name in ways]
    titles = ["", "photographs/s", "lowest to highest", "with the first epoch", "whole process, s", "GFLOP/s", "of the product"]
    titles += [f"{name} is" for name in baselines]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, way in ways.items():
        values = _values(found, name, "photographs_per_s")
        gflops = [6 * macs * value / 1e9 for value in values]
        share = median(a / b for a, b in zip(gflops, _values(found, PRODUCT, way.precision), strict=True))
        ours = {other: _values(found, other, "photographs_per_s") for other in baselines}
        cells = [
            name,
            f"{median(values):.3g}",
            f"{min(values):.3g} to {max(values):.3g}",
            f"{median(_values(found, name, 'all_epochs_photographs_per_s')):.3g}",
            f"{median(_values(found, name, 'process_s')):.3g}",
            f"{median(gflops):.0f}",
            f"{share:.0%} of {way.precision}",
            *("" if name == other else f"{ratio(rounds, values):.2f} x as fast" for other, rounds in ours.items()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def words(found: Measured) -> str:
    """What the table does not have: tench's engine, its trial, the time that steps waited, and what a product reached."""
    engines = {name: lines[-1]["engine"] for name, lines in found.items() if "engine" in lines[-1]}
    tried = [line["trial_s"] for name in engines for line in found[name]]
    waits = {name: max(_values(found, name, "waiting_share")) for name, lines in found.items() if "waiting_share" in lines[-1]}
    firsts = [line["first_wait_share"] for lines in found.values() for line in lines if "first_wait_share" in line]
    precisions = [precision for precision in ("float32", "bfloat16") if precision in found[PRODUCT][0]]
    products = ", ".join(f"{median(_values(found, PRODUCT, precision)):.0f} in {precision}" for precision in precisions)
    return (
        f"Engines: {'; '.join(f'{name}: {engine}' for name, engine in engines.items())}. They are what the trial proposes for a long"
        f" training, compiling left out. It is made before the epochs and remembered, so it is in no rate; the first process in need of"
        f" it took {max(tried):.0f} s more. tench's processes also validate after every epoch and score at the end; no other's do."
        f"\n\nShare of the last epoch that its steps waited for pictures, augmentation included, at most:"
        f" {', '.join(f'{name} {share:.1%}' for name, share in waits.items())}. A loader's wait for the first batch of an epoch, which"
        f" weighs less in longer ones, was at most {max(firsts):.1%}."
        f"\n\nThe product reached {products} (GFLOP/s, median)."
    )


def _values(found: Measured, name: str, key: str) -> list[float]:
    return [line[key] for line in found[name]]


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    """The options, each of `sizes` as (side, batch, photographs)."""
    parser = arguments((__doc__ or "").splitlines()[0], rounds=2)
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette, or a folder or archive like it")
    parser.add_argument("--network", default="network_84_8153,googlenet", help="tables of tench's, parted by commas")
    parser.add_argument("--sizes", default="64:64:432,128:32:108,224:32:80", help="SIZE:BATCH:PHOTOGRAPHS, parted by commas")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--keras", help="a Python with tensorflow-cpu, keras and pydantic; without it Keras is left out")
    options = parser.parse_args(words)
    if not options.data:
        parser.error("name the photographs by --data or TENCH_DATA")
    if options.epochs < 2:
        parser.error("--epochs must be 2 or more: the first has everything that comes once")
    options.sizes = [tuple(int(number) for number in entry.split(":")) for entry in options.sizes.split(",")]
    return options


def main() -> None:
    """Measure and print."""
    options = options_of()
    busy, parts, versions = refuse_if_busy(options.busy), [], set[str]()
    from tench.networks.table import builtin_table
    from tench.runtime import choose_engine

    tables = {(name, size): builtin_table(name).resized(size) for name in options.network.split(",") for size, _, _ in options.sizes}
    bfloat16 = choose_engine("cpu").precision == "bfloat16"
    ways = arms(bfloat16, options.keras)
    for size, batch, n in options.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["TENCH_CACHE"] = f"{scratch}/cache"
            folder = Path(scratch) / "photographs"
            write_photographs(options.data, folder, n)
            classes = len(list((folder / "train").iterdir()))
            for network in options.network.split(","):
                macs = tables[network, size].with_classes(classes).macs
                task = [str(folder), network, str(size), str(batch), str(options.epochs)]
                commands = {PRODUCT: [*arm("matrix"), "float32", *(["bfloat16"] if bfloat16 else [])]}
                commands |= {name: [*way.command, *task, *way.flags] for name, way in ways.items()}
                found = alternate(commands, options.rounds)
                versions |= {line["versions"] for lines in found.values() for line in lines if "versions" in line}
                parts += [
                    f"## {network}, {size} x {size}, batches of {batch}, {n} photographs, {options.epochs} epochs",
                    rates(found, ways, macs),
                    words(found),
                ]
    publish("training", "Training from JPEG files, on the processor", parts, options.rounds, busy, options.save, tuple(sorted(versions)))


if __name__ == "__main__":
    main()
