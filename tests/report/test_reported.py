"""On the page: how the order of a report's networks is repeated, and by which rules its rows were trained."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from html_reader import read
from made_runs import made_run

from tench.report.charts import Point, cost_figure, reported_figure
from tench.report.words import Words
from tench.report.write import write_report

RULES = ("initial_weights is normal_0.01_scaled, in r2018b normal_0.01",)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Eight published networks in the report's order, one that was reconstructed, and one that no report knows."""
    published = {name: ((n + 0.5) / 8, (n + 1) / 10) for n, name in enumerate("abcdefgh")}
    for name, (skill, reported) in (published | {"rebuilt": (0.6, 0.65)}).items():
        about = {
            "recipe": "r2018b_small",
            "rule_differences": RULES,
            "reported_accuracy": reported,
            "reported_correct": round(3925 * reported),
        }
        run = made_run(tmp_path / "runs", name, skill=skill, **about)
        origin = "reconstructed" if name == "rebuilt" else "published"
        run.update(network=run.record.network.model_copy(update={"origin": origin}))
    made_run(tmp_path / "runs", "mine")
    return tmp_path / "runs"


def page(runs: Path, tmp_path: Path, lang: str, figures: Path | None = None) -> str:
    write_report([], tmp_path / "report.html", lang, folder=runs, figures=figures)
    return " ".join(read((tmp_path / "report.html").read_text(encoding="utf-8")).text.split())


def test_the_order_and_the_rules_are_said_in_english(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path, "en")
    found = re.search(r"rank correlation (\d\.\d\d) \(95 % interval \S+ to \d\.\d\d\) over 8 published networks \(without rebuilt\)", text)
    assert found
    assert float(found[1]) > 0.8
    assert "Pairs that the report's own scores tell apart: 28; of these" in text
    assert "Rows by the recipe r2018b_small were not trained by all of the report's rules: initial_weights is normal_0.01_scaled" in text


def test_and_in_polish(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path, "pl").replace("\u00a0", " ")
    assert re.search(r"korelacja rang \d,\d\d \(przedział 95 %: od \S+ do \d,\d\d\), liczba opublikowanych sieci: 8 \(bez rebuilt\)", text)
    assert "Wiersze uczone według przepisu r2018b_small odbiegają od reguł raportu: wagi początkowe" in text


def test_without_answers_to_single_pictures_the_page_has_the_order_alone(runs: Path, tmp_path: Path) -> None:
    next(runs.glob("c-*/predictions.npz")).unlink()
    text = page(runs, tmp_path, "en")
    assert "over 8 published networks" in text
    assert "tell apart" not in text


def test_the_figure_has_a_mark_for_every_network_the_report_knows(runs: Path, tmp_path: Path) -> None:
    page(runs, tmp_path, "en", tmp_path / "figures")
    text = (tmp_path / "figures" / "reported.svg").read_text(encoding="utf-8")
    words = [
        "".join(element.itertext()).replace("\u00a0", " ").strip()
        for element in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {*"abcdefgh", "rebuilt", "accuracy in the report, %"} <= set(words)
    assert "mine" not in words


def test_without_reported_accuracies_there_is_no_such_figure(tmp_path: Path) -> None:
    made_run(tmp_path / "runs", "one")
    made_run(tmp_path / "runs", "two", reported_accuracy=0.5, reported_correct=1962)
    text = page(tmp_path / "runs", tmp_path, "en", tmp_path / "figures")
    assert any((tmp_path / "figures").iterdir())
    assert not (tmp_path / "figures" / "reported.svg").exists()
    assert "rank correlation" not in text


def test_of_several_seeds_each_is_a_dot_on_the_bar() -> None:
    costs = {"macs": 1e6, "parameters": 1e6, "train_s": 60.0}
    single = Point("one", 0.7, 0.68, 0.72, costs, (0.7, 0.69, 0.71))
    several = Point("three", 0.8, 0.78, 0.83, costs, (0.8, 0.79, 0.81), seeds=(0.78, 0.79, 0.83))
    for figure in (reported_figure([single, several], Words("en")), cost_figure([single, several], Words("en"))):
        for axis in figure.axes:
            dots = [list(line.get_ydata()) for line in axis.lines if line.get_marker() == "."]
            assert dots == [[], [78.0, 79.0, 83.0]]


@pytest.mark.parametrize(("name", "columns"), [("own {}", 3), ("network_84_8153 by a recipe of its own, {}", 2), ("x" * 60 + "{}", 1)])
@pytest.mark.filterwarnings("error")  # of axes that collapsed under their legend
def test_many_networks_with_long_names_leave_the_axes_room(name: str, columns: int) -> None:
    costs = {"macs": 1e6, "parameters": 1e6, "train_s": 60.0}
    points = [Point(name.format(n), 0.5 + n / 100, 0.4, 0.9, costs, (0.5 + n / 100, 0.4, 0.9)) for n in range(10, 40)]
    for drawn in (cost_figure, reported_figure):
        figure = drawn(points, Words("en"))
        figure.draw_without_rendering()
        for axis in figure.axes:
            assert axis.get_window_extent().height / figure.dpi > 1.5  # inches
        (legend,) = figure.legends
        assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) == columns
