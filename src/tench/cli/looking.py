"""Verbs that look and change nothing: networks, doctor."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tench.cli.app import Format, FormatOption, app, show, show_json, show_rows

if TYPE_CHECKING:
    from tench.networks.table import Table

MATRIX_SIDE = 2048
"""Of the matrix product by which `tench doctor` measures the machine."""
MEASURED_S = 2.0


@app.command()
def networks(
    name: Annotated[str | None, typer.Argument(help="One network: its layer table. Without a name: all built-in ones.")] = None,
    audit: Annotated[bool, typer.Option("--audit", help="GoogLeNet's published counts beside the counted ones.")] = False,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Count at this side of the pictures, in pixels.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, help="Count with this many classes.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """List the built-in networks, or show one network row by row."""
    if audit:
        _audit(name or "googlenet", format)
    elif name is None:
        _list([_changed(table, size, classes) for table in _built_in()], format)
    else:
        _one(name, size, classes, format)


def _built_in() -> list["Table"]:
    from tench.networks.table import builtin_table, builtin_tables

    return [builtin_table(name) for name in builtin_tables()]


def _table(name: str) -> "Table | None":
    """The table a user means, found without torch; None for networks that are code."""
    from tench.networks.table import builtin_table, builtin_tables, load_table

    if name in builtin_tables():
        return builtin_table(name)
    return load_table(Path(name)) if name.endswith(".net") and Path(name).is_file() else None


def _changed(table: "Table", size: int | None, classes: int | None) -> "Table":
    changed = table.with_classes(classes) if classes else table
    return changed.resized(size) if size else changed


def _facts(table: "Table") -> dict[str, Any]:
    return {
        "name": table.name,
        "origin": table.origin,
        "published": table.published,
        "input_px": table.input_px[0],
        "classes": table.n_classes,
        "layers": sum(layer.depth == 0 for layer in table.layers()),
        "parameters": table.parameters,
        "macs": table.macs,
        "receptive_field_px": table.receptive_field_px,
    }


def _list(tables: list["Table"], how: Format) -> None:
    rows = [_facts(table) for table in tables]
    if how is not Format.text:
        show_rows(rows, how)
        return
    from tench.comparison.terminal import Fitting

    heads = ("network", "origin", "input, px", "classes", "rows", "parameters", "multiply-adds", "receptive field, px")
    lines = []
    for row in rows:
        counts = f"{row['parameters']:,}", f"{row['macs'] / 1e9:.3f} G", str(row["receptive_field_px"])
        lines.append([row["name"], row["origin"], str(row["input_px"]), str(row["classes"]), str(row["layers"]), *counts])
    names = frozenset(heads[:2])
    spare = ("receptive field, px", "rows", "classes", "input, px", "origin")
    show(Fitting(f"{len(rows)} built-in networks", heads, lines, words=names, whole=names, spare=spare))
    typer.echo("published: printed in the study's report; reconstructed: described there only. `tench networks NAME` shows one row by row.")


def _one(name: str, size: int | None, classes: int | None, how: Format) -> None:
    table = _table(name)
    if table is None:
        _code(name, size, classes, how)
        return
    table = _changed(table, size, classes)
    rows = [
        {
            "row": layer.text,
            "depth": layer.depth,
            "output": "x".join(str(side) for side in _height_width_channels(layer.output_shape)),
            "parameters": layer.parameters,
            "macs": layer.macs,
            "receptive_field_px": layer.receptive_field_px,
        }
        for layer in table.layers()
    ]
    if how is Format.json:
        show_json(_facts(table) | {"rows": rows})
    elif how is not Format.text:
        show_rows(rows, how)
    else:
        _show_layers(table, rows)


def _height_width_channels(shape: Any) -> tuple[int, int, int]:
    channels, height, width = shape
    return height, width, channels


def _show_layers(table: "Table", rows: list[dict[str, Any]]) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=f"{table.name} ({table.origin})", title_justify="left", show_footer=True)
    grid.add_column("row", footer="in all")
    grid.add_column("output", justify="right")
    grid.add_column("parameters", justify="right", footer=f"{table.parameters:,}")
    grid.add_column("multiply-adds", justify="right", footer=f"{table.macs:,}")
    grid.add_column("receptive field, px", justify="right")
    for row in rows:
        counts = f"{row['parameters']:,}" if row["parameters"] else "", f"{row['macs']:,}" if row["macs"] else ""
        grid.add_row(Text("  " * row["depth"] + row["row"]), row["output"], *counts, str(row["receptive_field_px"]))
    show(grid)


def _code(name: str, size: int | None, classes: int | None, how: Format) -> None:
    """A network that is code: what it counts to on the module."""
    from tench.networks.reference import network

    found = network(name)
    px, n_classes = size or found.input_px, classes or 10
    counts = found.counts(n_classes, px)
    facts = {
        "name": found.name,
        "origin": found.origin,
        "published": False,
        "input_px": px,
        "classes": n_classes,
        "parameters": counts.parameters,
        "macs": counts.macs,
        "counted": counts.counted,
    }
    if how is Format.json:
        show_json(facts)
    elif how is not Format.text:
        show_rows([facts], how)
    else:
        typer.echo(
            f"{found.name} ({found.origin}): {counts.parameters:,} parameters and {counts.macs / 1e9:.3f} G multiply-adds at"
            f" {px} x {px} pixels with {n_classes} classes, counted on the module."
        )


def _audit(name: str, how: Format) -> None:
    from tench.errors import UsageError
    from tench.networks.audit import audit

    table = _table(name)
    if table is None:
        raise UsageError(f"{name} has no table to audit; only googlenet's counts are published row by row.")
    rows = audit(table)
    if how is not Format.text:
        show_rows([asdict(row) for row in rows], how)
        return
    from rich.table import Table as Grid

    grid = Grid(title="GoogLeNet: the published counts and the counted ones", title_justify="left")
    grid.add_column("row")
    for head in ("output", "params, report", "params, counted", "ops, report", "ops, counted"):
        grid.add_column(head, justify="right")
    for head in ("verdict", "note"):
        grid.add_column(head)
    for row in rows:
        counts = row.report_params, row.counted_params, row.report_ops, row.counted_ops
        grid.add_row(row.row, row.counted_output, *counts, row.verdict, row.note)
    show(grid)
    typer.echo("params: weights without biases, K = 1,024; ops: multiply-adds. Agrees: params within 1 %, ops within 1M.")


@app.command()
def doctor(format: FormatOption = Format.text) -> None:
    """Say what this machine has, how fast it is, and which pictures and weights tench finds."""
    from tench.data.sources import describe, open_source
    from tench.errors import TenchError
    from tench.networks.pretrained import find_googlenet_weights
    from tench.runtime import apply_engine, choose_engine, machine_facts, versions

    engine = choose_engine()
    apply_engine(engine)
    facts: dict[str, str] = {"versions": ", ".join(f"{name} {number}" for name, number in versions().items())}
    machine = machine_facts(engine)
    facts["machine"] = f"{machine.processor}, {machine.cores} cores, {machine.memory_mib:,} MiB, {machine.system}"
    facts["GPU"] = machine.accelerator or "none: everything runs on the CPU"
    facts["engine"] = f"{engine.device}, {engine.threads} threads, {engine.layout}, {engine.precision}"
    facts["engine trials"] = _trials()
    facts["memory settings"] = _memory_settings()
    precisions = dict.fromkeys(("float32", engine.precision))
    rates = ", ".join(f"{_matrix_rate(engine.device, precision):,.0f} GFLOP/s in {precision}" for precision in precisions)
    facts["matrix product"] = f"{rates} ({MATRIX_SIDE} x {MATRIX_SIDE})"
    try:
        facts["pictures"] = describe(open_source())
    except TenchError as error:
        facts["pictures"] = str(error)
    try:
        found = find_googlenet_weights()
        facts["GoogLeNet weights"] = str(found) if found else "none: `tench weights get googlenet`, TENCH_WEIGHTS or --weights FILE"
    except TenchError as error:
        facts["GoogLeNet weights"] = str(error)
    facts |= _folders()
    if format is Format.json:
        show_json(facts)
    elif format is not Format.text:
        show_rows([{"what": what, "found": text} for what, text in facts.items()], format)
    else:
        width = max(map(len, facts))
        typer.echo("\n".join(f"{what:<{width}}  {text}" for what, text in facts.items()))


def _trials() -> str:
    from tench.training.trial import remembered

    tried = remembered().values()
    if not tried:
        return "none so far: a training that is long enough tries which memory layout is faster, and whether compiling pays"
    return "; ".join(
        f"{trial.what}: {trial.layout}{', compiled' if trial.compiled else ''}, {trial.threads} threads"
        f" ({', '.join(f'{words} {seconds:.3g} s a step' for words, seconds in trial.step_s.items())})"
        for trial in tried
    )


def _memory_settings() -> str:
    import os
    import sys

    if os.environ.get("TENCH_NO_TUNING"):
        return "off (TENCH_NO_TUNING is set)"
    return "made by train, transfer, study, sweep, new and resume" if sys.platform == "linux" else "none: they are for Linux with glibc"


def _matrix_rate(device: str, precision: str) -> float:
    """GFLOP/s of a large product of matrices of `precision` numbers, over two seconds."""
    import time

    import torch

    a = torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=device).to(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    (a @ a).sum().item()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < MEASURED_S:
        (a @ a)[0, 0].item()
        count += 1
    return 2 * MATRIX_SIDE**3 * count / (time.perf_counter() - began) / 1e9


def _folders() -> dict[str, str]:
    from tench.config import cache_folder, runs_folder
    from tench.records import list_runs

    cache = cache_folder()
    size_mib = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 2**20 if cache.is_dir() else 0.0
    return {
        "cache": f"{cache} ({size_mib:,.0f} MiB)",
        "runs": f"{runs_folder().resolve()} ({len(list_runs().runs)} runs)",
    }
