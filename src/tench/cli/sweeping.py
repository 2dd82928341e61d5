"""The verb that tries options out: sweep."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tench.cli.app import (
    AnywayOption,
    DataOption,
    DeviceOption,
    Format,
    FormatOption,
    QuietOption,
    RecipeOption,
    SemanticsOption,
    SkipBadOption,
    ThreadsOption,
    app,
    opened,
    recipe_name,
    seconds_of,
    show,
    show_json,
    show_rows,
    tune,
)

if TYPE_CHECKING:
    from tench.sweeping.outcome import Outcome


class SamplerChoice(StrEnum):
    """How trials are drawn."""

    grid = "grid"
    random = "random"
    tpe = "tpe"


FLAGS = {"size_px": "--size", "crop_px": "--crop"}
"""Where a flag is not called like its option."""


def varied(help: str, *flags: str) -> Any:
    """An option that may be a value, a list or a range."""
    return typer.Option(*flags, help=help, show_default=False)


@app.command()
def sweep(
    network: Annotated[str, typer.Argument(help="A built-in name, my.net, mymodule.py:make, timm:NAME or torchvision:NAME.")],
    data: DataOption = None,
    learn_rate: Annotated[str | None, varied("Such as 0.01, or 0.001,0.01, or 1e-4..1e-2 (as are all up to --crop).")] = None,
    optimizer: Annotated[str | None, varied("sgdm, adam, muon: one, or a list.")] = None,
    patience: Annotated[str | None, varied("Epochs without improvement before it stops.")] = None,
    drop_period: Annotated[str | None, varied("Epochs between drops of the rate.")] = None,
    drop_rate_factor: Annotated[str | None, varied("What the rate is multiplied by at a drop.")] = None,
    augment: Annotated[str | None, varied("Random scale and shift, and mirroring: yes, no, or yes,no.")] = None,
    mirror: Annotated[str | None, varied("With --augment, half the pictures mirrored: yes, no, or yes,no.")] = None,
    l2: Annotated[str | None, varied("L2 regularisation.")] = None,
    momentum: Annotated[str | None, varied("Of SGDM.")] = None,
    batch_size: Annotated[str | None, varied("Pictures a step.")] = None,
    epochs: Annotated[str | None, varied("Epochs at most.")] = None,
    size: Annotated[str | None, varied("Side of the pictures in pixels.")] = None,
    crop: Annotated[str | None, varied("Side of the random window a step sees; 0: whole pictures.")] = None,
    class_weights: Annotated[str | None, varied("balanced or none; one value, as for all up to --test-share.")] = None,
    seed: Annotated[str | None, varied("Of the trainings.")] = None,
    share: Annotated[str | None, varied("Share of the training pictures in use, 0 to 1.")] = None,
    test_share: Annotated[str | None, varied("Share of the test pictures that are scored, 0 to 1.")] = None,
    sampler: Annotated[SamplerChoice | None, typer.Option("--sampler", help="Default: grid for lists alone, else tpe.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="In all; default: the whole grid, or 20.")] = None,
    sampler_seed: Annotated[int, typer.Option("--sampler-seed", help="Of the draws of random and tpe.")] = 0,
    prune: Annotated[bool, typer.Option("--prune", help="Stop trainings that are worse than the median of those before.")] = False,
    budget: Annotated[str | None, typer.Option("--budget", help="Such as 90min or 2h: no trial that is forecast to end later.")] = None,
    storage: Annotated[Path | None, typer.Option("--storage", help="A file that several processes share; default: in the runs.")] = None,
    semantics: SemanticsOption = None,
    recipe: RecipeOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    anyway: AnywayOption = False,
    skip_bad: SkipBadOption = False,
    format: FormatOption = Format.text,
) -> None:
    """Try out options of a training, chosen by the loss on `select`, never by the test pictures; the same command goes on."""
    tune()
    from tench import api
    from tench.console import teller

    options: dict[str, Any] = {
        "learn_rate": learn_rate,
        "optimizer": optimizer,
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
        "class_weights": class_weights,
        "seed": seed,
        "share": share,
        "test_share": test_share,
    }
    how: dict[str, Any] = {
        "sampler": sampler.value if sampler else None,
        "trials": trials,
        "sampler_seed": sampler_seed,
        "prune": prune,
        "budget_s": seconds_of(budget) if budget else None,
        "storage": storage,
        "device": device,
        "threads": threads,
    }
    name, source = recipe_name(recipe, semantics), opened(data, skip_bad, quiet)
    outcome = api.sweep(network, source, recipe=name, watcher=teller(quiet), anyway=anyway, **how, **options)
    _print(outcome, training_command(outcome, data, name), format)


def training_command(outcome: "Outcome", data: str | None, recipe: str | None) -> str | None:
    """The command that trains the best trial again with the next seed; None where no trial is finished."""
    if outcome.best is None:
        return None
    options = outcome.best_options
    options["seed"] = options.get("seed", 0) + 1
    words = ["tench", "train", outcome.network]
    for name, value in options.items():
        flag = FLAGS.get(name, "--" + name.replace("_", "-"))
        words += [flag if value else flag.replace("--", "--no-")] if isinstance(value, bool) else [flag, str(value)]
    places = {"--recipe": recipe, "--data": data}
    return shlex.join([*words, *(word for flag, value in places.items() if value for word in (flag, value))])


def _print(outcome: "Outcome", command: str | None, how: Format) -> None:
    rows = [trial.as_dict() for trial in outcome.trials]
    if how is Format.json:
        best = outcome.best.run_id if outcome.best else None
        told = {"best": best, "command": command, "chosen_by": "select_loss"}
        show_json({"sweep": outcome.name, "storage": str(outcome.storage), **told, "trials": rows})
    elif how is not Format.text:
        show_rows(rows, how)
    else:
        _print_text(outcome, rows, command)


def _print_text(outcome: "Outcome", rows: list[dict[str, Any]], command: str | None) -> None:
    from tench.comparison.terminal import Fitting
    from tench.sweeping.outcome import CHOSEN_BY

    heads, words = list(rows[0] if rows else ()), frozenset(("status", "run"))
    lines = [[_shown(name, value) for name, value in row.items()] for row in rows]
    show(Fitting(f"Sweep {outcome.name}", heads, lines, words=words, whole=words, spare=("seconds", "epochs", "status", "select_top1")))
    typer.echo(CHOSEN_BY)
    if outcome.best is None:
        typer.echo("No trial is finished yet.")
        return
    typer.echo(f"The best is {outcome.best.run_id}: one training with one seed. With another seed, and others after it:\n  {command}")


def _shown(name: str, value: Any) -> str:
    from tench.comparison import duration

    if value is None:
        return "-"
    if name == "seconds":
        return duration(value)
    if name == "select_top1":
        return f"{100 * value:.2f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
