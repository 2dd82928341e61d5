"""Verbs that use a network: predict, evaluate, explain."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tench.cli.app import (
    DataOption,
    DeviceOption,
    Format,
    FormatOption,
    Language,
    SeenHashesOption,
    SkipBadOption,
    ThreadsOption,
    WeightsOption,
    app,
    show,
    show_json,
)

if TYPE_CHECKING:
    from tench.answering import Answer
    from tench.scoring import Evaluation

BAR = 24
"""Characters of a bar of 100 %."""


@app.command()
def predict(
    what: Annotated[str, typer.Argument(help="A run, a bundle, or a pretrained network: googlenet, timm:NAME, torchvision:NAME.")],
    photo: Annotated[list[str], typer.Argument(help="Photographs, folders of them, patterns such as '*.jpg'; - for standard input.")],
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to name.")] = 3,
    language: Annotated[Language, typer.Option("--lang", "--language", help="Of the class names.")] = Language.en,
    classes: Annotated[str, typer.Option("--classes", help="Of pretrained networks: imagenette or all (1,000).")] = "imagenette",
    weights: WeightsOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Say what is on photographs. One that cannot be read does not stop the rest; then the exit code is 1."""
    from tench import api
    from tench.answering import as_json
    from tench.data.photos import STANDARD_INPUT, photographs
    from tench.errors import TenchError, UsageError

    if format is Format.markdown:
        raise UsageError("predict prints text, json or csv; take one of these for --format.")
    if STANDARD_INPUT in photo and len(photo) > 1:
        raise UsageError("- is one picture from standard input; name no others beside it.")
    names = [STANDARD_INPUT] if photo == [STANDARD_INPUT] else list(photographs(photo))
    found = api.load(what, weights=weights, classes=classes, device=device, threads=threads)
    answers: list[tuple[str, Answer]] = []
    failed = False
    photos = [sys.stdin.buffer.read()] if names == [STANDARD_INPUT] else names
    for name, answer in zip(names, found.predict_many(photos, top), strict=True):
        if isinstance(answer, TenchError):
            failed = True
            typer.echo(f"tench: {answer}", err=True)
            continue
        answers.append((str(name), answer))
        if format is Format.text:
            _show_answer(*answers[-1], language)
    if format is Format.json:
        typer.echo(as_json(answers))
    elif format is Format.csv:
        _write_csv(answers)
    elif found.trust and any(answer.is_strange for _, answer in answers):
        typer.echo(found.trust.facts.sentence)
    if found.learnt_from_drawings:
        typer.echo(_DRAWINGS[language].format(name=found.name), err=format is not Format.text)
    if failed:
        sys.exit(1)


_STRANGE = {
    Language.en: "Not one of these, it seems: it looks less familiar than {share:.0%} of the pictures that are.",
    Language.pl: "Chyba żadna z nich: obraz wygląda mniej znajomo niż {share:.0%} obrazów tych klas.",
}
_DRAWINGS = {
    Language.en: "{name} learnt from tench's own drawings: of photographs its answers say nothing.",
    Language.pl: "{name} uczyła się na rysunkach wykonanych przez tench: o zdjęciach jej odpowiedzi nic nie mówią.",
}


def _certainty(probability: float) -> str:
    """Per cent for reading. No network is certain: what rounds to nothing or to all is not shown as that."""
    if probability < 0.00005:
        return "< 0.01"
    return "> 99.99" if probability >= 0.99995 else f"{100 * probability:.2f}"


def _show_answer(photo: str, answer: "Answer", language: Language) -> None:
    names = [guess.kind.polish if language is Language.pl else guess.kind.english for guess in answer]
    width = max(map(len, names))
    typer.echo(photo)
    for name, guess in zip(names, answer, strict=True):
        bar = "█" * round(guess.probability * BAR)
        typer.echo(f"  {name:<{width}} {_certainty(guess.probability):>7} %  {bar}")
    if answer.is_strange and answer.familiarity is not None:
        typer.echo("  " + _STRANGE[language].format(share=1 - answer.familiarity))


