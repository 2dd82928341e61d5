"""The verb that gives a network away: export."""

from pathlib import Path
from typing import Annotated

import typer

from tench.cli.app import DataOption, ThreadsOption, app


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Id (or its beginning) or folder of a finished run.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder to write; a zip of it comes beside it.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="In 8-bit integers: a quarter of the size, on many processors faster.")] = False,
    data: DataOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Write a run as a bundle: a folder and a zip with an ONNX model and its card, usable without torch."""
    from tench import api
    from tench.bundle.read import load_bundle

    path = api.export(run, output, data, int8=int8, threads=threads)
    facts = load_bundle(path, threads).facts
    typer.echo(f"Written: {path.with_suffix('')} and {path.name} ({path.stat().st_size / 1e6:.1f} MB)")
    typer.echo(
        ("In 8-bit integers it is another network, if a near one. " if int8 else "")
        + f"On {facts.parity.n} pictures its logits differ from torch's by at most {facts.parity.largest_difference:.0e} of the largest;"
        f" {facts.parity.agreed} answers are the same, and {facts.parity.correct} are right, where torch has {facts.parity.torch_correct}."
    )
    typer.echo(f"Use it: tench predict {path} PHOTO; its card is {path.with_suffix('') / 'README.md'}")
