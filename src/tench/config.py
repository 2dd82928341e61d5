"""Everything that can be chosen, as frozen, checked values: preprocessing, rules, options, engine, recipes, studies."""

import os
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tench.errors import ConfigError, NotFoundError

ModelT = TypeVar("ModelT", bound=BaseModel)


Layout = Literal["channels_last", "channels_first"]
Precision = Literal["float32", "bfloat16"]
OptimizerName = Literal["sgdm", "adam", "muon"]
ClassWeights = Literal["none", "balanced"]


class Frozen(BaseModel):
    """A value: never changed after it was made, and never with a key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocessing(Frozen):
    """What a network expects of a picture. Travels with the weights into predict, serve and export.

    `mean` and `std` are in units of 0-255 pixels, one a channel, in the order `channels` names. With `per_pixel_mean`
    the mean is a picture of shape (3, height_px, width_px) that lies beside the weights, and `mean` is not used.
    """

    height_px: int = Field(ge=1)
    width_px: int = Field(ge=1)
    channels: Literal["RGB", "BGR"] = "RGB"
    resize: Literal["squash", "crop"] = "squash"
    """`squash`: both sides to the size; `crop`: the shorter side to the size, then the centre."""
    per_pixel_mean: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Rules(Frozen):
    """How training software behaves, a field a rule of R2018b's behaviour. The defaults are `modern`."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes (Szegedy et al. 2016); 0 is plain cross-entropy."""
    l2_on: Literal["weights", "weights_and_norm"] = "weights"
    """`weights`: kernels and matrices; `weights_and_norm`: batch norm's scale and offset too. Never biases."""
    adam_l2: Literal["coupled", "decoupled"] = "decoupled"
    """`coupled`: l2 * w is added to the gradient; `decoupled`: the weight shrinks by rate * l2 (AdamW). SGDM is always coupled."""
    momentum_form: Literal["rate_inside", "rate_outside"] = "rate_outside"
    """`rate_inside`: v = m v - rate g, w += v; `rate_outside`: v = m v + g, w -= rate v. They differ only when the rate changes."""
    nesterov: bool = False
    adam_epsilon: Literal["before_correction", "after_correction"] = "after_correction"
    """Whether Adam's epsilon joins sqrt(v) before or after the bias correction of v."""
    schedule: Literal["piecewise", "one_cycle", "cosine"] = "piecewise"
    """`piecewise`: rate *= drop_rate_factor every drop_period epochs; the others go over all steps of `epochs`."""
    last_partial_batch: Literal["dropped", "kept"] = "dropped"
    shuffle: Literal["once", "every_epoch"] = "every_epoch"
    validation_statistics: Literal["batch", "running"] = "running"
    """Which statistics batch norm uses when validating during training."""
    improvement: Literal["loss", "accuracy"] = "loss"
    """What validation watches for patience and for the best weights: strictly lower loss, or strictly higher accuracy."""
    initial_weights: Literal["normal_0.01", "normal_0.01_scaled", "glorot", "he"] = "he"
    """`normal_0.01_scaled`: `normal_0.01` at the table's own size, and at another one so that a layer's outputs keep their spread."""
    batch_norm_after_training: Literal["pooled_pass", "running"] = "running"
    """`pooled_pass`: one more pass over `fit` sets mean and variance to pooled E[x], E[x^2] - E[x]^2."""
    input_normalisation: Literal["per_pixel_mean", "per_channel"] = "per_channel"
    select_from: Literal["training", "test"] = "training"
    """`training`: a seeded, stratified share of the training pictures; `test`: the test pictures themselves, as the study did."""
    select_share: float = Field(0.1, gt=0, lt=1)
    result: Literal["last", "best"] = "best"
    """Which weights are the run's: the last ones, or those that were best on `select`."""
    arithmetic: Literal["single", "fastest"] = "fastest"
    """`single`: float32 throughout, as MATLAB's networks; `fastest`: products of bfloat16 numbers where the machine has units for them."""


