"""Inference: GoogLeNet on one photograph and on a thousand, from files: tench against engines used by hand."""

import os
import sys
import tempfile
from pathlib import Path

from harness import Measured, alternate, arguments, arm, publish, refuse_if_busy, table, write_photographs

REFERENCE = "torch eager"


def differences(found: Measured) -> str:
    """How far each engine's highest probability of the same photographs is from that of REFERENCE, in words."""
    reference = found[REFERENCE][-1]["answers"]
    furthest = {
        name: max(abs(a - b) for a, b in zip(lines[-1]["answers"], reference, strict=True))
        for name, lines in found.items()
        if name != REFERENCE
    }
    listed = ", ".join(f"{name} {difference:.0e}" for name, difference in furthest.items())
    return f"Largest difference from {REFERENCE} in the highest probability of {len(reference)} photographs: {listed}."


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
    from tench.runtime import choose_engine

    weights = find_googlenet_weights(Path(options.weights))
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch) / "photographs", Path(scratch) / "googlenet.onnx"
        write_photographs(options.data, folder, options.photographs)
        model.write_bytes(onnx_model(load_googlenet(weights)))
        task = [str(folder / "train"), str(model), "--weights", str(weights)]
        arms = {
            "tench": [*arm("infer"), "tench", *task],
            REFERENCE: [*arm("infer"), "torch", *task],
            "ONNX Runtime by hand": [*arm("infer"), "onnxruntime", *task],
        }
        if choose_engine("cpu").precision == "bfloat16":
            arms["torch, channels_last, bfloat16 autocast"] = [*arm("infer"), "torch", *task, "--precision", "bfloat16"]
        if options.openvino:
            arms["OpenVINO by hand, as it comes"] = [*arm("infer", options.openvino), "openvino", *task]
            arms["OpenVINO by hand, float32"] = [*arms["OpenVINO by hand, as it comes"], "--precision", "float32"]
        found = alternate(arms, options.rounds)
    parts = [
        f"## {options.photographs} photographs",
        table(found, "photographs_per_s", "photographs/s"),
        "## One photograph, the engine being loaded",
        table(found, "one_s", "s"),
        differences(found),
    ]
    publish("inference", "Inference of GoogLeNet from JPEG files", parts, options.rounds, busy, options.save)


if __name__ == "__main__":
    main()
