"""Verbs about runs that are kept: runs (list, show, prune, delete), compare."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tench.cli.app import Format, FormatOption, app, show, show_json, show_rows

if TYPE_CHECKING:
    from tench.records import Run

runs_app = typer.Typer(help="List, show and clear away the runs that are kept.", invoke_without_command=True, rich_markup_mode=None)
app.add_typer(runs_app, name="runs")


@runs_app.callback()
def runs(context: typer.Context, format: FormatOption = Format.text) -> None:
    """List the runs that are kept, the newest first."""
    if context.invoked_subcommand is None:
        list_them(format)


@runs_app.command("list")
def list_them(format: FormatOption = Format.text) -> None:
    """List the runs that are kept, the newest first."""
    from tench.config import runs_folder
    from tench.records import list_runs

    found = list_runs()
    for damaged in found.damaged.values():
        typer.echo(f"tench: {damaged}", err=True)
    rows = [_facts(run) for run in found.runs]
    if format is not Format.text:
        show_rows(rows, format)
    elif not rows:
        typer.echo(f"No runs are kept in {runs_folder().resolve()}. `tench train NETWORK` makes one; TENCH_RUNS names another folder.")
    else:
        _show(rows)


def _facts(run: "Run") -> dict[str, Any]:
    record, result = run.record, run.record.result
    killed = record.status == "running" and not run.in_use
    return {
        "run_id": record.run_id,
        "status": "killed" if killed else record.status,
        "kind": record.kind,
        "study": record.study,
        "row": record.row,
        "data": record.data.name,
        "top1": result.top1 if result else None,
        "n": result.n if result else None,
        "epochs": len(run.history()) or None,
        "created": record.created,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from tench.comparison.terminal import Fitting

    lines = []
    for row in rows:
        texts = [row["run_id"], row["status"], row["row"] or "", row["data"]]
        score = "" if row["top1"] is None else f"{100 * row['top1']:.2f}"
        lines.append([*texts, score, str(row["epochs"] or ""), row["created"][:16].replace("T", " ")])
    heads = ("run", "status", "row", "data", "top-1, %", "epochs", "created")
    show(Fitting("", heads, lines, words=frozenset(heads[:4]), whole=frozenset(heads[:2]), spare=("row", "epochs", "data", "created")))


@runs_app.command("show")
def show_one(
    run: Annotated[str, typer.Argument(help="Id (or its beginning) or folder of a run.")], format: FormatOption = Format.text
) -> None:
    """Show one run: its result, class by class too, how far its probabilities can be trusted, its curve, what it was made of."""
    from tench.comparison import as_rich, results_table
    from tench.records import load_run

    found = load_run(run)
    history = found.history()
    if format is Format.json:
        facts = found.record.model_dump(mode="json") | {"history": history, "folder": str(found.folder)}
        show_json(facts | {"reliability": _reliability(found)})
        return
    if format is not Format.text:
        show_rows(history, format)
        return
    record = found.record
    typer.echo(f"{record.run_id}: {record.status}" + (f" ({record.failure})" if record.failure else ""))
    if record.result:
        show(as_rich(results_table([found])))
        _show_classes(found)
        _show_reliability(found)
    _show_curve(history)
    _show_origin(found)


def _show_origin(run: "Run") -> None:
    from rich.table import Table
    from rich.text import Text

    record = run.record
    facts = {
        "data": f"{record.data.name}, sha256 {record.data.sha256}",
        "rules": f"{record.recipe}; " + ("; ".join(record.rule_differences) or "none differs"),
        **{key.replace("_", " "): _value(value) for key, value in record.options.items()},
        "machine": f"{record.machine.processor}, {record.machine.cores} cores",
        "versions": ", ".join(f"{name} {number}" for name, number in record.versions.items()),
        "begun": record.created,
        "folder": str(run.folder),
    }
    grid = Table.grid(padding=(0, 2))
    for what, text in facts.items():
        grid.add_row(Text(what), Text(text, overflow="fold"))
    show(grid)


def _value(value: Any) -> str:
    """An option for reading."""
    words = {None: "-", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _show_classes(run: "Run") -> None:
    from rich.table import Table
    from rich.text import Text

    result, words = run.record.result, {entry.id: entry.english for entry in run.record.data.classes}
    grid = Table(title="Class by class", title_justify="left")
    grid.add_column("class")
    for head in ("pictures", "precision, %", "recall, %", "F1, %"):
        grid.add_column(head, justify="right")
    for entry in result.per_class if result else ():
        shares = ("-" if name in entry.undefined else f"{100 * getattr(entry, name):.2f}" for name in ("precision", "recall", "f1"))
        grid.add_row(Text(words.get(entry.id) or entry.id), f"{entry.n:,}", *shares)
    if grid.row_count:
        show(grid)


def _reliability(run: "Run") -> list[dict[str, Any]]:
    """How often answers of like probability are right, a bin a line; nothing where the answers to single pictures were not kept."""
    import numpy as np

    from tench.errors import RecordError
    from tench.evaluation import reliability

    try:
        answers = run.predictions()
    except RecordError:
        return []
    tested = answers.only(answers.test)
    found = reliability(np.exp(tested.log_probabilities.max(axis=1).astype(np.float64)), tested.correct)
    bins = zip(found.counts, found.confidence, found.accuracy, strict=True)
    return [{"pictures": int(count), "confidence": float(mean), "top1": float(share)} for count, mean, share in bins]


def _show_reliability(run: "Run") -> None:
    from rich.table import Table

    bins, result = _reliability(run), run.record.result
    if not bins or result is None or result.ece is None or result.nll is None:
        return
    typer.echo(f"Calibration: expected calibration error {100 * result.ece:.2f} points, negative log-likelihood {result.nll:.4f}")
    grid = Table()
    for head in ("pictures", "sure of its answer, %", "right, %"):
        grid.add_column(head, justify="right")
    for line in bins:
        grid.add_row(f"{line['pictures']:,}", f"{100 * line['confidence']:.1f}", f"{100 * line['top1']:.1f}")
    show(grid)


def _show_curve(history: list[dict[str, Any]]) -> None:
    from rich.table import Table

    if not history:
        return
    grid = Table()
    for head in ("epoch", "loss", "fit, %", "select loss", "select, %", "rate", "pictures/s"):
        grid.add_column(head, justify="right")
    for line in history:
        selected = ("", "") if line["select_loss"] is None else (f"{line['select_loss']:.4f}", f"{100 * line['select_top1']:.2f}")
        shares = f"{100 * line['top1']:.2f}", *selected
        mark = "*" if line["best"] else ""
        grid.add_row(f"{line['epoch']}{mark}", f"{line['loss']:.4f}", *shares, f"{line['learn_rate']:.2g}", f"{line['pictures_per_s']:.1f}")
    show(grid)


@runs_app.command("prune")
def prune(
    days: Annotated[float, typer.Option("--days", min=0, help="Failed runs unchanged for so long go.")] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove checkpoints of finished runs, and failed runs."""
    from tench.records import prune as remove

    done = remove(older_than_s=days * 86_400, dry_run=dry_run)
    for path in done.paths:
        typer.echo(str(path))
    verb = "would be freed" if dry_run else "freed"
    typer.echo(f"{len(done.paths)} files and folders, {done.freed_mib:,.0f} MiB {verb}.")


