"""Accuracy against operations and time: the frontier of tench's recipes, with the known anchors drawn in.

Reads the records of runs and trains nothing. Needs matplotlib, which tench itself does not: pip install matplotlib.
"""

import argparse
import datetime
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from harness import RESULTS, ROOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tench.records import RunRecord

FOLDERS = ("results/sprint", "results/distance", "results/recipe", "results/short")
OURS, OTHERS, LINES = "#0072B2", "#6E6E6E", "#B35900"


@dataclass(frozen=True)
class Anchor:
    """A known result from scratch on Imagenette2's 3,925 validation photographs: a point, or a line where its operations are not known."""

    label: str
    top1: float
    pflop: float | None
    source: str
    series: str = ""
    """Those of one series differ in the epochs only, and are joined by a line."""
    mirrored: bool = False
    """Whether the answers to a photograph and its mirror image were averaged."""


LEADERBOARD = "fastai's leaderboard for Imagenette, 128 px"
SMALL_WINDOWS = "'hlb-imagenette': 32 px windows of 64 px pictures, tested at 64"
ANCHORS = (
    Anchor("the study's best", 84.82, None, "the study's report: network_84_8153 at 224 px; how many pictures it was shown is not known"),
    Anchor("leaderboard, 256 px", 95.11, None, "fastai's leaderboard for Imagenette, 256 px, 200 epochs"),
    Anchor("leaderboard, 128 px, 5 epochs", 87.43, 0.43, f"{LEADERBOARD}, 5 epochs", "leaderboard"),
    Anchor("20 epochs", 91.57, 1.7, f"{LEADERBOARD}, 20 epochs", "leaderboard"),
    Anchor("80 epochs", 93.55, 6.9, f"{LEADERBOARD}, 80 epochs; operations in proportion to those of 5", "leaderboard"),
    Anchor("200 epochs", 94.24, 17.2, f"{LEADERBOARD}, 200 epochs; operations in proportion to those of 5", "leaderboard"),
    Anchor("hlb-imagenette, 25 epochs", 87.7, 0.35, f"{SMALL_WINDOWS}, 25 epochs", "hlb", mirrored=True),
    Anchor("50 epochs", 90.0, 0.69, f"{SMALL_WINDOWS}, 50 epochs", "hlb", mirrored=True),
    Anchor("separable net", 85.8, 0.21, "a small separable network, 128 px, 5 epochs, batches of 32"),
    Anchor("ReXNet 1.0x", 94.4, 1.4, "a plain ReXNet 1.0x, 176 px, 100 epochs; depthwise, so slower than its operations say"),
    Anchor("first sketch", 85.43, 0.26, "the first sketch of sprint, untuned: 32 px windows of 64 px pictures, 15 epochs, one seed"),
)


