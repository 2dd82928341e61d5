"""What bundle.json says. Needs no torch."""

from typing import Literal

from pydantic import Field

from tench.config import Frozen, Preprocessing
from tench.records import ClassFacts, DataFacts, MachineFacts, NetworkFacts, Result

Numbers = Literal["float32", "int8"]

FACTS, MODEL, GOLDEN, CARD = "bundle.json", "model.onnx", "golden.npz", "README.md"


class Parity(Frozen):
    """How near the ONNX model's answers were to torch's when the bundle was written."""

    n: int
    """Pictures of the run's own data, test pictures first."""
    largest_difference: float
    """Of the logits, as a share of the largest one."""
    agreed: int
    """Pictures to which both gave the same answer."""
    torch_correct: int
    """Right answers of torch's float32 on those pictures, and of the model, `correct`."""
    correct: int
    by: str
    """The engine and its version."""


class BundleFacts(Frozen):
    """bundle.json: all that is known of the network, and the hashes of the other files."""

    schema_version: Literal[1] = 1
    made: str
    """ISO 8601 with time zone."""
    run_id: str
    network: NetworkFacts
    classes: tuple[ClassFacts, ...] = Field(min_length=1)
    preprocessing: Preprocessing
    """The model's input is uint8 RGB of this size; it does all else itself."""
    data: DataFacts
    recipe: str
    seed: int
    result: Result
    machine: MachineFacts
    versions: dict[str, str]
    parity: Parity
    numbers: Numbers = "float32"
    """In which the model computes."""
    files: dict[str, str]
    """sha256 of every other file, by its name."""
