"""The only verbs that download, and those that look at pictures: data (get, info, check), weights (get)."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tench.cli.app import DataOption, Format, FormatOption, SeenHashesOption, SkipBadOption, app, opened, show_json

if TYPE_CHECKING:
    from tench.data.sources import Source

data_app = typer.Typer(help="Get and look at pictures.", no_args_is_help=True, rich_markup_mode=None)
weights_app = typer.Typer(help="Get pretrained weights.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


class DataSet(StrEnum):
    """What can be downloaded."""

    imagenette = "imagenette"


class Form(StrEnum):
    """Of Imagenette: the shorter side in pixels, or the full size."""

    px160 = "160"
    px320 = "320"
    full = "full"


class WeightsName(StrEnum):
    """What can be downloaded."""

    googlenet = "googlenet"


@data_app.command("get")
def get_data(
    name: Annotated[DataSet, typer.Argument(help="imagenette")],
    px: Annotated[Form, typer.Option("--px", help="Its shorter side: 160 (94 MiB), 320 (326 MiB), or full (1.5 GiB).")] = Form.px160,
) -> None:
    """Download Imagenette into the cache: resumable, checked by hash."""
    from tench.data.imagenette import get

    typer.echo(f"{name.value} is at {get(px.value, _told())}")


@weights_app.command("get")
def get_weights(name: Annotated[WeightsName, typer.Argument(help="googlenet")]) -> None:
    """Download GoogLeNet's ImageNet weights (27 MiB) into the cache: resumable, checked by hash."""
    from tench.data.download import get_googlenet

    typer.echo(f"{name.value}'s weights are at {get_googlenet(_told())}")


def _told() -> "Told":
    return Told()


class Told:
    """Writes how far a download is, every tenth of it, to standard error."""

    def __init__(self) -> None:
        self.last = -1

    def __call__(self, done: int, total: int | None) -> None:
        """`done` of `total` bytes are there; a total that is not known is None."""
        tenth = 10 * done // total if total else done // (10 * 2**20)
        if tenth != self.last:
            self.last = tenth
            of = f" of {total / 2**20:,.0f}" if total else ""
            typer.echo(f"{done / 2**20:,.0f}{of} MiB", err=True)


@data_app.command("info")
def info(data: DataOption = None, skip_bad: SkipBadOption = False, format: FormatOption = Format.text) -> None:
    """Say which pictures are there: how many of each class in each split."""
    from collections import Counter

    source = opened(data, skip_bad)
    counts = Counter((picture.split, picture.label) for picture in source.pictures)
    rows = [
        {
            "class": kind.id,
            "english": kind.english,
            "polish": kind.polish,
            "train": counts["train", label],
            "val": counts["val", label],
        }
        for label, kind in enumerate(source.classes)
    ]
    if format is Format.json:
        show_json({"name": source.name, "kind": source.kind, "sha256": source.sha256, "is_demo": source.is_demo, "classes": rows})
        return
    from tench.cli.app import show_rows

    show_rows(rows, Format.markdown if format is Format.text else format)


@data_app.command("check")
def check(data: DataOption = None, seen_hashes: SeenHashesOption = None, format: FormatOption = Format.text) -> None:
    """Look for pictures that cannot be used, and for identical and nearly identical ones, above all between training and test.

    Nearly identical: the same photograph recompressed, rescaled, brighter or darker, mirrored, or cropped by up to 5 % of a side.
    The exit code is 1 where a picture cannot be used, is both in training and validation, or stands in two classes.
    """
    from tench.data.alike import near_duplicates
    from tench.data.overlap import between, duplicates

    source = opened(data, skip_bad=True, seen_hashes=seen_hashes)
    train = [picture for picture in source.pictures if picture.split == "train"]
    val = [picture for picture in source.pictures if picture.split == "val"]
    shared, doubles = between(train, val), duplicates(source.pictures)
    split_of = {picture.name: picture.split for picture in source.pictures}
    alike = near_duplicates(source)
    across = [pair for pair in alike if split_of[pair.first] != split_of[pair.second]]
    within = [pair for pair in alike if split_of[pair.first] == split_of[pair.second]]
    torn = [one.names for one in doubles if one.contradict]
    code = int(bool(source.skipped or shared or torn))
    if format is Format.json:
        show_json(
            {
                "unusable": [{"name": name, "reason": reason} for name, reason in source.skipped],
                "in_training_and_validation": [{"train": pair.first, "val": pair.second} for pair in shared],
                "identical": [list(one.names) for one in doubles],
                "in_two_classes": [list(names) for names in torn],
                "alike_in_training_and_validation": [
                    {"train": pair.first, "val": pair.second, "likeness": pair.likeness, "mirrored": pair.mirrored} for pair in across
                ],
                "alike_within_one": [asdict(pair) for pair in within],
                "never_seen_in_pretraining": _never_seen(source),
                "notes": [{"name": name, "note": note} for name, note in source.notes],
            }
        )
        raise typer.Exit(code)
    for name, reason in source.skipped:
        typer.echo(f"unusable: {name} {reason}")
    for pair in shared:
        typer.echo(f"in training and validation: {pair.first} = {pair.second}")
    for one in doubles:
        typer.echo(("identical, in two classes: " if one.contradict else "identical: ") + " = ".join(one.names))
    for pairs, where in ((across, "in training and validation"), (within, "within one of them")):
        for near in pairs:
            how = ", mirrored" if near.mirrored else ""
            typer.echo(f"nearly identical {where}: {near.first} ~ {near.second} (likeness {near.likeness:.2f}{how})")
    for name, note in source.notes:
        typer.echo(f"note: {name} {note}")
    typer.echo(
        f"{len(source.skipped):,} unusable, {len(shared):,} both in training and validation,"
        f" {len(doubles):,} contents that occur more than once ({len(torn):,} in two classes)."
        f" Nearly identical pairs: {len(across):,} in training and validation, {len(within):,} within one of them."
    )
    if never_seen := _never_seen(source):
        typer.echo("Never seen in pretraining: " + ", ".join(f"{n:,} {split}" for split, n in never_seen.items()) + " pictures.")
    else:
        typer.echo("Which pictures a pretrained network had seen is not known; --seen-hashes FILE says it.")
    if source.skipped:
        typer.echo("Training refuses the unusable ones; with --skip-bad it leaves them out and records which.")
    raise typer.Exit(code)


def _never_seen(source: "Source") -> dict[str, int] | None:
    """How many pictures of each split no pretraining saw; None where that is not known."""
    unseen = source.unseen
    if unseen is None:
        return None
    names = {"train": "training", "val": "validation"}
    return {
        name: sum(bool(new) for new, one in zip(unseen, source.pictures, strict=True) if one.split == split)
        for split, name in names.items()
    }
