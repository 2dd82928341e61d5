"""A model in 8-bit integers: a quarter of the bytes, and on processors with units for such products faster (docs/using.md)."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def in_integers(model: bytes, pictures: NDArray[np.uint8]) -> bytes:
    """The ONNX `model` with weights and activations of its convolutions and last layers as 8-bit integers.

    By ONNX Runtime's static quantisation, a scale for every channel; the activations' ranges are those seen on `pictures`, uint8
    RGB (n, height, width, 3), some hundred that the network learnt from.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: Iterator[NDArray[np.uint8]] = (pictures[i : i + 1] for i in range(len(pictures)))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:  # type: ignore[override]
            one = next(self.rest, None)
            return None if one is None else {"pictures": one}

    logging.getLogger().addFilter(_without_advice)
    try:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
            before.write_bytes(model)
            quantize_static(
                before,
                after,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Gemm"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return after.read_bytes()
    finally:
        logging.getLogger().removeFilter(_without_advice)


def _without_advice(record: logging.LogRecord) -> bool:
    """ONNX Runtime advises a step that infers shapes; tench's graphs need none."""
    return "pre-processing" not in record.getMessage()