class Options(Frozen):
    """What a user chooses for one training. Defaults are R2018b's where it has one."""

    optimizer: OptimizerName = "sgdm"
    """`muon`: orthogonal steps for the kernels of convolutions (training/muon.py), SGDM for all else."""
    learn_rate: float = Field(0.01, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    kernel_rate: float = Field(0.06, gt=0, le=100)
    """Under `muon`: rate of the kernels where that of all else is `learn_rate`; both follow the schedule."""
    kernel_momentum: float = Field(0.6, ge=0, lt=1)
    """Under `muon`: momentum of the kernels."""
    l2: float = Field(1e-4, ge=0)
    drop_period: int | None = Field(None, ge=1)
    """Epochs between drops of the rate; none: the rate is constant (under the piecewise schedule)."""
    drop_rate_factor: float = Field(0.5, gt=0, le=1)
    patience: int | None = Field(None, ge=1)
    """Validations without improvement after which training stops; none: it never stops early."""
    validation_period: int = Field(1, ge=1)
    """Epochs between validations; the last epoch always has one."""
    epochs: int = Field(30, ge=1)
    """Epochs at most."""
    batch_size: int = Field(128, ge=1)
    size_px: int | None = Field(None, ge=1)
    """Side of the pictures; none: what the network's table says."""
    crop_px: int = Field(0, ge=0)
    """Side of the window, at a random place of the picture, that a training step sees; 0: the whole picture.
    Validation and scoring see whole pictures. Only for networks that end in a global pool."""
    augment: bool = True
    scale_range: tuple[float, float] = (0.9, 1.1)
    translation_share: float = Field(30 / 224, ge=0, lt=1)
    """Largest shift as a share of the side: the study's 30 pixels of 224."""
    translation_px: int | None = Field(None, ge=0)
    """Largest shift in pixels of the stored picture, in place of `translation_share`."""
    mirror: bool = False
    """With `augment`: half the pictures are mirrored left to right."""
    class_weights: ClassWeights = "none"
    """`balanced`: in the loss a picture weighs n / (classes * n of its class), so that rare classes count as much as frequent ones."""
    norm_parts: int = Field(1, ge=1)
    """1: batch norm takes the statistics of the whole batch, on however many processes; else each of so many those of its own share."""
    seed: int = Field(0, ge=0)
    share: float = Field(1.0, gt=0, le=1)
    """Stratified, seeded share of the training pictures in use."""
    test_share: float = Field(1.0, gt=0, le=1)
    """The same of the test pictures."""
    leave_unseen_out: bool = False
    """Of a training from scratch: do not learn from pictures that no ImageNet pretraining saw, and score them beside the test, so
    that it can be compared with a pretrained network on them. For transfers TransferOptions decides."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        low, high = self.scale_range
        if not 0 < low <= high <= 4:
            raise ValueError(f"scale_range is {low} to {high}; allowed is 0 < low <= high <= 4")
        return self


LATER_OPTIONS: dict[str, Any] = {"leave_unseen_out": False, "class_weights": "none", "norm_parts": 1}
"""Fields of Options that came when runs were kept already, and the value by which everything is as it was before them."""


def identifying(options: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's options says which run it is: all but later ones that change nothing, so that earlier runs stay the same runs."""
    return {key: value for key, value in options.items() if key not in LATER_OPTIONS or value != LATER_OPTIONS[key]}


class TransferOptions(Frozen):
    """How a pretrained network is brought to new classes."""

    method: Literal["frozen", "fine_tune"] = "frozen"
    """`frozen`: features computed once, only the new head learns; `fine_tune`: everything learns, as in MATLAB's example."""
    head_start: Literal["imagenet", "random"] = "imagenet"
    """`imagenet`: rows of the same classes where they are known (else random)."""
    hold: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """Strength with which the head's weights are held near their start (L2-SP); `auto`: chosen on `select`."""
    head_rate_factor: float = Field(10.0, gt=0)
    """Fine-tuning: the new layer's rate over the others' (weights and biases)."""
    freeze_until: str | None = None
    """Fine-tuning: rows up to and including this one keep their weights."""
    leave_unseen_out: bool = True
    """Do not train on pictures the pretraining never saw, so that they can be scored as never seen."""


class Engine(Frozen):
    """How the arithmetic is done. Fixed before step 1, recorded, reused on resume; never changes what is meant."""

    device: str = "cpu"
    threads: int = Field(1, ge=1)
    layout: Layout = "channels_last"
    precision: Precision = "float32"
    """Of the products in training and its validations (autocast); weights, optimizer, norms and loss stay float32, and scores are."""
    compiled: bool = False
    processes: int = Field(1, ge=1)
    """That share every batch (docs/scale.md); their sums are rounded otherwise than those of one."""


DEFAULT_RATES: dict[OptimizerName, float] = {"sgdm": 0.01, "adam": 0.001, "muon": 0.4}
"""Initial learning rates: R2018b's trainingOptions where it has the optimizer."""


class Recipe(Frozen):
    """Rules and options under one name: a TOML file with `[rules]`, `[options]` and `[learn_rate]`."""

    name: str
    description: str = ""
    rules: Rules = Rules()
    options: dict[str, Any] = {}
    learn_rate: dict[OptimizerName, Annotated[float, Field(gt=0, le=100)]] = {}
    """What each optimizer takes where no rate is given; for one that is not named, DEFAULT_RATES."""

    def resolve(self, *changes: Mapping[str, Any], where: str = "the options") -> Options:
        """The options of one run: those of the recipe, changed by `changes` in their order (a study's row, then flags)."""
        merged: dict[str, Any] = dict(self.options)
        for change in changes:
            merged |= {key: value for key, value in change.items() if value is not None}
        refuse_idle_options(self.rules, merged, where)
        options = checked(Options, merged, where)
        return (
            options
            if "learn_rate" in merged
            else options.model_copy(update={"learn_rate": (DEFAULT_RATES | self.learn_rate)[options.optimizer]})
        )


class StudyRow(Frozen):
    """One line of a study: a network and what is particular to its training."""

    name: str
    network: str
    method: Literal["train", "transfer", "fine_tune"] = "train"
    """`transfer`: a new head on a frozen network; `fine_tune`: a pretrained network trained on with the row's options."""
    reported_accuracy: float | None = Field(None, ge=0, le=1)
    """Top-1 accuracy the study reports, 0 to 1."""
    reported_correct: int | None = Field(None, ge=0)
    recipe: str | None = None
    """In place of the study's own recipe."""
    note: str = ""
    training_pictures: int | None = Field(None, ge=1)
    """In place of the study's own."""
    replace: dict[str, str] = {}
    """Rows of the network's table that are other ones here: what stands there, and what comes in its place ("" for nothing)."""
    options: dict[str, Any] = {}


class Conclusion(Frozen):
    """Something that was claimed of two rows of a study, to be tested across seeds."""

    name: str
    claim: str
    """In a sentence."""
    better: str
    """The row that is claimed to have the higher accuracy."""
    worse: str


class Study(Frozen):
    """Rows to train and compare: a TOML file with `[options]` common to all and one `[[row]]` each."""

    name: str
    title: str
    description: str = ""
    recipe: str = "modern"
    size_px: int | None = Field(None, ge=1)
    """Side of the pictures; larger tables than 224 x 224 in proportion (256 becomes 73 where 224 becomes 64); None: each its own."""
    training_pictures: int | None = Field(None, ge=1)
    """At most about so many training pictures, a stratified share of those there are."""
    test_pictures: int | None = Field(None, ge=1)
    """The same of the test pictures."""
    options: dict[str, Any] = {}
    rows: tuple[StudyRow, ...] = Field(min_length=1, alias="row")
    conclusions: tuple[Conclusion, ...] = Field((), alias="conclusion")

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [row.name for row in self.rows]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise ValueError(f"the row name {', '.join(doubles)} is given more than once; every row needs a name of its own")
        strange = sorted({row for conclusion in self.conclusions for row in (conclusion.better, conclusion.worse)} - set(names))
        if strange:
            raise ValueError(f"a conclusion is about {', '.join(strange)}, which is no row of the study")
        return self


TABLE_SIDE_PX = 224
"""The side of the study's pictures."""


def row_side_px(asked_px: int, own_px: int) -> int:
    """The side at which a study that is asked for `asked_px` trains a table of `own_px`: larger tables than 224 in proportion."""
    return round(asked_px * max(1.0, own_px / TABLE_SIDE_PX))


def asked_side_px(row_px: int, own_px: int) -> int:
    """What a study was asked for that trained a table of `own_px` at `row_px`: the inverse of `row_side_px`."""
    return round(row_px / max(1.0, own_px / TABLE_SIDE_PX))


def refuse_idle_options(rules: Rules, given: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for a given option that these rules would not look at: no option silently does nothing."""
    idle = [key for key in ("drop_period", "drop_rate_factor") if given.get(key) is not None]
    if rules.schedule != "piecewise" and idle:
        raise ConfigError(
            f"{where}: {idle[0]} has no effect under the {rules.schedule} schedule; leave it out,"
            " or take a recipe with schedule 'piecewise'."
        )
    idle = [key for key in ("kernel_rate", "kernel_momentum") if given.get(key) is not None]
    if given.get("optimizer") != "muon" and idle:
        raise ConfigError(f"{where}: {idle[0]} is an option of the optimizer muon alone; leave it out, or take that optimizer.")


def checked(model: type[ModelT], values: Mapping[str, Any], where: str) -> ModelT:
    """`values` as a `model`. Raises ConfigError that names every wrong key, its value and what is allowed."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        known = ", ".join(field.alias or name for name, field in model.model_fields.items())
        raise ConfigError(f"{where}: " + "; ".join(_sentence(dict(e), known) for e in error.errors()) + ".") from None


def _sentence(error: dict[str, Any], known: str) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"the key '{key}' is not known; allowed are {known}"
    if error["type"] == "missing":
        return f"the key '{key}' is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {message[0].lower()}{message[1:]}" if key else message


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises NotFoundError, or ConfigError with the line where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{path} is not there; check the path.") from None
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}. Check the path.") from None
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of a name that no file can have
        raise ConfigError(f"{path} cannot be read as TOML: {error}. Mend that line.") from None


def builtin_names(folder: str, suffix: str) -> list[str]:
    """Names of the files tench brings along in `folder`, sorted, without their suffix."""
    entries = resources.files("tench").joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(suffix) for entry in entries if entry.name.endswith(suffix))


