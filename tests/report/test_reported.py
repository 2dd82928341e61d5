"""On the page: how the order of a report's networks is repeated, and by which rules its rows were trained."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from html_reader import read
from made_runs import made_run

from tench.report.write import write_report

RULES = ("initial_weights is normal_0.01_scaled, in r2018b normal_0.01",)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Four published networks in the report's order, one that was reconstructed, and one that no report knows."""
    for name, skill, reported in (("a", 0.3, 0.5), ("b", 0.5, 0.6), ("c", 0.75, 0.7), ("d", 0.97, 0.8), ("rebuilt", 0.6, 0.65)):
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


def page(runs: Path, tmp_path: Path, lang: str) -> str:
    write_report([], tmp_path / "report.html", lang, folder=runs, figures=tmp_path / "figures")
    return " ".join(read((tmp_path / "report.html").read_text(encoding="utf-8")).text.split())


def test_the_order_and_the_rules_are_said_in_english(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path, "en")
    assert "rank correlation 1.00 (95 % interval 1.00 to 1.00) over 4 published networks (without rebuilt)" in text
    assert "Pairs that the report's own scores tell apart: 6; of these" in text
    assert "Rows by the recipe r2018b_small were not trained by all of the report's rules: initial_weights is normal_0.01_scaled" in text


def test_and_in_polish(runs: Path, tmp_path: Path) -> None:
    text = page(runs, tmp_path, "pl").replace("\u00a0", " ")
    assert "korelacja rang 1,00 (przedział 95 %: od 1,00 do 1,00), liczba opublikowanych sieci: 4 (bez rebuilt)" in text
    assert "Wiersze z przepisu r2018b_small uczono nie według wszystkich reguł raportu: wagi początkowe" in text


def test_the_figure_has_a_mark_for_every_network_the_report_knows(runs: Path, tmp_path: Path) -> None:
    page(runs, tmp_path, "en")
    text = (tmp_path / "figures" / "reported.svg").read_text(encoding="utf-8")
    words = [
        "".join(element.itertext()).replace("\u00a0", " ").strip()
        for element in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"a", "b", "c", "d", "rebuilt", "accuracy in the report, %"} <= set(words)
    assert "mine" not in words


def test_without_reported_accuracies_there_is_no_such_figure(tmp_path: Path) -> None:
    made_run(tmp_path / "runs", "one")
    made_run(tmp_path / "runs", "two", reported_accuracy=0.5, reported_correct=1962)
    text = page(tmp_path / "runs", tmp_path, "en")
    assert not (tmp_path / "figures" / "reported.svg").exists()
    assert "rank correlation" not in text