@dataclass(frozen=True)
class Point:
    """The runs of one network, recipe and options, which differ in their seeds only. Operations are PFLOP, accuracies per cent."""

    label: str
    precision: str
    pflop: float
    solver_pflop: float
    minutes: float
    top1: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the seeds."""
        return mean(self.top1)


def why_not(record: "RunRecord") -> str:
    """Why a run cannot stand in the figure; empty if it can."""
    if record.kind != "train":
        return "not trained from scratch"
    if record.status != "finished" or record.result is None:
        return "not finished"
    if record.data.is_demo:
        return "trained on demo pictures"
    if record.options.get("share", 1) != 1 or record.options.get("test_share", 1) != 1:
        return "on a part of the photographs"
    return "" if record.result.training_flop and record.result.wall_s else "operations or time not recorded"


def records_below(folders: Sequence[Path]) -> "list[RunRecord]":
    """The records anywhere below `folders`, each run once."""
    from tench.records import load_run

    found = [load_run(path.parent).record for folder in folders for path in sorted(folder.rglob("record.json"))]
    return list({record.run_id: record for record in found}.values())


def points(records: "Sequence[RunRecord]") -> list[Point]:
    """The runs in groups. Raises SystemExit where they were not all scored on the same photographs."""
    if len({(record.data.sha256, record.data.n_test) for record in records}) > 1:
        raise SystemExit("These runs were scored on different photographs, so they do not belong in one figure; name other folders.")
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(json.dumps([record.network.name, record.recipe, _facts(record)], sort_keys=True), []).append(record)
    labels = _labels([group[0] for group in groups.values()])
    return [_point(label, group) for label, group in zip(labels, groups.values(), strict=True)]


def _facts(record: "RunRecord") -> dict[str, Any]:
    """All that decides a result but the seed."""
    options = {name: value for name, value in record.options.items() if name != "seed"}
    return record.rules | options | {"table": hashlib.sha256(record.network.text.encode()).hexdigest()[:6]}


def _point(label: str, group: "Sequence[RunRecord]") -> Point:
    results = [record.result for record in group if record.result]
    return Point(
        label,
        " and ".join(sorted({str(record.engine.get("precision", "float32")) for record in group})),
        mean(result.training_flop or 0 for result in results) / 1e15,
        mean(result.solver_flop or 0 for result in results) / 1e15,
        mean(result.wall_s or 0 for result in results) / 60,
        tuple(100 * result.top1 for result in results),
    )


def _labels(firsts: "Sequence[RunRecord]") -> list[str]:
    """A label a group: network and recipe (once where they are called alike), and what sets it apart from groups called the same."""
    names = [
        record.network.name if record.network.name == record.recipe else f"{record.network.name}, {record.recipe}" for record in firsts
    ]
    labels = []
    for name, record in zip(names, firsts, strict=True):
        alike = [_facts(other) for other, called in zip(firsts, names, strict=True) if called == name]
        differ = [key for key, value in _facts(record).items() if any(facts.get(key) != value for facts in alike)]
        labels.append(", ".join([name, *(f"{key} {_facts(record)[key]}" for key in differ)]))
    return labels


def by_operations(point: Point) -> float:
    """What the point costs in PFLOP of the table."""
    return point.pflop


def by_minutes(point: Point) -> float:
    """What the point costs in time."""
    return point.minutes


def frontier(found: Sequence[Point], cost: Callable[[Point], float]) -> list[Point]:
    """Those that none of the same or a lower cost reaches, the cheapest first."""
    best: list[Point] = []
    for point in sorted(found, key=lambda point: (cost(point), -point.mean)):
        if not best or point.mean > best[-1].mean:
            best.append(point)
    return best


def page(found: Sequence[Point], used: "Sequence[RunRecord]", left_out: Sequence[str]) -> str:
    """The whole page, as Markdown."""
    best = frontier(found, by_operations)
    ours = [
        "| network, recipe | seeds | computed in | PFLOP of the table | PFLOP of the optimizer beside | minutes | top-1 %, mean | sd"
        " | lowest to highest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for point in sorted(found, key=by_operations):
        label = f"**{point.label}**" if point in best else point.label
        spread = f"{stdev(point.top1):.2f}" if len(point.top1) > 1 else "-"
        reached = f"{point.mean:.2f} | {spread} | {min(point.top1):.2f} to {max(point.top1):.2f}"
        cost = f"{point.pflop:.3g} | {point.solver_pflop:.3g} | {point.minutes:.1f}"
        ours.append(f"| {label} | {len(point.top1)} | {point.precision} | {cost} | {reached} |")
    known = ["| PFLOP | top-1 % | |", "|---|---|---|"]
    for anchor in sorted(ANCHORS, key=lambda anchor: anchor.pflop or 0):
        cost = "not known" if anchor.pflop is None else f"{anchor.pflop:g}"
        known.append(f"| {cost} | {anchor.top1:g} | {anchor.source}{'; mirror image averaged in' if anchor.mirrored else ''} |")
    machines = sorted({f"{r.machine.processor}, {r.machine.cores} cores, torch {r.versions.get('torch', 'not recorded')}" for r in used})
    data = used[0].data
    parts = [
        "# Accuracy against operations and time",
        f"Top-1 on the {data.n_test:,} test photographs of {data.name} (data {data.sha256[:12]}), trained from scratch, one view of each."
        " PFLOP of the table: 6 x multiply-adds of what a step sees x pictures shown. Minutes: from the start to the score, on"
        f" {' and on '.join(machines)}. In bold: what no cheaper one here reaches.",
        "\n".join(ours),
        "![Accuracy against operations and minutes](frontier.svg)",
        "## What is known",
        "\n".join(known),
    ]
    if left_out:
        parts.append(f"Runs left out: {', '.join(f'{n} {reason}' for reason, n in Counter(left_out).items())}.")
    return "\n\n".join(parts) + "\n"


def draw(found: Sequence[Point], folder: Path) -> None:
    """frontier.svg and frontier.png in `folder`: accuracy against operations with the anchors, and against minutes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"font.size": 9, "svg.hashsalt": "frontier", "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(style):
        figure, (by_flop, by_time) = pyplot.subplots(1, 2, figsize=(11, 5.6), sharey=True, width_ratios=(3, 2), layout="constrained")
        _draw_anchors(by_flop)
        for point in found:
            by_flop.hlines(point.mean, point.pflop, point.pflop + point.solver_pflop, color=OURS, linewidth=1)
        _draw_ours(by_flop, found, by_operations)
        _draw_ours(by_time, found, by_minutes)
        by_flop.set(xlabel="operations of training, PFLOP (6 x multiply-adds x pictures shown)")
        by_flop.set(ylabel="top-1 on the test photographs, % (scaled by the errors left)")
        by_time.set(xlabel="minutes, from the start to the score")
        _scale(by_flop, found, [point.pflop for point in found] + [anchor.pflop for anchor in ANCHORS if anchor.pflop])
        _scale(by_time, found, [point.minutes for point in found])
        by_flop.legend(loc="upper left", bbox_to_anchor=(0, 0.88), frameon=False, fontsize=8)
        figure.canvas.draw()  # sizes of texts are known only now
        anchors = [(anchor.pflop, anchor.top1, anchor.label, OTHERS) for anchor in ANCHORS if anchor.pflop]
        _label(by_flop, [(point.pflop, point.mean, point.label, OURS) for point in found] + anchors)
        _label(by_time, [(point.minutes, point.mean, point.label, OURS) for point in found])
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "frontier.svg", metadata={"Date": None})
        figure.savefig(folder / "frontier.png", dpi=150, metadata={"Software": None})
        pyplot.close(figure)


