"""The report as one HTML file: everything inlined, nothing fetched, words in one language."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from itertools import count
from typing import Any

from tench.comparison import wilson
from tench.comparison.arms import Arm, uncompared
from tench.comparison.notes import mostly_seen
from tench.comparison.reported import counts_in_agreement
from tench.networks.table import Table, parse
from tench.records import RunRecord
from tench.records.guide import GUIDE, read_guide_arrays
from tench.report import closely
from tench.report.canvas import Drawing
from tench.report.charts import CurveLimits, Point, cost_figure, curves_figure, reliability_figure, reported_figure
from tench.report.closely import Look, Thumbnails
from tench.report.drawing import network_drawing
from tench.report.findings import conclusions, finding, pair_lines, picks, repeats, rules
from tench.report.gathering import Material
from tench.report.guide import Section, guide_sections
from tench.report.pictures import Budget
from tench.report.plotting import styled, svg_for_page
from tench.report.provenance import command, facts, rule_differences
from tench.report.seeing import plates
from tench.report.table import view
from tench.report.words import Words

LIMIT_MB = 10
PICTURE_BYTES = 7_000_000
"""What all pictures from exhibits may take; the rest is for charts, drawings, the guide and the names of pictures."""


@dataclass(frozen=True)
class Asked:
    """What was asked for: the words of the command, and whether photographs may be shown."""

    command: str
    lang: str = "en"
    photographs: bool = True


def html_page(material: Material, asked: Asked, made: date) -> str:
    """The whole page. Raises RecordError where a run's files are damaged."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("tench", "report/templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    words = Words(asked.lang)
    inline = {name: Markup(_template(name)) for name in ("page.css", "page.js")}  # our own files
    values = _values(material, asked, words)
    return environment.get_template("page.html").render(
        t=words, css=inline["page.css"], js=inline["page.js"], made=made.isoformat(), svg=Markup, number=count(1).__next__, **values
    )


def _template(name: str) -> str:
    return resources.files("tench").joinpath("report", "templates", name).read_text(encoding="utf-8")


def _values(material: Material, asked: Asked, words: Words) -> dict[str, Any]:
    """Everything that the template shows, in the order in which pictures take their room."""
    from tench import __version__

    budget = Budget(PICTURE_BYTES)
    close = closely.looks(material.arms[: closely.MOST_NETWORKS], words)
    seen = [(arm.name, list(plates(arm, asked.photographs, budget, words))) for arm in material.arms[: closely.MOST_NETWORKS]]
    without_room = tuple(budget.refused)
    budget.refused.clear()
    thumbnails = Thumbnails(close, asked.photographs, budget)
    looked = [_closely(look, thumbnails, words) for look in close]
    shared = [list(closely.shared_mistakes(group, thumbnails, words)) for group in _groups(material, close)]
    data = closely.page_data(close, thumbnails)
    compared = {name for found in material.across_seeds for name in (found.a, found.b)}
    return {
        "version": __version__,
        "asked": asked,
        "material": material,
        "best": material.arms[0],
        "best_saw_them": mostly_seen(material.arms[0].record),
        "best_of_others": next((arm for arm in material.arms if not mostly_seen(arm.record)), None),
        "table": view(material.table, words),
        "cost": _cost(material, words),
        "curves": list(_curves(material, words)),
        "uncurved": [arm.name for arm in material.arms if not arm.shown.history()],
        "looked": looked,
        "shared": shared,
        "plates": [(name, made) for name, made in seen if made],
        "drawings": [(arm, drawing.svg()) for arm, drawing in drawings(material, words)],
        "guide": guide(material, asked.lang, asked.photographs),
        "conclusions": list(conclusions(material, words)),
        "across": [finding(found, words) for found in material.across_seeds],
        "across_seen": [arm.name for arm in material.arms if mostly_seen(arm.record) and arm.name in compared],
        "uncompared": [words.said("warnings", warning) for warning in uncompared(material.arms)],
        "pairs": pair_lines(material, words),
        "picks": list(picks(material, words)),
        "reported": _repeated(material, words),
        "repeats": list(repeats(material, words)),
        "other_rules": list(rules(material, words)),
        "facts": [(run, facts(run, words), rule_differences(run.record, words)) for run in material.runs],
        "commands": [command(arm.record) for arm in material.arms],
        "data": _json(data),
        "missing": list(_missing(material, asked, thumbnails, without_room, words)),
    }


def _all_demo(material: Material) -> bool:
    return all(arm.record.data.is_demo for arm in material.arms)


def _groups(material: Material, close: Sequence[Look]) -> Iterator[list[Look]]:
    """Looks at networks that were scored on the same pictures, where there are two or more of them."""
    for arms in material.on_same_pictures:
        group = [look for look in close if look.arm in arms]
        if len(group) > 1:
            yield group


def _json(data: Mapping[str, Any]) -> str:
    """`data` for a script element: no name in it can end the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def points(material: Material) -> list[Point]:
    """Each arm's mean accuracy and its bar, for the chart of costs."""
    by_run = {row.run_id: row for row in material.table.rows if row.kind == "run"}
    found = []
    for arm in material.arms:
        shares = [run.record.result.top1 for run in arm.runs if run.record.result]
        row = by_run[arm.shown.id]
        seeds = tuple(shares) if len(shares) > 1 else ()
        low, high = (min(seeds), max(seeds)) if seeds else (row.top1_low, row.top1_high)
        costs = {"macs": row.macs, "parameters": row.parameters, "train_s": row.train_s}
        found.append(Point(arm.name, arm.top1, low or 0.0, high or 0.0, costs, _reported(arm.record), counts_in_agreement(arm), seeds))
    return found


