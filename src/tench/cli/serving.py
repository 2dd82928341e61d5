"""The verb serve."""

from typing import Annotated

import typer

from tench.cli.app import DeviceOption, ThreadsOption, WeightsOption, app


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Argument(help="Runs, bundles, pretrained networks (googlenet, timm:NAME); none: the best finished run, else googlenet."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen; others than this machine then need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 8765,
    max_mib: Annotated[float, typer.Option("--max-mib", min=0.01, max=1024, help="The largest request that is taken.")] = 20,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    classes: Annotated[str, typer.Option("--classes", help="Of pretrained networks: imagenette or all (1,000).")] = "imagenette",
    weights: WeightsOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
) -> None:
    """Serve networks as a page and an HTTP API: answers, heat maps, layers, and trainings while they go on."""
    from functools import partial

    from tench import api
    from tench.serve.desk import Desk
    from tench.serve.limits import MIB, Limits
    from tench.serve.models import Models, chosen
    from tench.serve.start import bind, run

    place = bind(host, port)
    names = chosen(model or [])
    openings = [partial(api.load, name, weights=weights, classes=classes, device=device, threads=threads) for name in names]
    run(Desk(Models(openings), Limits(max_bytes=round(max_mib * MIB))), place, open_, typer.echo)
