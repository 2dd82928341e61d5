"""Verbs that train: train, transfer, study, resume."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tench.cli.app import (
    AnywayOption,
    ClassWeightsChoice,
    DataOption,
    DeviceOption,
    ExhibitsOption,
    Format,
    FormatOption,
    LayoutChoice,
    Optimizer,
    PrecisionOption,
    QuietOption,
    RecipeOption,
    SeenHashesOption,
    SemanticsOption,
    SkipBadOption,
    ThreadsOption,
    WeightsOption,
    app,
    opened,
    recipe_name,
    seconds_of,
    show,
    tune,
)

if TYPE_CHECKING:
    from tench.comparison import ResultsTable
    from tench.records import Run
    from tench.studies.conclusions import Finding

LearnRate = Annotated[float | None, typer.Option("--learn-rate", help="Initial learning rate.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Epochs at most.")]
Size = Annotated[int | None, typer.Option("--size", help="Side of the pictures in pixels.")]
StudySize = Annotated[
    int | None, typer.Option("--size", help="Side of the pictures in pixels; of tables larger than 224 in proportion (256: 73 for 64).")
]
Share = Annotated[float | None, typer.Option("--share", help="Share of the training pictures in use, 0 to 1.")]
TestShare = Annotated[float | None, typer.Option("--test-share", help="Share of the test pictures that are scored, 0 to 1.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Pictures a step.")]
ClassWeightsOption = Annotated[
    ClassWeightsChoice | None, typer.Option("--class-weights", help="balanced: rare classes count as much as frequent ones.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of initial weights, order, augmentation, dropout and roles.")]


@app.command()
def train(
    network: Annotated[str, typer.Argument(help="A built-in name, my.net, mymodule.py:make, timm:NAME or torchvision:NAME.")],
    data: DataOption = None,
    optimizer: Annotated[Optimizer | None, typer.Option("--optimizer")] = None,
    learn_rate: LearnRate = None,
    patience: Annotated[int | None, typer.Option("--patience", help="Epochs without improvement before it stops.")] = None,
    drop_period: Annotated[int | None, typer.Option("--drop-period", help="Epochs between drops of the rate.")] = None,
    drop_rate_factor: Annotated[float | None, typer.Option("--drop-rate-factor", help="What the rate is multiplied by at a drop.")] = None,
    augment: Annotated[bool | None, typer.Option("--augment/--no-augment", help="Random scale and shift, and mirroring.")] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="With --augment: half the pictures mirrored left to right.")
    ] = None,
    l2: Annotated[float | None, typer.Option("--l2", help="L2 regularisation.")] = None,
    momentum: Annotated[float | None, typer.Option("--momentum", help="Of SGDM.")] = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    size: Size = None,
    class_weights: ClassWeightsOption = None,
    crop: Annotated[int | None, typer.Option("--crop", help="Side of the random window a step sees; 0: whole pictures.")] = None,
    seed: Seed = None,
    share: Share = None,
    test_share: TestShare = None,
    semantics: SemanticsOption = None,
    recipe: RecipeOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
    layout: Annotated[LayoutChoice | None, typer.Option("--layout", help="Of memory; default: what a short trial finds faster.")] = None,
    compiled: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile; default: by the trial.")] = None,
    sync_norm: Annotated[
        bool, typer.Option("--sync-norm/--no-sync-norm", help="Under torchrun: batch norm over all processes' shares, or each its own.")
    ] = True,
    exhibits: ExhibitsOption = True,
    quiet: QuietOption = False,
    anyway: AnywayOption = False,
    skip_bad: SkipBadOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Train a network from scratch and score it once on the test pictures."""
    tune()
    from tench import api
    from tench.console import teller

    options: dict[str, Any] = {
        "optimizer": optimizer.value if optimizer else None,
        "learn_rate": learn_rate,
        "patience": patience,
        "drop_period": drop_period,
        "drop_rate_factor": drop_rate_factor,
        "augment": augment,
        "mirror": mirror,
        "l2": l2,
        "momentum": momentum,
        "batch_size": batch_size,
        "epochs": epochs,
        "size_px": size,
        "crop_px": crop,
        "class_weights": class_weights.value if class_weights else None,
        "seed": seed,
        "share": share,
        "test_share": test_share,
        "norm_parts": None if sync_norm else _processes(),
    }
    name = recipe_name(recipe, semantics)
    source = opened(data, skip_bad, quiet)
    how: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "precision": precision.value if precision else None,
        "layout": layout.value if layout else None,
        "compiled": compiled,
        "exhibits": exhibits,
    }
    run = api.train(network, source, recipe=name, watcher=teller(quiet), anyway=anyway, **how, **options)
    _print_result(run, format)


