"""Transfer: a new last layer for GoogLeNet from JPEG files to a score, against passing through the frozen network every epoch."""

import os
import sys
import tempfile
from pathlib import Path

from harness import alternate, arguments, arm, publish, refuse_if_busy, table, write_photographs


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette, or a folder or archive like it")
    parser.add_argument("--weights", default=os.environ.get("TENCH_WEIGHTS"), help="GoogLeNet's")
    parser.add_argument("--photographs", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=6, help="of plain torch: MATLAB's example has 6; 0: without it")
    options = parser.parse_args()
    if not (options.data and options.weights):
        sys.exit("Name the photographs by --data or TENCH_DATA, GoogLeNet's weights by --weights or TENCH_WEIGHTS.")
    busy = refuse_if_busy(options.busy)
    from tench.networks.onnx_graph import onnx_model
    from tench.networks.pretrained import find_googlenet_weights, load_googlenet

    weights = find_googlenet_weights(Path(options.weights))
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch) / "photographs", Path(scratch) / "googlenet.onnx"
        write_photographs(options.data, folder, options.photographs)
        model.write_bytes(onnx_model(load_googlenet(weights), ("features",)))
        task = [str(folder), str(weights), str(model)]
        arms = {
            "tench": [*arm("transfer"), "tench", *task],
            "one pass of ONNX Runtime, no head": [*arm("transfer"), "onnxruntime", *task],
        }
        if options.epochs:
            arms[f"plain torch, {options.epochs} epochs"] = [*arm("transfer"), "torch", *task, "--epochs", str(options.epochs)]
        found = {name: [] for name in arms}
        for number in range(options.rounds):  # a cache of its own for every round: the first time is what is asked for
            os.environ["TENCH_CACHE"] = f"{scratch}/cache-{number}"
            for name, lines in alternate(arms, 1).items():
                found[name] += lines
    parts = [
        f"## {options.photographs} photographs to learn from, {options.photographs // 8} to score",
        table(found, "first_s", "s"),
        "## Again, with what tench kept",
        table(found, "again_s", "s"),
    ]
    publish("transfer", "A new last layer for GoogLeNet, from JPEG files to a score", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
