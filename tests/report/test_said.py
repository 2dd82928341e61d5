"""What tench writes into records in English is said in Polish: every phrase the code can write, and on a page of runs of each kind."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args, get_origin

import pytest
from html_reader import read
from made_runs import made_run

from tench.comparison.arms import Arm, uncompared
from tench.comparison.notes import options_text
from tench.config import Engine, Precision, Rules, load_study
from tench.report.gathering import gather
from tench.report.words import SPOKEN, Words, texts
from tench.report.write import write_report

SOURCE = Path(__file__).parents[2] / "src" / "tench"
POLISH = Words("pl")


def function(module: str, name: str) -> ast.FunctionDef:
    tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
    return next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)


def sentences(found: ast.AST | None) -> Iterator[str]:
    """The text of a string, of an f-string with an X in its places; nothing of anything else."""
    if isinstance(found, ast.Constant) and isinstance(found.value, str):
        yield found.value
    elif isinstance(found, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in found.values)


def keys(module: str, name: str) -> Iterator[str]:
    for node in ast.walk(function(module, name)):
        if isinstance(node, ast.Dict):
            for key in node.keys:
                yield from sentences(key)
        elif isinstance(node, ast.DictComp):
            yield from sentences(node.key)


def yielded(module: str, name: str) -> Iterator[str]:
    for node in ast.walk(function(module, name)):
        if isinstance(node, ast.Yield):
            yield from sentences(node.value)


def seconds_of_pairs(module: str, name: str) -> Iterator[str]:
    for node in ast.walk(function(module, name)):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and not isinstance(node.elts[0], ast.Constant):
            yield from sentences(node.elts[1])


def constants(module: str, *names: str) -> Iterator[str]:
    """Constants of a module by their names, and what a function of such a name returns."""
    tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
            yield from sentences(node.value)
        if isinstance(node, ast.FunctionDef) and node.name in names:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    yield from sentences(inner.value)


def rules_and_values() -> Iterator[str]:
    for model in (Rules, Engine):
        for name, field in model.model_fields.items():
            yield name
            if get_origin(field.annotation) is Literal:
                yield from (str(value) for value in get_args(field.annotation) if value not in get_args(Precision))
    yield from ("True", "False")


WRITTEN: dict[str, list[str]] = {
    "notes": [
        *seconds_of_pairs("comparison/notes.py", "notes"),
        *keys("training/facts.py", "_notes"),
        *(row.note for row in load_study("study").rows if row.note),
        "untrained: the classes' own ImageNet outputs",
        "resumed although the pictures: was X, is Y",
        "gone on with in 1 processes after 2",
    ],
    "names": ["demo pictures (pictograms)", "demo pictures (pictograms) 1d605047", "googlenet from scratch"],
    "changed": list(keys("training/facts.py", "differences")),
    "claims": [conclusion.claim for conclusion in load_study("conclusions").conclusions],
    "remarks": list(yielded("studies/conclusions.py", "_remarks")),
    "warnings": list(yielded("comparison/arms.py", "uncompared")),
    "methods": [*constants("explain/exhibits.py", "NO_CONVOLUTION"), *constants("explain/heat.py", "method")],
    "differences": ["shuffle is once, in modern every_epoch"],
    "engines": ["ONNX Runtime, within 3e-07 of torch"],
    "terms": list(rules_and_values()),
}


@pytest.mark.parametrize(("section", "english"), [(section, text) for section, found in WRITTEN.items() for text in found])
def test_every_phrase_that_the_code_writes_is_known(section: str, english: str) -> None:
    said = POLISH.said(section, english)
    assert not said.foreign, f"Add it to [{section}] of texts/pl.toml."
    assert said.text != english
    assert Words("en").said(section, english).text == english


def test_the_phrases_were_found_in_the_code() -> None:
    assert {section: len(found) for section, found in WRITTEN.items() if len(found) < 1} == {}
    assert len(WRITTEN["notes"]) >= 13
    assert len(WRITTEN["changed"]) >= 7
    assert len(WRITTEN["methods"]) == 2
    assert len(WRITTEN["remarks"]) >= 5


@pytest.mark.parametrize("section", SPOKEN)
def test_phrases_keep_their_places(section: str) -> None:
    for english, polish in texts("pl")[section].items():
        places = [{place for _, place, _, _ in Formatter().parse(text) if place} for text in (english, polish)]
        assert places[0] == places[1], english


def test_numbers_names_and_terms_keep_their_places_in_a_phrase() -> None:
    assert POLISH.said("differences", "initial_weights is he, in r2018b normal_0.01").text == (
        "wagi początkowe (initial_weights): według He, w r2018b: rozkład normalny o odchyleniu 0,01"
    )
    assert POLISH.said("differences", "label_smoothing is 0.2, in r2018b 0.0").text.endswith(": 0,2, w r2018b: 0")
    method = "Grad-CAM (captum 0.8.0) of the last convolution, Conv, 3x3, 512, 7 x 7, for the class answered"
    assert "(captum 0.8.0) ostatniej konwolucji, Conv, 3x3, 512, 7\u00a0×\u00a07," in POLISH.said("methods", method).text
    changes = "resumed although option learn_rate: was 0.02, is 0.03; tench's code: was abc, is def"
    assert POLISH.said("notes", changes).text.endswith("opcja learn_rate: było 0,02, jest 0,03; kod tench: było abc, jest def")
    assert POLISH.said("warnings", next(iter(WRITTEN["warnings"])).replace("X", "best", 1)).text.startswith("best:")


def test_what_users_wrote_stays_and_is_marked() -> None:
    said = POLISH.said("notes", "my note, augmented")
    assert (said.text, said.foreign) == ("my note, augmented", True)


OPTIONS: dict[str, Any] = {
    "learn_rate": 0.02,
    "drop_period": 4,
    "drop_rate_factor": 0.65,
    "patience": 3,
    "augment": True,
    "class_weights": "balanced",
    "optimizer": "adam",
}


def test_options_by_which_arms_are_told_apart_are_said(tmp_path: Path) -> None:
    options = made_run(tmp_path).record.options
    made_run(tmp_path, options=options | OPTIONS, data={"share": 0.5})
    names = {arm.name for arm in gather([], tmp_path, POLISH).arms}
    assert any(
        "współczynnik uczenia 0,02, ×0,65 co 4 ep., cierpliwość 3, losowe przekształcenia, 50\u00a0% obrazów, klasy o równych wagach, ADAM"
        in name
        for name in names
    )
    record = made_run(tmp_path, "other", options=options | OPTIONS, data={"share": 0.5}).record
    for kind, transfer in (("train", None), ("transfer", {"method": "fine_tune"}), ("transfer", {"method": "frozen"})):
        spoken = record.model_copy(update={"kind": kind, "transfer": transfer})
        for part in options_text(spoken).split(", "):
            assert part in ("16 px", "modern") or not POLISH.said("options", part).foreign, part


ENGLISH_WORDS = re.compile(
    r"\b(the|of|with|and|is|was|were|are|which|for|from|has|have|been|that|this|their|pictures|in|at)\b", re.IGNORECASE
)
ROWS = [row.name for row in load_study("conclusions").rows]


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """A folder with runs of every kind, of a built-in study, with every note, and two runs of one seed."""
    differences = tuple(f"{rule} is {value}, in r2018b {value}" for rule, value in Rules().model_dump().items())
    notes = tuple(WRITTEN["notes"])
    facts = {"recipe": "small", "study": "conclusions", "rule_differences": differences}
    for seed in (0, 1):
        made_run(tmp_path, "one", seed, exhibits=True, row="baseline", notes=notes, **facts)
        made_run(tmp_path, "one", seed, skill=0.5, row="ADAM", **facts)
        made_run(tmp_path, "deep", seed, kind="transfer", transfer={"method": "fine_tune"}, row="GoogLeNet pretrained", **facts)
    made_run(tmp_path, "frozen", kind="transfer", transfer={"method": "frozen"})
    made_run(tmp_path, "ready", kind="untrained", notes=("untrained: the classes' own ImageNet outputs",))
    made_run(tmp_path, "drawn", data={"is_demo": True, "name": "demo pictures (pictograms)", "sha256": "e" * 64})
    made_run(tmp_path, "twice")
    made_run(tmp_path, "twice", engine={"device": "cpu", "threads": 2, "compiled": False, "layout": "channels_last"})
    return tmp_path


def spoken(html: str) -> list[str]:
    """Every text and label of the page but commands; names of a study's rows, which commands need, are taken out."""
    attributes = [value for tag, name, value in read(html).attributes if name in ("alt", "title", "aria-label", "data-more")]
    body = html[html.index("<body") :]
    body = re.sub(r"<(script|pre|style)\b.*?</\1>", " ", body, flags=re.DOTALL)
    return [re.sub("|".join(map(re.escape, ROWS)), "", text) for text in (*attributes, *re.split(r"<[^>]*>", body))]


def test_no_english_is_left_on_the_polish_page(kinds: Path, tmp_path: Path) -> None:
    write_report([], tmp_path / "page" / "report.html", "pl", folder=kinds)
    html = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'lang="en"[^<]*', html) == []
    assert [text for text in spoken(html) if ENGLISH_WORDS.search(text)] == []
    assert "Grad-CAM of" not in html
    assert "dwa uczenia mają to samo ziarno (0, 0)" in html


def test_the_english_page_says_which_arms_were_not_compared(kinds: Path, tmp_path: Path) -> None:
    write_report([], tmp_path / "page" / "report.html", "en", folder=kinds)
    html = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    arms: list[Arm] = [arm for arm in gather([], kinds).arms if arm.repeats_seeds]
    assert [arm.name for arm in arms] == ["twice"]
    assert all(sentence in html for sentence in uncompared(arms))
