"""The verb that shows: report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tench.cli.app import Language, app


class Photographs(StrEnum):
    """How photographs of the data may be shown."""

    thumbnails = "thumbnails"
    none = "none"


@app.command()
def report(
    run: Annotated[
        list[str] | None,
        typer.Argument(help="Runs (ids or folders), folders that hold runs, or names of studies; none: all finished runs."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("report.html"),
    lang: Annotated[Language, typer.Option("--lang", help="Of the report.")] = Language.en,
    photographs: Annotated[Photographs, typer.Option("--photographs", help="Small, or none at all.")] = Photographs.thumbnails,
    figures: Annotated[Path | None, typer.Option("--figures", help="Folder for the figures too, each as PNG and SVG.")] = None,
) -> None:
    """Write a report on finished runs: one HTML file with everything in it."""
    from tench import api

    shown = photographs is Photographs.thumbnails
    done = api.write_report(*(run or ()), output=output, lang=lang.value, photographs=shown, figures=figures)
    typer.echo(f"Written: {done.page} ({done.bytes / 1e6:.1f} MB)")
    if figures:
        typer.echo(f"Written: {len(done.figures)} figures in {figures}")