def _processes() -> int:
    from tench.errors import ConfigError
    from tench.runtime import launched

    if launched().size == 1:
        raise ConfigError("--no-sync-norm is for several processes, which torchrun starts; this is one. Leave it out.")
    return launched().size


@app.command()
def transfer(
    network: Annotated[str, typer.Argument(help="googlenet, timm:NAME or torchvision:NAME.")] = "googlenet",
    data: DataOption = None,
    weights: WeightsOption = None,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Train the whole network, not only the new last layer.")] = False,
    head_start: Annotated[str, typer.Option("--head-start", help="Of the new layer: imagenet or random.")] = "imagenet",
    hold: Annotated[str, typer.Option("--hold", help="How strongly the new layer is held near its start: auto, or a number.")] = "auto",
    leave_unseen_out: Annotated[
        bool,
        typer.Option("--leave-unseen-out/--use-unseen", help="Score what pretraining never saw, train without."),
    ] = True,
    seen_hashes: SeenHashesOption = None,
    head_rate_factor: Annotated[float, typer.Option("--head-rate-factor", help="Fine-tuning: the new layer's factor.")] = 10.0,
    freeze_until: Annotated[str | None, typer.Option("--freeze-until", help="Fine-tuning: rows up to this one stay as they are.")] = None,
    learn_rate: LearnRate = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    class_weights: ClassWeightsOption = None,
    seed: Seed = None,
    share: Share = None,
    test_share: TestShare = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    exhibits: ExhibitsOption = True,
    quiet: QuietOption = False,
    anyway: AnywayOption = False,
    skip_bad: SkipBadOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Bring a pretrained network to the classes of the pictures: a new last layer, or all of it."""
    tune()
    from tench import api
    from tench.config import TransferOptions, checked
    from tench.console import teller
    from tench.errors import ConfigError

    if not fine_tune and (freeze_until or head_rate_factor != 10.0):
        raise ConfigError("--freeze-until and --head-rate-factor are of fine-tuning; add --fine-tune, or leave them out.")
    chosen = {
        "method": "fine_tune" if fine_tune else "frozen",
        "head_start": head_start,
        "hold": hold if hold == "auto" else _number(hold),
        "head_rate_factor": head_rate_factor,
        "freeze_until": freeze_until,
        "leave_unseen_out": leave_unseen_out,
    }
    how = checked(TransferOptions, chosen, "the options of transfer")
    options: dict[str, Any] = {
        "learn_rate": learn_rate,
        "batch_size": batch_size,
        "epochs": epochs,
        "class_weights": class_weights.value if class_weights else None,
        "seed": seed,
        "share": share,
        "test_share": test_share,
    }
    source = opened(data, skip_bad, quiet, seen_hashes)
    places: dict[str, Any] = {"weights": weights, "device": device, "threads": threads, "exhibits": exhibits}
    run = api.transfer(network, source, how=how, watcher=teller(quiet), anyway=anyway, **places, **options)
    _print_result(run, format)


def _number(text: str) -> float:
    from tench.errors import ConfigError

    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--hold is '{text}'; take auto, or a number of 0 or more.") from None


@app.command()
def study(
    file: Annotated[
        str, typer.Argument(help="study (the report's rows), quick, frontier, conclusions, rates, or your own .toml.")
    ] = "study",
    quick: Annotated[bool, typer.Option("--quick", help="The quick study: minutes, on a part of the pictures.")] = False,
    conclusions: Annotated[bool, typer.Option("--conclusions", help="The report's conclusions as controlled experiments.")] = False,
    budget: Annotated[str | None, typer.Option("--budget", help="Such as 90min or 8h: run only what is forecast to fit.")] = None,
    rows: Annotated[str | None, typer.Option("--rows", help="Only these rows, their names parted by commas.")] = None,
    size: StudySize = None,
    epochs: Epochs = None,
    share: Share = None,
    test_share: TestShare = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Such as 0,1,2 or 0-5.")] = "0",
    semantics: SemanticsOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    weights: WeightsOption = None,
    seen_hashes: SeenHashesOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
    exhibits: ExhibitsOption = True,
    quiet: QuietOption = False,
    anyway: AnywayOption = False,
    skip_bad: SkipBadOption = False,
    format: FormatOption = Format.text,
    on: Annotated[
        str | None, typer.Option("--on", help="ray: several runs at a time; ray:HOST:PORT, ray://HOST:PORT on a cluster.")
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Write table and small records (no weights) into this folder too.")] = None,
) -> None:
    """Train and compare the rows of a study; what was finished before is not run again."""
    tune()
    from tench import api
    from tench.config import load_study
    from tench.console import teller
    from tench.studies.conclusions import findings
    from tench.studies.entries import Choices

    found = load_study("quick" if quick else "conclusions" if conclusions else file)
    source = opened(data, skip_bad, quiet, seen_hashes)
    choices = Choices(
        recipe=recipe_name(recipe, semantics),
        rows=_rows(rows, {row.name for row in found.rows}) if rows else (),
        size_px=size,
        seeds=_seeds(seeds),
        options={key: value for key, value in {"epochs": epochs, "share": share, "test_share": test_share}.items() if value is not None},
        budget_s=seconds_of(budget) if budget else None,
    )
    watcher = teller(quiet)
    how: dict[str, Any] = {
        "weights": weights,
        "device": device,
        "threads": threads,
        "precision": precision.value if precision else None,
        "exhibits": exhibits,
        "on": on,
        "save": save,
    }
    outcome = api.study(found, source, choices=choices, watcher=watcher, anyway=anyway, **how)
    _print_table(outcome.table, format)
    if format is Format.text and found.description and choices.recipe in (None, found.recipe):
        typer.echo(" ".join(found.description.split()))
    if format is Format.text:
        _print_findings(findings(found, outcome.runs))


def _print_findings(found: "Sequence[Finding]") -> None:
    for finding in found:
        typer.echo(finding.sentence)
    wanting = [finding.conclusion.name for finding in found if finding.wants_more_seeds]
    if wanting:
        typer.echo(
            f"More seeds (--seeds) are wanted until the interval is within one point either way, whatever it shows: {'; '.join(wanting)}."
        )


def _rows(text: str, known: set[str]) -> tuple[str, ...]:
    """The names in `text`, parted by commas; a known name may have commas itself, so the longest ones are looked for first."""
    parts, names = text.split(","), []
    while parts:
        ends = range(len(parts), 0, -1)
        end = next((end for end in ends if ",".join(parts[:end]).strip() in known), 1)
        names.append(",".join(parts[:end]).strip())
        del parts[:end]
    return tuple(names)


def _seeds(text: str) -> list[int]:
    from tench.errors import ConfigError

    found: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            if not numbers:
                raise ValueError("from a higher to a lower number")
            found += numbers
    except ValueError:
        raise ConfigError(f"The seeds '{text}' cannot be read; write whole numbers such as 0,1,2 or 0-5.") from None
    return list(dict.fromkeys(found))


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="Id (or its beginning) or folder of an interrupted run.")],
    data: DataOption = None,
    weights: WeightsOption = None,
    exhibits: ExhibitsOption = True,
    quiet: QuietOption = False,
    anyway: AnywayOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Go on with an interrupted training, exactly as if it had not been interrupted."""
    tune()
    from tench import api
    from tench.console import teller

    _print_result(api.resume(run, data, weights=weights, watcher=teller(quiet), exhibits=exhibits, anyway=anyway), format)


def _print_result(run: "Run", how: Format) -> None:
    if run.record.status != "finished":  # another process of its training has the result
        return
    if how is Format.json:
        from tench.cli.app import show_json

        show_json(run.record.model_dump(mode="json"))
        return
    from tench.comparison import results_table

    _print_table(results_table([run]), how)
    if how is Format.text:
        typer.echo(f"Kept as {run.id}. Use it: tench predict {run.id} PHOTO; compare it: tench compare {run.id} OTHER")


def _print_table(table: "ResultsTable", how: Format) -> None:
    from tench import comparison

    if how is Format.text:
        show(comparison.as_rich(table))
    else:
        written = {Format.json: comparison.as_json, Format.csv: comparison.as_csv, Format.markdown: comparison.as_markdown}[how](table)
        typer.echo(written.rstrip())