def _write_csv(answers: list[tuple[str, "Answer"]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["photo", "rank", "id", "english", "polish", "probability", "familiarity", "not_one_of_these"])
    for photo, answer in answers:
        about = ["", ""] if answer.familiarity is None else [answer.familiarity, answer.is_strange]
        for rank, guess in enumerate(answer, start=1):
            writer.writerow([photo, rank, guess.kind.id, guess.kind.english, guess.kind.polish, guess.probability, *about])


@app.command()
def evaluate(
    what: Annotated[str, typer.Argument(help="A run, or a pretrained network: googlenet, timm:NAME, torchvision:NAME.")],
    data: Annotated[str, typer.Option("--data", help="Folder or archive of class folders; of train/ and val/ the val part is scored.")],
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    skip_bad: SkipBadOption = False,
    seen_hashes: SeenHashesOption = None,
    format: FormatOption = Format.text,
) -> None:
    """Score a network on other labelled pictures; classes are matched by name, pictures it was trained on are found and said."""
    from tench import api
    from tench.data.sources import describe, open_source
    from tench.errors import UsageError

    if format not in (Format.text, Format.json):
        raise UsageError("evaluate prints text or json; take one of these for --format.")
    source = open_source(data, skip_bad=skip_bad, val_share=1.0, seen_hashes=seen_hashes)
    typer.echo(f"Data: {describe(source)}", err=True)
    found = api.evaluate(what, source, weights=weights, device=device, threads=threads)
    if format is Format.json:
        show_json(found.as_dict())
    else:
        _show_evaluation(found)


def _show_evaluation(found: "Evaluation") -> None:
    from rich.table import Table
    from rich.text import Text

    m = found.metrics
    typer.echo(
        f"{found.recogniser} on {found.data} (sha256 {found.data_sha256[:12]}): {100 * m.top1:.2f} % of {m.n:,} right"
        f" ({100 * m.low:.2f} to {100 * m.high:.2f}), negative log-likelihood {m.nll:.4f}, calibration error {m.ece:.4f}"
    )
    if found.unseen:
        u = found.unseen
        typer.echo(f"Never seen in pretraining: {100 * u.top1:.2f} % of {u.n:,} ({100 * u.low:.2f} to {100 * u.high:.2f})")
    grid = Table(title="Class by class, and which class was answered", title_justify="left")
    grid.add_column("right class")
    for head in ("n", "precision, %", "recall, %", "F1, %"):
        grid.add_column(head, justify="right")
    for kind in found.classes:
        grid.add_column(Text(kind.english[:8]), justify="right")
    for kind, entry, answered in zip(found.classes, m.per_class, m.confusion, strict=True):
        shares = [f"{100 * share:.1f}" for share in (entry.precision, entry.recall, entry.f1)]
        grid.add_row(Text(kind.english), f"{entry.n:,}", *shares, *[str(count) if count else "." for count in answered])
    if len(found.classes) <= 20:
        show(grid)
    for note in found.notes:
        typer.echo(note)


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="Id (or its beginning) or folder of a finished run.")],
    data: DataOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Make a run's exhibits for the report: filters, feature maps, heat maps, thumbnails. Trainings make them at their end."""
    from tench import api
    from tench.records import load_run

    found = load_run(run)
    made = api.exhibit(found, data, device=device, threads=threads)
    parts = [
        f"the kernels of {made.filters}" if made.filters else "no filters",
        f"{len(made.ways)} pictures through the layers",
        f"{len(made.heat_maps)} heat maps",
        "thumbnails of mistakes" if made.thumbnails else "no thumbnails, for there are no mistakes",
    ]
    typer.echo(f"{found.exhibits_path}: {'; '.join(parts)}.")
    typer.echo(f"Heat maps: {made.heat_method}.")
