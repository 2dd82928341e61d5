"""Inference: GoogLeNet on one photograph and on a thousand, from files: tench against engines used by hand."""

import os
import sys
import tempfile
from pathlib import Path

from harness import ROOT, alternate, arguments, publish, refuse_if_busy, table

ARMS = ROOT / "bench" / "arms"


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--data", default=os.environ.get("TENCH_DATA"), help="Imagenette, or a folder or archive like it")
    parser.add_argument("--weights", default=os.environ.get("TENCH_WEIGHTS"), help="GoogLeNet's")
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--openvino", help="a Python with openvino, numpy and pillow; without it OpenVINO is left out")
    options = parser.parse_args()
    if not (options.data and options.weights):
        sys.exit("Name the photographs by --data or TENCH_DATA, GoogLeNet's weights by --weights or TENCH_WEIGHTS.")
    busy = refuse_if_busy(options.busy)
    from tench.networks.onnx_graph import onnx_model
    from tench.networks.pretrained import find_googlenet_weights, load_googlenet

    weights = find_googlenet_weights(Path(options.weights))
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch) / "photographs", Path(scratch) / "googlenet.onnx"
        alternate({"photographs": [sys.executable, str(ARMS / "photographs.py"), options.data, str(folder), str(options.photographs)]}, 1)
        model.write_bytes(onnx_model(load_googlenet(weights)))
        task = [str(folder / "train"), str(model), "--weights", str(weights)]
        arms = {
            "tench": [sys.executable, str(ARMS / "infer.py"), "tench", *task],
            "torch eager": [sys.executable, str(ARMS / "infer.py"), "torch", *task],
            "ONNX Runtime by hand": [sys.executable, str(ARMS / "infer.py"), "onnxruntime", *task],
        }
        if options.openvino:
            arms["OpenVINO by hand"] = [options.openvino, str(ARMS / "infer.py"), "openvino", *task]
        found = alternate(arms, options.rounds)
    parts = [
        f"## {options.photographs} photographs",
        table(found, "photographs_per_s", "photographs/s"),
        "## One photograph, the engine being loaded",
        table(found, "one_s", "s", higher_is_better=False),
    ]
    publish("inference", "Inference of GoogLeNet from JPEG files", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