def _named_file(name: str, folder: str, kind: str) -> Path:
    if name in builtin_names(folder, ".toml"):
        return Path(str(resources.files("tench").joinpath(folder, f"{name}.toml")))
    if name.endswith(".toml"):
        return Path(name)
    names = ", ".join(builtin_names(folder, ".toml"))
    raise NotFoundError(f"There is no {kind} '{name}'; take one of {names}, or the path of a .toml file.")


def load_recipe(name: str) -> Recipe:
    """A built-in recipe by its name, or a user's own by the path of its TOML file."""
    path = _named_file(name, "recipes", "recipe")
    values = read_toml(path)
    recipe = checked(Recipe, {"name": path.stem, **values}, str(path))
    recipe.resolve(where=str(path))
    return recipe


def recipe_of(network: str) -> str:
    """The recipe a network is trained by where none is named: the one of its own name, else modern."""
    return network if network in builtin_names("recipes", ".toml") else "modern"


def load_study(name: str) -> Study:
    """A built-in study by its name, or a user's own by its path; every row's options are checked before anything is trained."""
    path = _named_file(name, "studies", "study")
    values = read_toml(path)
    rows = [_row(row, number, path) for number, row in enumerate(_tables(values, "row", str(path)), start=1)]
    study = checked(Study, {"name": path.stem, "title": path.stem, **values, "row": rows}, str(path))
    for row in study.rows:
        load_recipe(row.recipe or study.recipe).resolve(study.options, row.options, where=f"{path}, row {row.name}")
    return study


