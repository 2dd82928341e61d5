"""The app, the options several verbs share, and how answers are printed."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tench.data.sources import Source

app = typer.Typer(
    name="tench",
    help="A test bench for picture recognisers: declare networks as tables, train them, compare them honestly, use them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


MOST_SAID = 10
"""Pictures that one line names."""


class Format(StrEnum):
    """How an answer is printed."""

    text = "text"
    json = "json"
    csv = "csv"
    markdown = "markdown"


class Language(StrEnum):
    """Of class names."""

    en = "en"
    pl = "pl"


class Optimizer(StrEnum):
    """Of trainings."""

    sgdm = "sgdm"
    adam = "adam"
    muon = "muon"


class LayoutChoice(StrEnum):
    """Of pictures and kernels in memory."""

    channels_last = "channels_last"
    channels_first = "channels_first"


class PrecisionChoice(StrEnum):
    """Of the products in training."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class ClassWeightsChoice(StrEnum):
    """Of classes in the loss."""

    none = "none"
    balanced = "balanced"


class Semantics(StrEnum):
    """The two sets of rules."""

    r2018b = "r2018b"
    modern = "modern"


SHARED = ("train", "resume")
"""Verbs that several processes, started by torchrun, carry out together."""

DataOption = Annotated[
    str | None,
    typer.Option("--data", help="Folder or archive of class folders, 'imagenette' or 'pictograms'; else TENCH_DATA, cache, demo."),
]
WeightsOption = Annotated[Path | None, typer.Option("--weights", help="Pretrained weights: a file, or a folder that holds them.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="On the CPU; default: one a core, or what a trial finds faster.")
]
PrecisionOption = Annotated[
    PrecisionChoice | None, typer.Option("--precision", help="Of products, where the rules leave it open; default: the machine's fastest.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How the answer is printed.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]
AnywayOption = Annotated[bool, typer.Option("--anyway", help="Go on although memory may not suffice, or something has changed.")]
SkipBadOption = Annotated[bool, typer.Option("--skip-bad", help="Leave unusable pictures out, and record which.")]
SeenHashesOption = Annotated[
    Path | None, typer.Option("--seen-hashes", help="List of sha256 of the pictures that pretraining saw; Imagenette's are known.")
]
ExhibitsOption = Annotated[
    bool, typer.Option("--exhibits/--no-exhibits", help="Heat maps, feature maps and thumbnails for the report, made at the end.")
]
RecipeOption = Annotated[str | None, typer.Option("--recipe", help="Rules and options: a built-in name or a .toml file.")]
SemanticsOption = Annotated[Semantics | None, typer.Option("--semantics", help="Short for --recipe r2018b or --recipe modern.")]


def version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from tench import __version__

        typer.echo(f"tench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A test bench for picture recognisers: declare networks as tables, train them, compare them honestly, use them."""
    if "WORLD_SIZE" not in os.environ:  # nothing else is imported for it
        return
    from tench.errors import UsageError
    from tench.runtime import launched

    if launched().size > 1 and context.invoked_subcommand not in SHARED:
        raise UsageError(f"Several processes share `tench {'` or `tench '.join(SHARED)}` only; start this one without torchrun.")


def recipe_name(recipe: str | None, semantics: Semantics | None) -> str | None:
    """The recipe that two ways of naming it mean. Raises ConfigError where they differ."""
    from tench.errors import ConfigError

    if recipe and semantics and recipe != semantics.value:
        raise ConfigError(f"--recipe {recipe} and --semantics {semantics.value} name two recipes; give one of them.")
    return recipe or (semantics.value if semantics else None)


def tune() -> None:
    """Memory settings of this process, before torch is imported. Only training verbs make them."""
    from tench.runtime import tune_process

    tune_process()


def seconds_of(text: str) -> float:
    """Seconds of "90min", "8h", "1.5h" or "600s"."""
    from tench.errors import ConfigError

    units = {"h": 3600.0, "min": 60.0, "s": 1.0}
    number = text.rstrip("hmins ")
    try:
        return float(number) * units[text[len(number) :].strip()]
    except (ValueError, KeyError):
        raise ConfigError(f"The budget '{text}' cannot be read; write a number with h, min or s, such as 90min.") from None


def opened(data: str | None, skip_bad: bool, quiet: bool = False, seen_hashes: Path | None = None) -> "Source":
    """The pictures asked for. Which they are is the first line of output (standard error, so that results can be piped).

    Said with it: pictures of which only a part is used, and those that are both to be learnt from and to be scored.
    """
    from tench.data.overlap import between
    from tench.data.sources import describe, open_source

    source = open_source(data, skip_bad=skip_bad, seen_hashes=seen_hashes)
    if not quiet:
        typer.echo(f"Data: {describe(source)}", err=True)
        _say("Note", [f"{name} {note}" for name, note in source.notes])
        shared = between(*([one for one in source.pictures if one.split == split] for split in ("train", "val")))
        _say("Warning: the same picture is in training and validation", [f"{pair.first} = {pair.second}" for pair in shared])
    return source


def _say(what: str, found: list[str]) -> None:
    """One line on standard error with the first of `found`, unless there are none."""
    if found:
        more = f" and {len(found) - MOST_SAID:,} more (`tench data check` lists all)" if len(found) > MOST_SAID else ""
        typer.echo(f"{what}: {'; '.join(found[:MOST_SAID])}{more}", err=True)


def show(what: "RenderableType") -> None:
    """Print something for people. Where nobody looks at a terminal, lines are not cut."""
    import sys

    from rich.console import Console

    console = Console()
    if not sys.stdout.isatty():
        console = Console(width=240)
    console.print(what)


def show_json(value: Any) -> None:
    """Print `value` as JSON, NaN and infinities as null."""
    from tench.records.model import finite

    typer.echo(json.dumps(finite(value), indent=2, ensure_ascii=False))


def show_rows(rows: list[dict[str, Any]], how: Format) -> None:
    """Print plain rows, all with the same keys, as JSON, CSV or Markdown."""
    if how is Format.json:
        show_json(rows)
        return
    heads = list(rows[0]) if rows else []
    if how is Format.csv:
        import csv
        import sys

        writer = csv.DictWriter(sys.stdout, heads, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    from tench.comparison.formats import markdown_rows

    typer.echo(markdown_rows(heads, [[str(row[head]) for head in heads] for row in rows]), nl=False)