def _draw_anchors(axes: "Axes") -> None:
    """What is known, as points, those of a series joined."""
    for mirrored, words in ((False, "published, or measured before"), (True, "the same, mirror image averaged in")):
        these = [(anchor.pflop, anchor.top1) for anchor in ANCHORS if anchor.pflop and anchor.mirrored == mirrored]
        face = "white" if mirrored else OTHERS
        axes.plot(*zip(*these, strict=True), "D", color=OTHERS, markerfacecolor=face, markersize=4.5, label=words, zorder=3)
    for series in {anchor.series for anchor in ANCHORS if anchor.series}:
        these = [(anchor.pflop, anchor.top1) for anchor in ANCHORS if anchor.series == series]
        axes.plot(*zip(*these, strict=True), color=OTHERS, linewidth=0.8, alpha=0.6)


def _draw_ours(axes: "Axes", found: Sequence[Point], cost: Callable[[Point], float]) -> None:
    """Points at their cost with bars from the lowest to the highest seed, and a line through the best."""
    best = frontier(found, cost)
    axes.plot([cost(point) for point in best], [point.mean for point in best], color=OURS, linewidth=1, alpha=0.5)
    bars = [point.mean - min(point.top1) for point in found], [max(point.top1) - point.mean for point in found]
    at = [cost(point) for point in found], [point.mean for point in found]
    words = "tench: mean of the seeds, lowest to highest"
    axes.errorbar(*at, bars, fmt="o", color=OURS, markersize=6, capsize=2, label=words, zorder=4)


