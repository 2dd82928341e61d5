"""What the API says, as types: from them come openapi.json and the checks of every response."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from tench.records import ClassFacts
from tench.serve.refusals import Code

Heat = Literal["grad-cam", "occlusion"]
Share = Field(ge=0, le=1)
PNG = Field(description="A PNG as data: address.")


class Score(BaseModel):
    """How many test pictures a model had right, with the Wilson 95 % interval; shares are 0 to 1."""

    top1: float = Share
    low: float = Share
    high: float = Share
    n: int
    data: str
    is_demo: bool = Field(description="Measured on pictures drawn by tench, which says nothing about photographs.")


class Model(BaseModel):
    """One of the models that are served."""

    id: str
    name: str
    kind: Literal["run", "bundle", "pretrained"]
    input_px: int
    resize: Literal["squash", "crop"] = Field(description="How a picture becomes its square: squashed, or its centre cropped.")
    classes: list[ClassFacts]
    heat: Heat = Field(description="How its heat maps are made.")
    trust: str | None = Field(description='How good its "not one of these" is, in words; null: it says so of nothing.')
    score: Score | None


class Bounds(BaseModel):
    """What the server takes at most."""

    max_bytes: int
    max_pixels: int
    max_photos: int


class Models(BaseModel):
    """All models, in the order of the command line."""

    models: list[Model]
    limits: Bounds


class Guess(ClassFacts):
    """A class and how likely it is, 0 to 1."""

    probability: float = Share


class Answer(BaseModel):
    """What one model says of one picture; the likeliest class first."""

    photo: str | None = Field(description="The file's name in the form; null for a plain body.")
    model: str
    guesses: list[Guess]
    familiarity: float | None = Field(ge=0, le=1, description="Share of known pictures that look less familiar; null: not known.")
    not_one_of_these: bool | None
    ms: float = Field(ge=0, description="Milliseconds the model took for this picture, decoding left out.")


class Unusable(BaseModel):
    """One picture of several that could not be used."""

    photo: str | None
    code: Code
    message: str


class Answers(BaseModel):
    """Picture by picture, and for each model by model."""

    answers: list[Answer]
    errors: list[Unusable]


class HeatMap(BaseModel):
    """Where in the picture the evidence for a class was."""

    model: str
    kind: Heat
    method: str
    class_: ClassFacts = Field(alias="class")
    rows: int
    columns: int
    heat: str = Field(description="Grey, rows x columns, 255 = most important, as a PNG in a data: address. It covers the whole picture.")


class Row(BaseModel):
    """What one row of the network makes of the picture: some of its channels, each scaled to its own darkest and brightest."""

    title: str
    channels: int
    height_px: int
    width_px: int
    maps: list[str]


class Way(BaseModel):
    """The picture's way through the layers."""

    model: str
    rows: list[Row]


class Filters(BaseModel):
    """The first convolution's kernels, each scaled to its own darkest and brightest."""

    title: str
    filters: list[str]


class Epoch(BaseModel):
    """One epoch of a training; losses are nats a picture, shares 0 to 1; what was not finite or not measured is null."""

    epoch: int
    loss: float | None = None
    top1: float | None = None
    select_loss: float | None = None
    select_top1: float | None = None
    learn_rate: float | None = None


class RunFacts(BaseModel):
    """A run in the runs folder; scores are there once it is finished."""

    id: str
    name: str
    status: Literal["running", "killed", "finished", "failed", "interrupted"]
    data: str
    is_demo: bool
    top1: float | None
    low: float | None
    high: float | None
    n: int | None
    reported_top1: float | None = Field(description="What the study's report says of this row, 0 to 1.")
    epochs: int | None = Field(description="Done so far; `options` says how many there are to be.")
    parameters: int
    macs: int = Field(description="Multiply-adds of one picture.")
    train_s: float | None
    options: dict[str, Any]
    notes: list[str]
    history: list[Epoch]


class Runs(BaseModel):
    """All runs, the newest first."""

    title: str
    runs: list[RunFacts]


class DemoPicture(ClassFacts):
    """A picture that tench drew, of one of the study's classes."""

    url: str


class Demo(BaseModel):
    """Pictures to try the models with, where there are no photographs."""

    pictures: list[DemoPicture]
