"""The verb for one's own pictures: new."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from tench.cli.app import DeviceOption, Language, QuietOption, ThreadsOption, WeightsOption, app, show, tune


@app.command()
def new(
    folder: Annotated[str, typer.Argument(help="Folder or archive of class folders, with or without train/ and val/.")],
    own: Annotated[bool, typer.Option("--own", help="Train a small network of your own too, from scratch.")] = False,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="How long the own network may train.")] = 5.0,
    mirror: Annotated[
        bool, typer.Option("--mirror/--no-mirror", help="Show the own network half its pictures mirrored; not for letters and signs.")
    ] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Stop after the plan.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="What the pictures are called; default: as the folder.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The report; default: NAME-report.html here.")] = None,
    lang: Annotated[Language, typer.Option("--lang", help="Of the report.")] = Language.en,
    weights: WeightsOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of initial weights, order and roles.")] = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Look at a folder of your own pictures, propose a plan, train, and write the report."""
    tune()
    from tench.comparison import as_rich, results_table
    from tench.config import runs_folder
    from tench.console import teller
    from tench.runtime import choose_engine
    from tench.wizard.carry_out import carry_out, refuse_within
    from tench.wizard.look import look
    from tench.wizard.propose import propose
    from tench.wizard.words import of_look, of_outcome, of_proposal, to_go_on

    page = output or Path(f"{name or _plain(folder)}-report.html")
    refuse_within(Path(folder), page, runs_folder())
    watcher, asks = teller(quiet), not yes and sys.stdin.isatty()
    found = look(folder, name)
    _say(of_look(found), quiet)
    if found.source.skipped and asks and not plan_only:
        typer.confirm("Go on without the files that cannot be used?", default=True, abort=True, err=True)
    proposal = propose(found, choose_engine(device, threads), runs_folder(), weights, own, minutes, seed, mirror)
    _say(of_proposal(proposal), quiet and not plan_only)
    if plan_only:
        return
    if asks:
        typer.confirm("Start?", default=True, abort=True, err=True)
    done = carry_out(proposal, page, lang.value, watcher)
    show(as_rich(results_table(done.runs)))
    _say([*of_outcome(done), *to_go_on(done)])


def _plain(folder: str) -> str:
    """The folder's or archive's own name, to name the report after."""
    path = Path(folder).resolve()
    return path.name if path.is_dir() else path.name.split(".")[0]


def _say(lines: Iterable[str], quiet: bool = False) -> None:
    for line in () if quiet else lines:
        typer.echo(line)
