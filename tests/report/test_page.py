"""The page as text: nothing from outside, no name that breaks out, small enough, and what is absent is said."""

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from html_reader import read
from made_runs import CLASSES, HOSTILE, made_run
from PIL import Image

import tench
from tench.errors import UsageError
from tench.records import Score
from tench.report import page as page_module
from tench.report.guide import guide_sections
from tench.report.words import texts
from tench.report.write import write_report


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        made_run(folder, "one", seed, exhibits=True)
        made_run(folder, "two", seed, skill=0.9)
    return folder


@pytest.fixture(scope="module", params=["en", "pl"])
def html(request: pytest.FixtureRequest, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert write_report([], path, request.param, folder=runs).bytes == path.stat().st_size
    return path.read_text(encoding="utf-8")


def test_nothing_comes_from_outside(html: str) -> None:
    for _, name, value in read(html).attributes:
        if name in ("src", "href", "xlink:href", "poster", "srcset", "data", "action"):
            assert value.startswith(("data:", "#")), value
        assert "url(" not in value or "url(#" in value
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_names_do_not_break_out(html: str) -> None:
    assert HOSTILE not in html
    data, code = read(html).scripts
    assert "alert(" not in code
    assert f"val/{HOSTILE}/000.jpg" in json.loads(data)["sets"][0]["names"]


@pytest.mark.parametrize("language", ["en", "pl"])
def test_over_different_pictures_none_is_called_the_best(tmp_path: Path, language: str) -> None:
    made_run(tmp_path, "one")
    made_run(tmp_path, "two", skill=0.9, data={"sha256": "e" * 64})
    write_report([], tmp_path / "report.html", language, folder=tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    told = texts(language)["summary"]
    assert told["mixed"].format(arms=2, runs=2, sets=2) in text
    assert told["apart"] in text
    assert told["several"].partition("{best}")[0].rpartition("}")[2] not in text


def test_the_last_weights_are_not_called_the_best_ones(tmp_path: Path) -> None:
    run = made_run(tmp_path, "one", rules={"result": "last"})
    assert run.record.result is not None
    run.update(result=run.record.result.model_copy(update={"best_epoch": 1}))
    write_report([], tmp_path / "report.html", folder=tmp_path)
    assert "ended after epoch 2, weights of epoch 2" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_headings_go_down_by_one_step_at_most(html: str) -> None:
    headings = read(html).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_ids_are_there_once_and_links_lead_to_them(html: str) -> None:
    attributes = read(html).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for tag, name, value in attributes if tag == "a" and name == "href"} <= set(ids)


def test_figures_and_tables_are_numbered_from_one(html: str) -> None:
    for kind in (texts("en")["page"], texts("pl")["page"]):
        for word in (kind["figure"], kind["table"]):
            numbers = [int(number) for number in re.findall(rf"<b>{word} (\d+)\.</b>", html)]
            assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_confusions_are_those_of_the_answers(runs: Path, html: str) -> None:
    run = next(run for run in tench.runs(runs) if run.record.network.name == "one" and run.record.seed == 0)
    answers = run.predictions()
    table = html[html.index(f'data-run="run-{run.id}"') :]
    cells = re.findall(r'data-label="(\d)" data-answer="(\d)" aria-label="[^"]*">(\d+)<', table[: table.index("</table>")])
    found = {(int(label), int(answer)): int(n) for label, answer, n in cells}
    expected = {
        (i, j): int(((answers.labels == i) & (answers.answers == j)).sum()) for i in range(len(CLASSES)) for j in range(len(CLASSES))
    }
    assert found == {cell: n for cell, n in expected.items() if n}


def test_without_photographs_there_are_none_and_it_is_said(runs: Path, tmp_path: Path) -> None:
    write_report([], tmp_path / "report.html", photographs=False, folder=runs)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in html
    assert texts("en")["absent"]["photographs"].split(":")[0] in html


def test_thumbnails_stop_where_the_room_ends_and_it_is_said(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "PICTURE_BYTES", 4_000)
    write_report([], tmp_path / "report.html", folder=runs)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 0 < sum(len(uri) for uri in re.findall(r"data:image/jpeg[^\"]*", html)) < 4_500
    assert re.search(r"Thumbnails of \d+ pictures", html)
    assert "Heat maps and feature maps of one" in html


def test_demo_pictures_are_marked_and_shown_without_photographs_too(tmp_path: Path) -> None:
    made_run(tmp_path, "one", exhibits=True, data={"is_demo": True})
    write_report([], tmp_path / "report.html", photographs=False, folder=tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.index(texts("en")["page"]["demo"][:20]) < html.index("<main>")
    assert "data:image/jpeg" in html


def test_runs_without_answers_or_exhibits_are_reported_without(tmp_path: Path) -> None:
    run = made_run(tmp_path, "bare")
    (run.folder / "predictions.npz").unlink()
    write_report([], tmp_path / "report.html", folder=tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Confusions and mistakes of bare" in html
    assert "no exhibits were made" in html
    assert 'class="confusion"' not in html


def test_the_same_runs_give_the_same_page(runs: Path, tmp_path: Path, html: str) -> None:
    for name in ("a", "b"):
        write_report([], tmp_path / name / "report.html", folder=runs)
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()


def test_figures_are_written_beside_the_page(runs: Path, tmp_path: Path) -> None:
    done = tench.write_report(output=tmp_path / "report.html", figures=tmp_path / "figures", runs=runs)
    names = {path.name for path in done.figures}
    charts = {"cost", "curves-one", "curves-two", "confusion-one", "confusion-two", "reliability-one", "reliability-two"}
    others = {"network-one", "network-two", "filters-one", "heat-one", "way-one-1"}
    guide = {name.removesuffix(".svg") for name in names if name.startswith("guide-") and name.endswith(".svg")}
    assert len(guide) == sum(len(section.figures) for section in guide_sections(None, "en", photographs=True))
    assert names == {f"{name}.{kind}" for name in charts | others | guide for kind in ("svg", "png")}
    assert "learning rate" in (tmp_path / "figures" / "curves-one.svg").read_text(encoding="utf-8")


def test_figures_stand_alone_and_are_the_same_in_both_kinds(runs: Path, tmp_path: Path) -> None:
    for path in tench.write_report(output=tmp_path / "report.html", figures=tmp_path / "figures", runs=runs).figures:
        if path.suffix == ".svg":
            text = path.read_text(encoding="utf-8")
            root = ElementTree.fromstring(text)
            assert "var(" not in text
            assert "currentColor" not in text
            assert all(value.startswith(("data:", "#")) for value in re.findall(r'href="([^"]*)"', text))
            width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
            with Image.open(path.with_suffix(".png")) as image:
                assert image.width / image.height == pytest.approx(width / height, rel=0.02)
                assert len(image.convert("L").getcolors()) > 4


def test_without_photographs_no_figure_shows_any(runs: Path, tmp_path: Path) -> None:
    done = tench.write_report(output=tmp_path / "report.html", figures=tmp_path / "figures", runs=runs, photographs=False)
    names = {path.stem for path in done.figures}
    assert "filters-one" in names
    assert not [name for name in names if name.startswith(("heat", "way"))]
    made_run(tmp_path / "demo", "one", exhibits=True, data={"is_demo": True})
    done = tench.write_report(output=tmp_path / "demo.html", figures=tmp_path / "drawn", runs=tmp_path / "demo", photographs=False)
    assert {"heat-one", "way-one-1"} <= {path.stem for path in done.figures}


def test_drawings_are_of_the_size_and_classes_of_the_run(tmp_path: Path) -> None:
    network = made_run(tmp_path).record.network
    larger = (
        network.text.replace("16x16", "224x224")
        .replace("FullyConnected, 3", "FullyConnected, 1000")
        .replace("ClassOutput, 3", "ClassOutput, 1000")
    )
    made_run(tmp_path, seed=1, network=network.model_copy(update={"text": larger}))
    write_report([], tmp_path / "page" / "report.html", folder=tmp_path)
    html = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert "ImageInput, 16x16" in html
    assert "224x224" not in html
    assert html.count('<figure class="drawing">') == 1


def test_another_language_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'de' is neither"):
        write_report([], tmp_path / "report.html", "de", folder=runs)


def test_the_lead_says_that_the_best_had_seen_most_of_the_pictures(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    best = made_run(runs, "pretrained", skill=0.95)
    own = made_run(runs, "own", skill=0.6)

    def lead(lang: str = "en") -> str:
        write_report([], tmp_path / "page.html", lang, folder=runs)
        found = re.search(r'<p class="lead">(.*?)</p>', (tmp_path / "page.html").read_text(encoding="utf-8"), re.DOTALL)
        assert found
        return " ".join(found.group(1).split())

    assert "pretraining" not in lead()
    assert best.record.result
    of = {"correct": 50, "n": 55, "top1": 50 / 55, "low": 0.8, "high": 0.96}
    seen, unseen = Score(**of), Score(**of | {"correct": 4, "n": 5, "top1": 0.8})
    best.update(result=best.record.result.model_copy(update={"seen": seen, "unseen": unseen}))
    second = made_run(runs, "pretrained", skill=0.95, seed=1)
    assert second.record.result
    second.update(
        result=second.record.result.model_copy(update={"seen": seen, "unseen": Score(**of | {"correct": 5, "n": 5, "top1": 1.0})})
    )
    assert "<strong>Most of these pictures pretrained had seen in its pretraining.</strong>" in lead()
    assert "Of the 5 that no pretraining saw it is right on 90.00 %. The best of those that had not seen them is own, right on" in lead()
    assert "Najlepszą spośród tych, które ich nie widziały, jest own" in lead("pl")
    assert "Of the same" not in lead()
    for run, correct in ((own, 3), (made_run(runs, "own", skill=0.6, seed=1), 2)):
        assert run.record.result
        run.update(result=run.record.result.model_copy(update={"unseen": Score(**of | {"correct": correct, "n": 5, "top1": correct / 5})}))
    assert re.search(r"is own, right on \d\d\.\d\d % of all\. Of the same 5 it is right on 50\.00 %\.", lead())
    assert "Na tych samych obrazach (5) ma 50,00 %." in lead("pl")
    assert own.record.result
    assert own.record.result.unseen
    own.update(result=own.record.result.model_copy(update={"unseen": own.record.result.unseen.model_copy(update={"n": 4})}))
    assert "Of the same" not in lead()


def test_recipes_compared_on_pictures_that_one_had_seen_say_so(tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def said() -> str:
        write_report([], tmp_path / "page.html", "en", folder=runs)
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    pretrained = [made_run(runs, "pretrained", skill=0.95, seed=seed) for seed in (0, 1)]
    for seed in (0, 1):
        made_run(runs, "own", skill=0.6, seed=seed)
    sentence = "most of which pretrained had seen in pretraining: a lead in this list is not one on new pictures"
    assert sentence not in said()
    for run in pretrained:
        assert run.record.result
        seen = Score(correct=50, n=55, top1=50 / 55, low=0.8, high=0.96)
        unseen = Score(correct=4, n=5, top1=0.8, low=0.4, high=0.96)
        run.update(result=run.record.result.model_copy(update={"seen": seen, "unseen": unseen}))
    assert sentence in said()
