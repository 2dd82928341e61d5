"""What a run folder says about its run: frozen, versioned values, written as JSON that any program can read."""

import math
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from tench.config import Frozen

SCHEMA_VERSION = 1

Status = Literal["running", "interrupted", "failed", "finished"]
Kind = Literal["train", "transfer", "evaluate", "untrained"]


def finite(value: Any) -> Any:
    """`value` with every NaN and infinity, at any depth, as None (JSON has neither), and numpy's numbers as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value


class Fact(Frozen):
    """A frozen part of a record, without NaN or infinity; attributes of a dataclass may be given in its place."""

    model_config = ConfigDict(from_attributes=True)

    @model_validator(mode="before")
    @classmethod
    def _finite(cls, values: Any) -> Any:
        return finite(values)


class Score(Fact):
    """Right answers among pictures, with the Wilson 95 % interval of their share; shares are 0 to 1."""

    correct: int = Field(ge=0)
    n: int = Field(ge=1)
    top1: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class ClassFacts(Fact):
    """A class in the order of the network's outputs: its folder's name, its words, its place among ImageNet's 1,000."""

    id: str
    english: str
    polish: str
    imagenet_index: int | None = None


class ClassScore(Fact):
    """How one class was recognised. A share whose divisor is 0 is given as 0 and named in `undefined`."""

    id: str
    n: int
    correct: int
    precision: float
    recall: float
    f1: float
    undefined: tuple[Literal["precision", "recall", "f1"], ...] = ()


class NetworkFacts(Fact):
    """The network of a run, complete enough to build it again."""

    name: str
    origin: str
    """published, reconstructed, classical, tench or own."""
    kind: Literal["table", "module", "timm", "torchvision"]
    text: str
    """The table in tench's notation; for other kinds the reference it was made from."""
    parameters: int
    macs: int
    """Multiply-adds of one picture at `input_px`."""
    counted: Literal["table", "module"]
    input_px: int
    weights_sha256: str | None = None
    """Of the pretrained weights it started from; none: from random ones."""
    pretrained_on: str | None = None
    """What those weights were trained on, such as "ImageNet-1k"."""


class DataFacts(Fact):
    """The pictures of a run: which, how many in each role, and what was left out."""

    name: str
    kind: str
    sha256: str
    is_demo: bool
    classes: tuple[ClassFacts, ...]
    n_fit: int = 0
    n_select: int = 0
    n_test: int = 0
    n_unseen: int | None = None
    """Scored pictures that the pretraining never saw; none: not known, or nothing was pretrained."""
    share: float = 1.0
    test_share: float = 1.0
    left_out: tuple[str, ...] = ()
    """Training pictures kept out on purpose, so that they can be scored as never seen."""
    seen_sha256: str | None = None
    """Of what the user's list of pictures seen in pretraining says of these; none: no list was given."""
    skipped: dict[str, str] = Field({})
    """Pictures that could not be read, and why."""
    never_shown: tuple[str, ...] = ()
    """Pictures of `fit` that the last partial batch drops in every epoch, when the order is shuffled once."""


class MachineFacts(Fact):
    """The machine of a run."""

    system: str
    processor: str
    cores: int
    """Cores this process may use."""
    memory_mib: int | None = None
    accelerator: str | None = None
    load_average_at_start: float | None = None
    """How busy the machine was, as the mean number of waiting processes of the last minute."""


class Result(Fact):
    """What came out. The first five fields are of the test pictures; times are seconds, losses nats a picture."""

    correct: int = Field(ge=0)
    n: int = Field(ge=1)
    top1: float = Field(ge=0, le=1)
    top1_low: float = Field(ge=0, le=1)
    top1_high: float = Field(ge=0, le=1)
    nll: float | None = None
    ece: float | None = None
    """Expected calibration error, 15 equal bins."""
    per_class: tuple[ClassScore, ...] = ()
    unseen: Score | None = None
    """Of the pictures the pretraining never saw, test pictures or kept out of training."""
    seen: Score | None = None
    """Of the test pictures the pretraining saw."""
    select_top1: float | None = None
    select_loss: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    """The best on `select`; whether its weights are the run's, `RunRecord.weights_epoch` says."""
    stopped_because: str | None = None
    train_s: float | None = None
    """Steps of training alone."""
    wall_s: float | None = None
    """Everything from the start to the result, interruptions left out."""
    pictures_shown: int | None = None
    training_flop: float | None = None
    """Operations of the steps by the table: 6 x multiply-adds of what a step sees x pictures shown."""
    solver_flop: float | None = None
    """Operations of the solver's own matrix products (Muon's), beside those."""
    scored_by: str | None = None
    """The engine that computed the scores, and how near its answers were to torch's."""
    weights_sha256: str | None = None


class RunRecord(Fact):
    """record.json of a run folder. Holds no path of the machine: those are in local.json."""

    schema_version: Literal[1] = 1
    run_id: str
    identity: str
    """sha256 of what defines the run (`run_identity`); its first eight digits end `run_id`."""
    status: Status = "running"
    kind: Kind
    created: str
    """ISO 8601 with time zone, like `finished`."""
    finished: str | None = None
    study: str | None = None
    row: str | None = None
    network: NetworkFacts
    data: DataFacts
    recipe: str
    rules: dict[str, Any]
    options: dict[str, Any]
    transfer: dict[str, Any] | None = None
    """Transfer options, where something was transferred."""
    engine: dict[str, Any]
    preprocessing: dict[str, Any]
    rule_differences: tuple[str, ...] = ()
    """Every rule by which this run differs from the other set of rules, in words."""
    machine: MachineFacts
    versions: dict[str, str]
    code_sha256: str
    seed: int
    result: Result | None = None
    failure: str | None = None
    """Why it failed, for a failed run."""
    notes: tuple[str, ...] = ()
    reported_accuracy: float | None = None
    reported_correct: int | None = None

    @property
    def precision(self) -> str:
        """Of the products in its training."""
        return str(self.engine.get("precision", "float32"))

    @property
    def weights_epoch(self) -> int | None:
        """The epoch whose weights are the run's, by its rules the last or the best; none where it was not trained by epochs."""
        if self.result is None:
            return None
        return self.result.epochs if self.rules.get("result") == "last" else self.result.best_epoch