def _tables(values: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    found = values.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ConfigError(f"{where}: {key} is {found!r}; write one table [[{key}]] for each.")
    return found


def _row(row: Mapping[str, Any], number: int, path: Path) -> StudyRow:
    """A row as its TOML has it: keys that are training options are moved into `options`."""
    where = f"{path}, row {row.get('name', number)}"
    known = [*StudyRow.model_fields, *Options.model_fields]
    strange = [key for key in row if key not in known]
    if strange:
        raise ConfigError(f"{where}: the key '{strange[0]}' is not known; allowed are {', '.join(known)}.")
    if "seed" in row:
        raise ConfigError(f"{where}: a row has no seed of its own; every row is run with the seeds that --seeds names. Leave it out.")
    own = {key: value for key, value in row.items() if key in StudyRow.model_fields}
    changes = {key: value for key, value in row.items() if key in Options.model_fields}
    if isinstance(own.get("options", {}), dict):
        own["options"] = {**own.get("options", {}), **changes}
    return checked(StudyRow, own, where)


def runs_folder() -> Path:
    """Where runs are kept: TENCH_RUNS, else `runs/` of the current folder."""
    return Path(os.environ.get("TENCH_RUNS") or "runs")


def cache_folder() -> Path:
    """Where decoded pictures, features and downloads are kept: TENCH_CACHE, else tench's folder in the user's cache."""
    if own := os.environ.get("TENCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tench"
