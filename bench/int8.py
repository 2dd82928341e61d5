"""Whether a bundle's model is worth having in 8-bit integers: accuracy on the test pictures and time, against float32."""

import os
import time
from statistics import median

import numpy as np
from harness import arguments, publish, refuse_if_busy

CALIBRATED, TIMED = 200, 256


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("runs", nargs="+", help="finished runs (folders), with weights and their pictures at hand")
    options = parser.parse_args()
    busy = refuse_if_busy(options.busy)
    from tench.bundle.integers import in_integers
    from tench.data.cache import decoded
    from tench.data.roles import roles_of
    from tench.data.sources import open_source
    from tench.inference import session
    from tench.networks.onnx_graph import onnx_model
    from tench.records import load_run
    from tench.runtime import choose_engine
    from tench.training.plan import trained

    engine = choose_engine("cpu")
    lines = [
        "| network | numbers | top-1 % of the test pictures | size, MB | batches of 32, pictures/s | one picture, ms |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.runs:
        run = load_run(name)
        source = open_source(run.local().get("data") or os.environ.get("TENCH_DATA"))
        network = trained(run, engine)
        parts = roles_of(source, run.record)
        pixels = decoded(source, network.preprocessing)
        labels = np.array([picture.label for picture in source.pictures])
        model = onnx_model(network)
        models = {"float32": model, "int8": in_integers(model, pixels[parts.fit[:: max(1, len(parts.fit) // CALIBRATED)]])}
        runners = {kind: session(content, engine.threads) for kind, content in models.items()}
        rates: dict[str, list[float]] = {kind: [] for kind in models}
        single: dict[str, list[float]] = {kind: [] for kind in models}
        sample = pixels[parts.test[:TIMED]]
        for _ in range(options.rounds):
            for kind, compute in runners.items():
                began = time.perf_counter()
                for first in range(0, TIMED, 32):
                    compute(["logits"], sample[first : first + 32])
                rates[kind].append(TIMED / (time.perf_counter() - began))
                began = time.perf_counter()
                for i in range(20):
                    compute(["logits"], sample[i : i + 1])
                single[kind].append(1000 * (time.perf_counter() - began) / 20)
        for kind, compute in runners.items():
            right = sum(
                int((compute(["logits"], pixels[batch])[0].argmax(1) == labels[batch]).sum())
                for batch in np.array_split(parts.test, max(1, len(parts.test) // 64))
            )
            spread = f"{median(rates[kind]):.0f} ({min(rates[kind]):.0f} to {max(rates[kind]):.0f})"
            one = f"{median(single[kind]):.2f} ({min(single[kind]):.2f} to {max(single[kind]):.2f})"
            share = f"{100 * right / len(parts.test):.2f}"
            lines.append(f"| {run.record.network.name} | {kind} | {share} | {len(models[kind]) / 1e6:.1f} | {spread} | {one} |")
    publish("int8", "Bundles in 8-bit integers", ["\n".join(lines)], options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
