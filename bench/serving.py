"""Serving: how long one photograph's answer takes, `tench serve` over HTTP against ONNX Runtime alone on the same picture."""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from harness import Measured, alternate, arguments, arm, publish, refuse_if_busy, table, write_photographs

TENCH, ALONE = "tench serve, POST /api/predict", "ONNX Runtime in one process"


def parts_of(found: Measured, clients: list[int]) -> list[str]:
    """A table a number of clients and quantile."""
    parts = []
    for number in clients:
        lines = {engine: found[f"{engine}, {number}"] for engine in (TENCH, ALONE)}
        asked = lines[TENCH][0]["requests"]
        parts.append(f"## {number} at once, keep-alive, {asked} requests a round")
        parts += [table(lines, key, f"{key[:3]}, s") for key in ("p50_s", "p99_s")]
    answers = {engine: found[f"{engine}, {clients[0]}"][-1]["probability"] for engine in (TENCH, ALONE)}
    told = ", ".join(f"{engine} {probability:.6f}" for engine, probability in answers.items())
    parts.append(f"The highest probability: {told} (a run's by tench is at its fitted temperature).")
    return parts


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--model", default="googlenet", help="a run, or googlenet with its thousand classes")
    parser.add_argument("--weights", default=os.environ.get("TENCH_WEIGHTS"), help="GoogLeNet's")
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette, or a folder or archive like it")
    parser.add_argument("--photograph", help="one file, instead of the first photograph of --data")
    parser.add_argument("--clients", default="1,8", help="at once; several numbers with commas")
    parser.add_argument("--requests", type=int, default=200, help="of each client, in each round")
    options = parser.parse_args()
    if not (options.data or options.photograph):
        sys.exit("Name the photographs by --data or TENCH_DATA, or one by --photograph.")
    busy = refuse_if_busy(options.busy)
    import tench
    from tench.networks.onnx_graph import onnx_model
    from tench.predict import Recogniser

    network = tench.load(options.model, weights=options.weights, classes="all")
    assert isinstance(network, Recogniser)
    size, clients = network.preprocessing.height_px, [int(number) for number in options.clients.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        onnx = Path(scratch) / "model.onnx"
        onnx.write_bytes(onnx_model(network.module))
        photograph = Path(options.photograph) if options.photograph else _first(options.data, Path(scratch) / "photographs")
        task = [options.model, str(onnx), str(photograph), "--size", str(size), "--requests", str(options.requests)]
        task += ["--weights", options.weights] if options.weights else []
        arms = {
            f"{name}, {number}": [*arm("serve"), engine, *task, "--clients", str(number)]
            for number in clients
            for name, engine in ((TENCH, "tench"), (ALONE, "onnxruntime"))
        }
        found = alternate(arms, options.rounds)
    used = tuple(f"{package} {version(package)}" for package in ("onnxruntime", "fastapi", "uvicorn"))
    publish("serving", f"Serving {options.model}: latency", parts_of(found, clients), options.rounds, busy, options.save, used)


def _first(data: str, folder: Path) -> Path:
    write_photographs(data, folder, 10)
    return min((folder / "train").rglob("*.JPEG"))


if __name__ == "__main__":
    main()
