"""The guide in both languages: the same sections, everything inlined, small, and its figures are the arrays' own."""

import re
from string import Formatter
from typing import Any

import numpy as np
import pytest
from html_reader import read

from tench.errors import ConfigError
from tench.report.guide import Section, demo_arrays, guide_sections
from tench.report.guide_texts import LANGUAGES, guide_texts
from tench.report.panels import signed
from tench.report.words import number

LARGEST_BYTES = 1_500_000
WORDS_ALIKE = {"formula", "formulas"}


@pytest.fixture(scope="module", params=LANGUAGES)
def guide(request: pytest.FixtureRequest) -> tuple[str, list[Section]]:
    return request.param, guide_sections(None, request.param, photographs=True)


def leaves(words: dict[str, Any], path: str = "") -> dict[str, Any]:
    found = {}
    for key, value in words.items():
        found |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


def fields(value: str | list[str]) -> list[set[str | None]]:
    return [{field for _, field, _, _ in Formatter().parse(text)} - {None} for text in ([value] if isinstance(value, str) else value)]


def test_the_languages_have_the_same_keys_and_places_for_numbers() -> None:
    english, polish = (leaves(guide_texts(lang)) for lang in ("en", "pl"))
    assert english.keys() == polish.keys()
    for key, value in english.items():
        assert type(value) is type(polish[key])
        assert fields(value) == fields(polish[key]), key


def test_polish_is_not_english() -> None:
    english, polish = (leaves(guide_texts(lang)) for lang in ("en", "pl"))
    alike = {key for key, value in english.items() if value == polish[key]}
    names = {"softmax.title", "dropout.title", "pooling.title", "pooling.largest", "pooling.mean"}  # the study's own words
    kept = {"padding.same", "padding.strided", "augmentation.drawn"} | {key for key in english if key.rsplit(".", 1)[-1] in WORDS_ALIKE}
    assert alike <= names | kept


def test_the_sections_are_the_studys_and_go_in_its_order(guide: tuple[str, list[Section]]) -> None:
    _, sections = guide
    keys = [section.key for section in sections]
    assert keys[:5] == ["convolution", "padding", "pooling", "normalisation", "activation"]
    assert set(keys[5:]) == {"softmax", "optimizer", "inception", "l2", "dropout", "augmentation"}
    assert all(section.title and "<figure" in section.html and "<figcaption>" in section.html for section in sections)


def test_it_is_small_and_nothing_comes_from_outside(guide: tuple[str, list[Section]]) -> None:
    _, sections = guide
    assert sum(len(section.html.encode()) for section in sections) < LARGEST_BYTES
    for section in sections:
        for tag, name, value in read(section.html).attributes:
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("data:image/png;base64,", "#")), (section.key, tag, value[:60])
            assert not re.search(r"url\((?!#)", value), (section.key, value)
            assert tag not in ("script", "link", "iframe", "object")
    assert "{" not in "".join(re.sub(r"<style.*?</style>", "", section.html, flags=re.DOTALL) for section in sections)


def test_pictures_are_described_and_ids_are_used_once(guide: tuple[str, list[Section]]) -> None:
    lang, sections = guide
    attributes = [found for section in sections for found in read(section.html).attributes]
    images = [value for tag, name, value in attributes if tag == "img" and name == "alt"]
    assert len(images) == sum(tag == "img" and name == "src" for tag, name, _ in attributes)
    assert all(images)
    labels = [value for tag, name, value in attributes if tag == "svg" and name == "aria-label"]
    assert guide_texts(lang)["optimizer"]["title"] in labels
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_charts_take_their_ink_from_the_page(guide: tuple[str, list[Section]]) -> None:
    _, sections = guide
    optimizer = next(section.html for section in sections if section.key == "optimizer")
    assert "var(--ink, currentColor)" in optimizer
    assert "var(--blue, #0072b2)" in optimizer
    assert not re.search(r"#(010203|707172|000000)", optimizer)
    assert "<text" in optimizer


def test_the_numbers_in_the_captions_are_the_arrays(guide: tuple[str, list[Section]]) -> None:
    lang, sections = guide
    html, arrays = {section.key: section.html for section in sections}, demo_arrays()
    assert number(int(arrays["patch_products"].sum()), lang) in html["convolution"]
    assert number(224 * 224 * 3 * 64, lang) in html["convolution"]
    assert number(64 * 27, lang) in html["convolution"]
    assert number(100 * (arrays["padded"] <= 0).mean(), lang) + "\u00a0%" in html["activation"]
    assert number(100 * arrays["dropout_others"][1].mean(), lang, 1) + "\u00a0%" in html["dropout"]
    assert number(100 * 30 / 224, lang, 1) == ("13,4" if lang == "pl" else "13.4")
    assert number(13.39, lang, 1) + "\u00a0%" in html["augmentation"]
    straight, reduced = 28 * 28 * 25 * 192 * 32, 28 * 28 * (192 * 16 + 25 * 16 * 32)
    assert number(straight / 1e6, lang, 1) in html["inception"]
    assert number(reduced / 1e6, lang, 1) in html["inception"]


def test_a_photograph_is_shown_only_where_it_may_be() -> None:
    arrays = demo_arrays() | {"picture": np.full((112, 112, 3), 200, np.uint8)}
    demo, hidden, shown = guide_sections(None, "en", True), guide_sections(arrays, "en", False), guide_sections(arrays, "en", True)
    assert hidden == demo
    assert shown != demo
    assert "demo picture" in demo[0].html
    assert "demo picture" not in shown[0].html
    assert "one test picture" in shown[0].html


def test_the_guide_is_the_same_every_time() -> None:
    demo, again = guide_sections(None, "pl", False), guide_sections(demo_arrays(), "pl", True)  # kept from the first time; drawn anew
    assert demo[1:] == again[1:]
    assert demo[0].parts[:-1] == again[0].parts[:-1]


def test_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="'de' is not known"):
        guide_sections(None, "de", False)


def test_numbers_are_written_as_the_language_has_them() -> None:
    assert number(1234567.891, "en", 2) == "1\u202f234\u202f567.89"
    assert number(-1234.5, "pl", 1) == "\u22121\u202f234,5"
    assert number(-0.001, "en", 1) == "0.0"
    assert number(2, "en", 1, sign=True) == "+2.0"


def test_signed_values_have_their_zero_in_the_middle() -> None:
    assert signed(np.array([-9, -2, 0, 2, 9]), 2).tolist() == [0, 0, 128, 255, 255]
