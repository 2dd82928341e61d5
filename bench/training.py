"""Training, photographs a second from JPEG files: tench against plain torch and Keras.

Each arm trains whole epochs on the same folder of photographs, with batch norm, augmentation and SGD alike. The first epoch has
everything that comes once (tench decodes all there); the table has the fastest later epoch, and all epochs together.
"""

import os
import sys
import tempfile
from pathlib import Path

from harness import ROOT, alternate, arguments, matrix_rate, publish, refuse_if_busy, table

ARMS = ROOT / "bench" / "arms"


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette, or a folder or archive like it")
    parser.add_argument("--network", default="network_84_8153")
    parser.add_argument("--sizes", default="64:64:1024,128:32:256,224:32:96", help="SIZE:BATCH:PHOTOGRAPHS, parted by commas")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--keras", help="a Python with tensorflow-cpu, keras and pydantic; without it Keras is left out")
    options = parser.parse_args()
    if not options.data:
        sys.exit("Name the photographs by --data or TENCH_DATA.")
    busy, parts, versions = refuse_if_busy(options.busy), [], ()
    for entry in options.sizes.split(","):
        size, batch, n = (int(number) for number in entry.split(":"))
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["TENCH_CACHE"] = f"{scratch}/cache"
            folder = Path(scratch) / "photographs"
            alternate({"photographs": [sys.executable, str(ARMS / "photographs.py"), options.data, str(folder), str(n)]}, 1)
            task = [str(folder), options.network, str(size), str(batch), str(options.epochs)]
            arms = {
                "tench": [sys.executable, str(ARMS / "train_tench.py"), *task],
                "tench without memory settings": [sys.executable, str(ARMS / "train_tench.py"), *task, "--untuned"],
                "plain torch": [sys.executable, str(ARMS / "train_torch.py"), *task],
                "plain torch, channels_last": [sys.executable, str(ARMS / "train_torch.py"), *task, "--channels-last"],
            }
            if options.keras:
                arms["Keras on TensorFlow"] = [options.keras, str(ARMS / "train_keras.py"), *task]
            rate, found = matrix_rate(), alternate(arms, options.rounds)
        ours = found["tench"]
        reached = max(6 * line["macs"] * line["photographs_per_s"] / 1e9 for line in ours)
        versions = tuple({line["versions"] for line in found.get("Keras on TensorFlow", [])})
        parts += [
            f"## {size} x {size}, batches of {batch}, {n} photographs, {options.epochs} epochs",
            table(found, "photographs_per_s", "photographs/s"),
            "With the first epoch, decoding included:",
            table(found, "all_epochs_photographs_per_s", "photographs/s"),
            f"tench's engine: {ours[-1]['engine']}. Its steps waited for pictures {max(line['waiting_share'] for line in ours):.1%} of the"
            f" time (augmentation included). It reached {reached:.0f} GFLOP/s, where a matrix product reached {rate:.0f} just before.",
        ]
    publish("training", f"Training {options.network} from JPEG files", parts, options.rounds, busy, options.save, versions)


if __name__ == "__main__":
    main()
