"""The public functions: what the command line does, with strings and paths for arguments and values for answers.

Wrong arguments raise tench's own exceptions (`tench.errors`), with the messages the command line prints.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tench.config import Layout, Precision, Study, TransferOptions, load_recipe, load_study, recipe_of, runs_folder
from tench.errors import ConfigError, NotFoundError
from tench.records import Run, list_runs, load_run, load_runs

if TYPE_CHECKING:
    from tench.answering import Answering
    from tench.comparison import Comparison
    from tench.data.sources import Source
    from tench.networks.reference import Network
    from tench.records import Exhibits
    from tench.report.write import Written
    from tench.scoring import Evaluation
    from tench.studies.entries import Choices
    from tench.studies.outcome import Outcome
    from tench.sweeping.journal import SamplerName
    from tench.sweeping.outcome import Outcome as SweepOutcome
    from tench.training.loop import Watcher
    from tench.training.plan import Plan


def network(reference: str | Path) -> "Network":
    """The network that `reference` names: `network_84_8153`, `my.net`, `mymodule.py:make`, `timm:NAME`, `torchvision:NAME`.

    Its `table` has the layers (`table.layers()`), `parameters`, `macs` and `receptive_field_px`; `build` makes the module.
    Raises NotFoundError that suggests near names, TableError for a table that cannot work.
    """
    from tench.networks.reference import network as found

    return found(reference)


def train(
    network: str | Path,
    data: "str | Path | Source | None" = None,
    *,
    recipe: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
    layout: Layout | None = None,
    compiled: bool | None = None,
    exhibits: bool = True,
    runs: str | Path | None = None,
    watcher: "Watcher | None" = None,
    anyway: bool = False,
    skip_bad: bool = False,
    **options: Any,
) -> Run:
    """Train a network from scratch; returns the finished run.

    `data` is a folder or archive of class folders, "pictograms" for the demo pictures, or None: TENCH_DATA, Imagenette in the
    cache, else the demo pictures. `options` are fields of `tench.config.Options` (size_px, epochs, learn_rate, seed, ...) and win
    over those of `recipe`: where none is named the one called like the network (`sprint`), else "modern". `precision` (float32 or
    bfloat16): where not given, what this machine is fastest in. `layout` (channels_last or channels_first) and `compiled`: where not
    given, a short trial chooses, if the run is long enough to gain by it. `exhibits`: when it has ended, `exhibit` the run.
    Raises ConfigError for unknown or impossible options, TrainingError where memory does not suffice
    (unless `anyway`) or the loss is not finite, InterruptedTraining after Ctrl-C: `resume` then goes on.
    """
    from tench.networks.reference import network as found
    from tench.runtime import choose_engine
    from tench.training.plan import Plan, refuse_idle_precision
    from tench.training.train import train as carry_out

    chosen = load_recipe(recipe or recipe_of(str(network)))
    resolved = chosen.resolve(options)
    refuse_idle_precision(precision, [chosen])
    plan = Plan(found(network), _source(data, skip_bad), chosen, resolved, choose_engine(device, threads, precision))
    run = carry_out(plan, Path(runs or runs_folder()), watcher, anyway, layout=layout, compiled=compiled, threads=threads)
    return _exhibited(run, plan, exhibits, watcher)


def transfer(
    network: str = "googlenet",
    data: "str | Path | Source | None" = None,
    *,
    weights: str | Path | None = None,
    how: TransferOptions | None = None,
    device: str = "auto",
    threads: int | None = None,
    exhibits: bool = True,
    runs: str | Path | None = None,
    watcher: "Watcher | None" = None,
    anyway: bool = False,
    skip_bad: bool = False,
    seen_hashes: str | Path | None = None,
    **options: Any,
) -> Run:
    """Bring a pretrained network to the classes of `data`; returns the finished run.

    By default its layers stay as they are and a new last layer is fitted on their features, which are computed once and kept;
    `TransferOptions(method="fine_tune")` trains all of it. `seen_hashes`: a list, as `sha256sum` prints it, of the pictures its
    pretraining saw, so that those it never saw are scored apart; Imagenette's are known without. Raises NotFoundError where its
    weights are not there.
    """
    from tench.networks.reference import network as found
    from tench.runtime import choose_engine
    from tench.training.plan import Plan
    from tench.training.transfer import transfer as carry_out

    how = how or TransferOptions()
    recipe = load_recipe("transfer" if how.method == "frozen" else "fine_tune")
    if how.method == "frozen":
        _refuse_training_options(options)
    source = _source(data, skip_bad, seen_hashes)
    plan = Plan(found(network), source, recipe, recipe.resolve(options), choose_engine(device, threads))
    run = carry_out(plan, how, Path(runs or runs_folder()), Path(weights) if weights else None, watcher, anyway)
    return _exhibited(run, plan, exhibits, watcher)


def _refuse_training_options(options: dict[str, Any]) -> None:
    from tench.training.transfer import FROZEN_OPTIONS

    idle = [name for name, value in options.items() if value is not None and name not in FROZEN_OPTIONS]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: a frozen network's new head has no such options; its loss is solved to the minimum."
            " Leave them out, or fine-tune the whole network (--fine-tune)."
        )


def evaluate(
    what: "str | Path | Run | Answering",
    data: "str | Path | Source",
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    skip_bad: bool = False,
    seen_hashes: str | Path | None = None,
) -> "Evaluation":
    """Score a run, a bundle, or a pretrained network as it is, on other labelled pictures: all of a folder, or its `val` part.

    Classes are matched by name; pictures the run was trained on are found by content and named. `seen_hashes` as in `transfer`.
    Raises UsageError for classes the network does not know.
    """
    from tench.answering import Answering
    from tench.data.sources import Source, open_source
    from tench.scoring import evaluate as score

    source = data if isinstance(data, Source) else open_source(data, skip_bad=skip_bad, val_share=1.0, seen_hashes=seen_hashes)
    return score(what if isinstance(what, Answering) else load(what, weights=weights, device=device, threads=threads), source)


def study(
    study: "str | Path | Study" = "study",
    data: "str | Path | Source | None" = None,
    *,
    choices: "Choices | None" = None,
    weights: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: "Precision | None" = None,
    exhibits: bool = True,
    runs: str | Path | None = None,
    watcher: "Watcher | None" = None,
    anyway: bool = False,
    skip_bad: bool = False,
    seen_hashes: str | Path | None = None,
    on: str | None = None,
    save: str | Path | None = None,
) -> "Outcome":
    """Carry out a study: "study" (the report's sixteen rows), "quick", "frontier", or the path of a TOML file of your own.

    Finished runs are found again and not repeated. `precision` as in `train`, where rules leave it open; `seen_hashes` as in `transfer`.
    `on`: a Ray cluster (`cluster_of`), for several runs at a time. `save`: a folder for table and small records; UsageError, before
    anything is trained, where it has runs that are not of this study. Returns the `runs`, the rows `not_run` with reasons, and the `table`.
    """
    from tench.runtime import choose_engine
    from tench.studies.cluster import cluster_of
    from tench.studies.entries import Choices, trained_by
    from tench.studies.run import run_study
    from tench.training.plan import refuse_idle_precision

    found = study if isinstance(study, Study) else load_study(str(study))
    refuse_idle_precision(precision, trained_by(found, choices or Choices()))
    source = _source(data, skip_bad, seen_hashes)
    places = (Path(runs or runs_folder()), choose_engine(device, threads, precision))
    how: dict[str, Any] = {"watcher": watcher, "anyway": anyway, "exhibits": exhibits, "save": Path(save) if save else None}
    return run_study(found, source, *places, choices, Path(weights) if weights else None, cluster=cluster_of(on) if on else None, **how)


def sweep(
    network: str | Path,
    data: "str | Path | Source | None" = None,
    *,
    recipe: str | None = None,
    sampler: "SamplerName | None" = None,
    trials: int | None = None,
    sampler_seed: int = 0,
    prune: bool = False,
    budget_s: float | None = None,
    storage: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    runs: str | Path | None = None,
    watcher: "Watcher | None" = None,
    anyway: bool = False,
    skip_bad: bool = False,
    **options: Any,
) -> "SweepOutcome":
    """Try out options of a training from scratch, chosen by the loss on `select`; returns all trials, ranked.

    `options` are fields of `tench.config.Options`, each a value, a list, or a range as text: "1e-4..1e-2". `sampler`: "grid" (all
    combinations of lists), "random" or "tpe"; None: grid if there is no range, else tpe. `trials`: at most so many in all; None: the
    whole grid, else 20. `prune` stops trainings worse than the median of those before. `budget_s`: seconds after which no trial is to
    end. `storage`: the file by which processes share a sweep; None: one in the runs folder. What was trained before is found again.
    Raises ConfigError before anything is trained, InterruptedTraining after Ctrl-C.
    """
    from tench.networks.reference import network as found
    from tench.runtime import choose_engine
    from tench.sweeping.journal import drawing
    from tench.sweeping.run import Sweep, run_sweep
    from tench.sweeping.space import space

    chosen, varied = load_recipe(recipe or recipe_of(str(network))), space(options)
    drawn = drawing(varied, sampler, sampler_seed, trials, prune)
    wanted = Sweep(found(network), _source(data, skip_bad), chosen, choose_engine(device, threads), varied, drawn)
    return run_sweep(wanted, Path(runs or runs_folder()), Path(storage) if storage else None, budget_s, watcher, anyway)


def runs(folder: Path | None = None) -> tuple[Run, ...]:
    """The runs kept in `folder` (TENCH_RUNS, else runs/), the newest first."""
    return list_runs(folder).runs


def compare(*which: str | Path | Run, among: str = "test", runs: str | Path | None = None) -> "Comparison":
    """Two or more runs: by exact McNemar, pair by pair, on the pictures both were scored on; and recipes over their seeds (`arms`).

    A folder that holds runs stands for all finished ones in it. `among="unseen"` takes only pictures that no pretraining saw.
    Says which of these trained networks is better, not which recipe.
    """
    from tench.comparison import compare as compared

    if among not in ("test", "unseen"):
        raise ConfigError(f"among is '{among}'; take 'test' or 'unseen'.")
    folder = Path(runs) if runs else None
    found = [run for one in which for run in ([one] if isinstance(one, Run) else load_runs(one, folder))]
    return compared(found, "unseen" if among == "unseen" else "test")


def write_report(
    *which: str | Path,
    output: str | Path = "report.html",
    lang: str = "en",
    photographs: bool = True,
    figures: str | Path | None = None,
    runs: str | Path | None = None,
) -> "Written":
    """Write a report as one HTML file: on runs (ids or folders), folders that hold runs, or studies by name; none named: all finished runs.

    `lang` is "en" or "pl". Without `photographs` it shows none. `figures`: a folder for the same figures as PNG and SVG.
    """
    from tench.report.write import write_report as write

    folders = Path(figures) if figures else None, Path(runs) if runs else None
    return write([str(one) for one in which], Path(output), lang, photographs, *folders)


def load(
    what: str | Path | Run,
    *,
    weights: str | Path | None = None,
    classes: str = "imagenette",
    device: str = "cpu",
    threads: int | None = None,
    runs: str | Path | None = None,
) -> "Answering":
    """A finished run, a bundle (folder or zip), or a pretrained network as it is, ready to `predict`: `tench.load(run).predict("dog.jpg")`.

    `classes`, for networks pretrained on ImageNet: "imagenette" for its ten, "all" for the thousand.
    """
    from tench.bundle.read import is_bundle, load_bundle

    if not isinstance(what, Run) and is_bundle(Path(what)):
        return load_bundle(what, threads)
    from tench.predict import recogniser
    from tench.runtime import apply_engine, choose_engine

    if classes not in ("imagenette", "all"):
        raise ConfigError(f"classes is '{classes}'; take 'imagenette' or 'all'.")
    engine = choose_engine(device, threads)
    apply_engine(engine)
    return recogniser(
        what, Path(weights) if weights else None, "all" if classes == "all" else "imagenette", engine, Path(runs) if runs else None
    )


def export(
    run: str | Path | Run,
    output: str | Path | None = None,
    data: "str | Path | Source | None" = None,
    *,
    int8: bool = False,
    threads: int | None = None,
    runs: str | Path | None = None,
) -> Path:
    """Write a finished run as a bundle: a folder, and a zip of it, that needs neither torch nor the run; returns the zip's path.

    An ONNX model, class names, preprocessing, temperature, a model card, golden inputs and outputs. `output`: the folder; None: one of
    the run's name here. `data` is only needed where the pictures are no longer where they were: the model is checked on them against
    torch. `int8`: in 8-bit integers, a quarter of the size and on many processors faster, where no more than one of a hundred of those
    pictures is lost by it. Raises RecordError where it is off or the run is not finished, UsageError for networks that are no tables.
    """
    from tench.bundle.write import export as write
    from tench.runtime import apply_engine, choose_engine

    found = run if isinstance(run, Run) else load_run(run, Path(runs) if runs else None)
    engine = choose_engine("cpu", threads)
    apply_engine(engine)
    return write(found, _source_of(found, data), Path(output) if output else Path(found.id), engine, "int8" if int8 else "float32")


def resume(
    run: str | Path | Run,
    data: "str | Path | Source | None" = None,
    *,
    weights: str | Path | None = None,
    watcher: "Watcher | None" = None,
    exhibits: bool = True,
    anyway: bool = False,
    runs: str | Path | None = None,
) -> Run:
    """Go on with an interrupted or killed training, exactly; `data` is only needed where the pictures are no longer where they were.

    Raises ResumeError with the differences where pictures, options, code or versions have changed, unless `anyway`.
    """
    from tench.training.plan import plan_of
    from tench.training.train import resume as go_on
    from tench.training.transfer import resume_fine_tuning

    found = run if isinstance(run, Run) else _to_resume(run, Path(runs) if runs else None)
    plan = plan_of(found, _source_of(found, data))
    if found.record.transfer and found.record.transfer["method"] == "fine_tune":
        return _exhibited(resume_fine_tuning(found, plan, Path(weights) if weights else None, watcher, anyway), plan, exhibits, watcher)
    if found.record.kind != "train":
        raise ConfigError(
            f"{found.id} fits a head on kept features, in seconds: there is nothing to go on with. Run the same command again."
        )
    return _exhibited(go_on(found, plan, watcher, anyway), plan, exhibits, watcher)


def _to_resume(reference: str | Path, folder: Path | None) -> Run:
    """The run that `reference` names. Raises NotFoundError with those that can be resumed."""
    try:
        return load_run(reference, folder)
    except NotFoundError as error:
        ids = [run.id for run in list_runs(folder).runs if run.record.status != "finished" and not run.in_use]
        named = f"These can be resumed: {', '.join(ids)}." if ids else "No run there waits to be resumed."
        raise NotFoundError(f"{error} {named}") from None


def exhibit(
    run: str | Path | Run,
    data: "str | Path | Source | None" = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    runs: str | Path | None = None,
) -> "Exhibits":
    """Make what a finished run shows beside its figures, as the end of a training does, in place of what was made before.

    Filters, feature maps, heat maps and thumbnails, in `exhibits/` of the run's folder; `run.exhibits()` and `run.exhibit_arrays()`
    have them. `data` is only needed where the pictures are no longer where they were. Raises RecordError for a run that is not
    finished, DataError for other pictures than the run's.
    """
    from tench.explain.exhibits import write_exhibits
    from tench.runtime import apply_engine, choose_engine

    found = run if isinstance(run, Run) else load_run(run, Path(runs) if runs else None)
    engine = choose_engine(device, threads)
    apply_engine(engine)
    return write_exhibits(found, _source_of(found, data), engine)


def _exhibited(run: Run, plan: "Plan", wanted: bool, watcher: "Watcher | None") -> Run:
    if wanted and run.record.status == "finished":  # else it is for another process of its training to do
        from tench.explain.exhibits import exhibit_or_say

        exhibit_or_say(run, plan.source, plan.engine, watcher)
    return run


def _source(data: "str | Path | Source | None", skip_bad: bool, seen_hashes: str | Path | None = None) -> "Source":
    from tench.data.sources import Source, open_source

    return data if isinstance(data, Source) else open_source(data, skip_bad=skip_bad, seen_hashes=seen_hashes)


def _source_of(run: Run, data: "str | Path | Source | None") -> "Source":
    """The pictures of a run: `data`, else where they were when it began."""
    places = run.local()
    return _source(data or places.get("data"), bool(run.record.data.skipped), places.get("seen_hashes"))