def _reported(record: RunRecord) -> tuple[float, float, float] | None:
    """The accuracy that a report has of a network trained from scratch, with its interval where it says of how many pictures."""
    share, correct = record.reported_accuracy, record.reported_correct
    if share is None or record.kind != "train":
        return None
    return (share, *wilson(correct, round(correct / share))) if correct and share else (share, share, share)


def reported_points(material: Material) -> list[Point]:
    """The points of networks trained from scratch that a report has accuracies of; none where fewer than two have."""
    found = [point for point in points(material) if point.reported]
    return found if len(found) > 1 else []


def _cost(material: Material, words: Words) -> str:
    with styled("cost"):
        return svg_for_page(cost_figure(points(material), words), "cost", words("cost.label", n=len(material.arms)))


def trained(material: Material) -> list[Arm]:
    """The arms that were trained step by step, and so have curves."""
    return [arm for arm in material.arms if arm.shown.history()]


def _repeated(material: Material, words: Words) -> tuple[str, str] | None:
    """(label, chart) of accuracies against reported ones."""
    found = reported_points(material)
    if not found:
        return None
    with styled("reported"):
        label = words("cost.reported_label", n=len(found))
        return label, svg_for_page(reported_figure(found, words), "reported", label)


def _curves(material: Material, words: Words) -> Iterator[tuple[str, str]]:
    """(heading, chart) of every arm that has training curves."""
    arms = trained(material)
    if not arms:
        return
    limits = CurveLimits.of([run.history() for arm in arms for run in arm.runs])
    for arm in arms:
        name = f"curves-{arm.key}"
        with styled(name):
            yield _ended(arm, words), svg_for_page(curves_figure(arm, limits, words), name, words("curves.label", name=arm.name))


def _ended(arm: Arm, words: Words) -> str:
    result = arm.record.result
    ended = words("curves.ended", last=result.epochs or 0, best=arm.record.weights_epoch or 0) if result and len(arm.runs) == 1 else ""
    return "; ".join(part for part in (words("curves.name", name=arm.name, n=len(arm.runs)), ended) if part)


def _closely(look: Look, thumbnails: Thumbnails, words: Words) -> dict[str, Any]:
    """What the template shows of one look."""
    result = look.arm.record.result
    ece = words.percent(result.ece if result else None, 1)
    name = f"reliability-{look.arm.key}"
    with styled(name):
        label = words("classes.reliability_label", name=look.arm.name, ece=ece)
        chart = svg_for_page(reliability_figure(look.reliability, words), name, label)
    return {
        "look": look,
        "n": len(look.answers.names),
        "wrong": int((~look.answers.correct).sum()),
        "confusion": look.confusion.tolist(),
        "reliability": chart,
        "ece": ece,
        "nll": words.number(result.nll if result else None, 3),
        "mistakes": closely.confident_mistakes(look, thumbnails, words),
    }


def drawings(material: Material, words: Words) -> Iterator[tuple[Arm, Drawing]]:
    """Each different table once, at the run's size and with its classes, with the arm that it is drawn for."""
    drawn: set[Table] = set()
    for arm in material.arms:
        network = arm.record.network
        if network.kind != "table":
            continue
        table = parse(network.text).resized(network.input_px).with_classes(len(arm.record.data.classes))
        if table not in drawn:
            drawn.add(table)
            yield arm, network_drawing(table, words.lang)


def guide(material: Material, lang: str, photographs: bool) -> list[Section]:
    """The guide on the pictures of the best runs' folder, where its arrays lie and may be shown, else on a demo picture."""
    return guide_sections(read_guide_arrays(material.runs[0].folder.parent / GUIDE), lang, photographs)


def _missing(material: Material, asked: Asked, thumbnails: Thumbnails, without_room: Sequence[str], words: Words) -> Iterator[str]:
    """What is not in the report, and why, a sentence each."""
    arms = material.arms
    lists = {
        "exhibits": [arm.name for arm in arms if arm.shown.exhibits() is None],
        "predictions": [arm.name for arm in arms if not arm.has_predictions],
        "drawing": [arm.name for arm in arms if arm.record.network.kind != "table"],
        "damaged": material.damaged,
        "unfinished": material.unfinished,
    }
    yield from (words(f"absent.{key}", names=", ".join(names)) for key, names in lists.items() if names)
    shown = [(arm, arm.shown.exhibits()) for arm in arms if asked.photographs or arm.record.data.is_demo]
    for arm, exhibits in shown:
        if exhibits and not exhibits.heat_maps:
            yield f"{arm.name}: {words.said('methods', exhibits.heat_method).text}."
    if beyond := arms[closely.MOST_NETWORKS :]:
        yield words("absent.closely", names=", ".join(arm.name for arm in beyond), limit=closely.MOST_NETWORKS)
    if not asked.photographs and not _all_demo(material):
        yield words("absent.photographs")
    elif not thumbnails.kept:
        yield words("absent.thumbnails")
    if without_room:
        yield words("absent.heat_budget", names=", ".join(without_room), limit=LIMIT_MB)
    if refused := thumbnails.budget.refused:
        yield words("absent.thumbnails_budget", n=len(refused), limit=LIMIT_MB)