def _scale(axes: "Axes", found: Sequence[Point], costs: Sequence[float]) -> None:
    """Costs by their logarithm, accuracies by that of the errors left: from 90 to 95 % is as far as from 80 to 90 %."""
    import numpy as np
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    heights = [height for point in found for height in point.top1] + [anchor.top1 for anchor in ANCHORS]
    limits = (100 - 1.15 * (100 - min(heights)), 100 - 0.88 * (100 - max(heights)))
    axes.set_yscale("function", functions=(lambda y: -np.log(np.maximum(100 - y, 1e-3)), lambda v: 100 - np.exp(-v)))
    axes.set(xscale="log", xlim=(min(costs) / 1.8, max(costs) * 1.8), ylim=limits)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(FixedLocator([10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 88, 90, 92, 94, 95, 96, 97]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(plain)
    axes.grid(color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


NEAR = ((9, 0, "left", "center"), (-9, 0, "right", "center"), (0, 9, "center", "bottom"), (0, -9, "center", "top"))
"""Where a text may stand beside its point: the offset in points, and which part of the text is there."""
FAR = tuple((x, y, "left" if x > 0 else "right", "center") for y in (13, -13, 24, -24, 36, -36, 48, -48) for x in (9, -9, 24, -24, 48, -48))
AT_AN_END = ((1, -6, "right"), (0, 6, "left"))
"""Where a text may stand on a line across: the end of it, the offset from there, and which part of the text is there."""


def _label(axes: "Axes", texts: Sequence[tuple[float, float, str, str]]) -> None:
    """Draw the anchors that are lines, and write each text where it covers no point, line or other text: (x, y, text, colour)."""
    import numpy as np
    from matplotlib.transforms import Bbox

    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in (axes.transData.transform(text[:2]) for text in texts)]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    for line in axes.get_lines():
        if line.get_linestyle() != "None":
            at = axes.transData.transform(line.get_xydata())
            steps = [first + share * (then - first) for first, then in pairwise(at) for share in np.linspace(0, 1, 60)]
            taken += [Bbox.from_bounds(x - 1, y - 1, 2, 2) for x, y in steps]
    across = [anchor for anchor in ANCHORS if anchor.pflop is None]
    for anchor in across:
        axes.axhline(anchor.top1, color=LINES, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
        y = axes.transData.transform((1, anchor.top1))[1]
        taken.append(Bbox.from_extents(axes.bbox.x0, y - 1, axes.bbox.x1, y + 1))
    for anchor in across:
        words = f"{anchor.label}, {anchor.top1:g} % (cost not known)"
        ends = [
            ((axes.get_xlim()[end], anchor.top1), (dx, dy, ha, va)) for end, dx, ha in AT_AN_END for dy, va in ((4, "bottom"), (-4, "top"))
        ]
        _write(axes, words, ends, LINES, taken)
    for x, y, words, colour in texts:
        _write(axes, words, [((x, y), place) for place in NEAR + FAR], colour, taken)


def _write(
    axes: "Axes", words: str, places: Sequence[tuple[tuple[float, float], tuple[int, int, str, str]]], colour: str, taken: list[Any]
) -> None:
    """Write at the first of `places`, a point and where beside it, that covers nothing `taken`; a thin line leads to a text far off."""
    for point, place in places:
        dx, dy, ha, va = place
        written = axes.annotate(words, point, (dx, dy), textcoords="offset points", color=colour, fontsize=8, ha=ha, va=va)
        box = written.get_window_extent()
        inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
        if (inside and not any(box.overlaps(other) for other in taken)) or (point, place) == places[-1]:
            break
        written.remove()
    if place in FAR:
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5}
        axes.annotate("", point, (dx, dy), textcoords="offset points", arrowprops=line)
    taken.append(box)


def main() -> None:
    """Read, write the page, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help=f"with records of runs; without any: {', '.join(FOLDERS)}, those there are")
    parser.add_argument("--into", type=Path, default=RESULTS, help="where page and figures are written (default: bench/results)")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    if absent := [str(folder) for folder in options.folders if not folder.is_dir()]:
        sys.exit(f"{', '.join(absent)} is not there; name folders that hold records of runs.")
    records = records_below(options.folders or [ROOT / folder for folder in FOLDERS])
    reasons = {record.run_id: why_not(record) for record in records}
    used = [record for record in records if not reasons[record.run_id]]
    if not used:
        sys.exit(f"Of {len(records)} records none is of a finished training from scratch on all photographs; name other folders.")
    found = points(used)
    draw(found, options.into)
    text = page(found, used, [reason for reason in reasons.values() if reason])
    print(text)
    path = options.into / f"frontier-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.md"
    path.write_text(text, encoding="utf-8")
    print(f"Written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