@runs_app.command("delete")
def delete(
    run: Annotated[list[str], typer.Argument(help="Ids (or their beginnings) of runs.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs with all they hold."""
    from tench.config import runs_folder
    from tench.records import delete_run
    from tench.records.store import find_run

    for name in run:
        folder = find_run(name, runs_folder())
        if yes or typer.confirm(f"Delete {folder.name} with its weights and results?"):
            typer.echo(f"Deleted {delete_run(name)}")


@app.command()
def compare(
    run: Annotated[list[str], typer.Argument(help="Two or more runs: ids (or their beginnings) or folders; or folders that hold runs.")],
    among: Annotated[str, typer.Option("--among", help="test, or unseen: pictures that no pretraining saw.")] = "test",
    pairs: Annotated[bool, typer.Option("--pairs", help="Two by two, also where seeds are compared.")] = False,
    format: FormatOption = Format.text,
) -> None:
    """Compare runs on the pictures they were all scored on: exact McNemar for every pair, and recipes over their seeds."""
    from tench import api, comparison

    found = api.compare(*run, among=among)
    if format is Format.json:
        typer.echo(comparison.as_json(found).rstrip())
    elif format is Format.csv:
        typer.echo(comparison.as_csv(found.table).rstrip())
    elif format is Format.markdown:
        of_arms = "".join(f"- {arms.sentence}\n" for arms in found.arms)
        typer.echo("\n".join([comparison.as_markdown(found.table), of_arms, comparison.pairs_as_markdown(found.pairs).rstrip()]))
    else:
        show(comparison.as_rich(found.table))
        for arms in found.arms:
            typer.echo(arms.sentence)
        if pairs or not found.arms:
            show(comparison.pairs_as_rich(found.pairs))
            for pair in found.pairs:
                typer.echo(pair.sentence)
